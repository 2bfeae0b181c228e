//! What it costs to read a program back, beside what libseccomp takes to make it.
#![allow(missing_docs, reason = "criterion's macros make public items")]

#[expect(dead_code, reason = "the loader alone is used here")]
#[path = "../tests/oracle/mod.rs"]
mod oracle;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use oracle::NATIVE;
use portcullis_profile::{
    compare::Budget,
    evaluate::Runtime,
    filter::{Data, Instruction, Program, Reading},
    runtime_default,
};

fn benches(criterion: &mut Criterion) {
    let profile = &runtime_default(NATIVE).expect("x86-64 has a runtime default").profile;
    // As runc loads it: x86-64, x86 and x32, as a tree.
    let make = || oracle::program(black_box(profile), Runtime::Runc).expect("libseccomp takes it");
    let instructions: Vec<Instruction> = make()
        .into_iter()
        .map(|one| Instruction { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
        .collect();
    let filters = [Program::new(instructions.clone()).expect("the kernel takes it")];
    let read = || Reading::of(black_box(&filters), NATIVE, &Budget::patient()).expect("it is simple");
    let reading = read();
    criterion.bench_function("filter/libseccomp", |bencher| bencher.iter(make));
    criterion.bench_function("filter/check", |bencher| {
        bencher.iter(|| Program::new(black_box(instructions.clone())));
    });
    criterion.bench_function("filter/read", |bencher| bencher.iter(read));
    criterion.bench_function("filter/compare", |bencher| {
        bencher.iter(|| reading.changes_from(black_box(profile), Runtime::Runc, &Budget::patient()));
    });
    criterion.bench_function("filter/write", |bencher| bencher.iter(|| reading.write(&Budget::patient())));
    let data = Data { number: 257, arch: 0xc000_003e, ..Data::default() };
    criterion.bench_function("filter/run", |bencher| bencher.iter(|| filters[0].run(black_box(&data))));
}

criterion_group!(all, benches);
criterion_main!(all);
