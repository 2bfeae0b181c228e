//! What the controller does with a profile, beside what JSON alone costs, on the runtime default.

use std::{collections::BTreeSet, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis_profile::{
    Arch, Profile,
    lint::{LintContext, lint},
    runtime_default,
};

fn profile(c: &mut Criterion) {
    let profile = &runtime_default(Arch::X86_64).expect("x86-64 has one").profile;
    let document = profile.render();
    let context =
        LintContext { node_architectures: BTreeSet::from([Arch::X86_64]), oldest_runc: Some((1, 1)) };

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

criterion_group!(benches, profile);
criterion_main!(benches);
