//! What the controller does with a profile, beside what JSON alone costs, on the runtime default.

use std::{collections::BTreeSet, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis_profile::{
    Action, Arch, Profile, Rule,
    lint::{LintContext, lint},
    runtime_default, syscalls,
};

fn profile(c: &mut Criterion) {
    let profile = &runtime_default(Arch::X86_64).expect("x86-64 has one").profile;
    let document = profile.render();
    let context = LintContext {
        node_architectures: BTreeSet::from([Arch::X86_64]),
        oldest_runc: Some((1, 1)),
        is_whole: true,
    };

    let mut group = c.benchmark_group("runtime_default");
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("serde_json_value", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&document)));
    });
    group.bench_function("parse", |b| b.iter(|| Profile::parse(black_box(&document))));
    group.bench_function("lint", |b| b.iter(|| lint(black_box(profile), &context)));
    group.bench_function("render", |b| b.iter(|| black_box(profile).render()));
    group.bench_function("digest", |b| b.iter(|| black_box(profile).digest()));
    group.bench_function("parse_lint_render", |b| {
        b.iter(|| {
            let profile = Profile::parse(black_box(&document)).expect("it is a profile");
            (lint(&profile, &context), profile.render())
        });
    });
    group.finish();
}

/// As many names as the profiles that Docker and Podman ship, in one rule.
fn four_hundred_names(c: &mut Criterion) {
    let names: Vec<String> = syscalls::names().take(400).map(str::to_owned).collect();
    assert_eq!(names.len(), 400);
    let rule = Rule { names, action: Action::Allow, errno_ret: None, args: Vec::new() };
    let default = &runtime_default(Arch::X86_64).expect("x86-64 has one").profile;
    let document = Profile { syscalls: vec![rule], ..default.clone() }.render();

    let mut group = c.benchmark_group("four_hundred_names");
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("serde_json_value", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&document)));
    });
    group.bench_function("parse_lint", |b| {
        b.iter(|| {
            let profile = Profile::parse(black_box(&document)).expect("it is a profile");
            lint(&profile, &LintContext::default())
        });
    });
    group.finish();
}

criterion_group!(benches, profile, four_hundred_names);
criterion_main!(benches);
