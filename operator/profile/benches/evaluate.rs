//! What the model costs, beside libseccomp's own work on the same profile.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
use portcullis_profile::{
    Action, Arch, Arg, Operator, Profile, Rule,
    audit::audit,
    compare::{Relation, looser},
    compose::{NamedProfile, union},
    evaluate::{Evaluator, Runtime},
    merge::merge,
    runtime_default,
};

const NATIVE: Arch = Arch::X86_64;

/// What the baseline allows without conditions, but every tenth call, and one domain of sockets.
fn recorded(baseline: &Profile) -> Profile {
    let mut names: Vec<String> = baseline
        .syscalls
        .iter()
        .filter(|rule| rule.args.is_empty() && rule.action == Action::Allow)
        .flat_map(|rule| rule.names.clone())
        .enumerate()
        .filter(|(at, _)| at % 10 != 0)
        .map(|(_, name)| name)
        .collect();
    names.retain(|name| name != "socket");
    let socket = Rule {
        names: vec!["socket".to_owned()],
        action: Action::Allow,
        errno_ret: None,
        args: vec![Arg { index: 0, value: 2, value_two: 0, op: Operator::Equal }],
    };
    let allowed = Rule { names, action: Action::Allow, errno_ret: None, args: Vec::new() };
    Profile { architectures: vec![NATIVE], syscalls: vec![allowed, socket], ..baseline.clone() }
}

/// What a runtime does when it starts a container: compile the rules and write the program.
fn libseccomp(profile: &Profile) -> u64 {
    let mut filter = ScmpFilterContext::new(ScmpAction::Errno(1)).expect("a filter");
    filter.set_ctl_optimize(2).expect("libseccomp 2.5");
    for rule in profile.syscalls.iter().filter(|rule| rule.args.is_empty()) {
        for call in rule.names.iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
            filter.add_rule(ScmpAction::Allow, call).expect("a rule");
        }
    }
    let file = tempfile::tempfile().expect("a temporary file");
    filter.export_bpf(&file).expect("a program");
    file.metadata().expect("a file has metadata").len()
}

/// A hundred recordings of one program: each lacks some calls and has an ioctl of its own.
fn replicas(profile: &Profile) -> Vec<Profile> {
    let replica = |at: usize| {
        let mut replica = profile.clone();
        replica.syscalls[0].names = profile.syscalls[0]
            .names
            .iter()
            .enumerate()
            .filter(|(place, name)| place % 100 != at && *name != "ioctl")
            .map(|(_, name)| name.clone())
            .collect();
        let value = 0x5400 + at as u64;
        replica.syscalls.push(Rule {
            names: vec!["ioctl".to_owned()],
            action: Action::Allow,
            errno_ret: None,
            args: vec![Arg { index: 1, value, value_two: 0, op: Operator::Equal }],
        });
        replica
    };
    (0..100).map(replica).collect()
}

fn benches(criterion: &mut Criterion) {
    let baseline = &runtime_default(NATIVE).expect("x86-64 has a runtime default").profile;
    let profile = recorded(baseline);
    let evaluator = Evaluator::new(baseline, Runtime::Runc, NATIVE).expect("runc takes it");
    let call =
        |number, first| evaluator.evaluate(NATIVE, black_box(number), black_box([first, 0, 0, 0, 0, 0]));
    criterion.bench_function("evaluate/unconditional", |bencher| bencher.iter(|| call(0, 0)));
    criterion.bench_function("evaluate/conditional", |bencher| bencher.iter(|| call(135, 8)));
    criterion.bench_function("evaluate/default", |bencher| bencher.iter(|| call(165, 0)));
    criterion.bench_function("compile/model", |bencher| {
        bencher.iter(|| Evaluator::new(black_box(&profile), Runtime::Runc, NATIVE));
    });
    criterion
        .bench_function("compile/libseccomp", |bencher| bencher.iter(|| libseccomp(black_box(&profile))));
    criterion.bench_function("compare/runtime-default", |bencher| {
        bencher.iter(|| looser(black_box(&profile), baseline, Runtime::Runc, NATIVE, Relation::Passage));
    });
    criterion.bench_function("audit/runtime-default", |bencher| {
        bencher.iter(|| audit(black_box(&profile), baseline, NATIVE));
    });
    let mut base = profile.clone();
    base.syscalls[0].names.truncate(50);
    let named =
        [NamedProfile { name: "profile", profile: &profile }, NamedProfile { name: "base", profile: &base }];
    criterion.bench_function("union/two", |bencher| bencher.iter(|| union(black_box(&named))));
    let replicas = replicas(&profile);
    let named: Vec<NamedProfile<'_>> =
        replicas.iter().map(|profile| NamedProfile { name: "replica", profile }).collect();
    criterion.bench_function("merge/hundred", |bencher| bencher.iter(|| merge(black_box(&named))));
}

criterion_group!(all, benches);
criterion_main!(all);
