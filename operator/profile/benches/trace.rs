//! What simulating a whole trace costs, call by call: from the trace's bytes to the summary.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::{fmt::Write as _, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis_profile::{
    Arch,
    evaluate::{Evaluator, Runtime},
    import::trace::Trace,
    runtime_default,
    simulate::{Simulation, Summary},
};

const NATIVE: Arch = Arch::X86_64;
const CALLS: u64 = 100_000;

/// What a server does all day, and now and then a call that is denied.
fn trace() -> String {
    let mut text = String::new();
    for at in 0..CALLS / 10 {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "epoll_wait 5 0x7ffd1234 512 -1\nread 7 0x55d0c0de 4096\nwrite 8 0x55d0c0de {at}\nfutex 0x7f00aa00 129 1\n\
             openat AT_FDCWD 0x55d0beef O_RDONLY|O_CLOEXEC\nfstat 9 0x7ffd2345\nmmap 0 {at} PROT_READ MAP_PRIVATE 9 0\nclose 9\n\
             socket AF_INET SOCK_STREAM|SOCK_CLOEXEC 0\nmount 1 2 3 0 0\n"
        );
    }
    text
}

fn simulate(evaluator: &Evaluator, text: &str) -> Summary {
    let mut simulation = Simulation::new(evaluator);
    let mut trace = Trace::new(NATIVE);
    for piece in text.as_bytes().chunks(256 * 1024) {
        let fed =
            trace.feed(piece, |call| simulation.call(call.line, call.arch, call.number, call.arguments));
        fed.expect("the trace can be read");
    }
    trace.finish(|_| {}).expect("it ends with a line");
    simulation.finish()
}

fn benches(criterion: &mut Criterion) {
    let profile = &runtime_default(NATIVE).expect("x86-64 has a runtime default").profile;
    let evaluator = Evaluator::new(profile, Runtime::Runc, NATIVE).expect("runc takes it");
    let text = trace();
    let summary = simulate(&evaluator, &text);
    assert_eq!((summary.calls, summary.stopped.len()), (CALLS, 1));

    let mut group = criterion.benchmark_group("trace");
    group.throughput(Throughput::Elements(CALLS));
    group.bench_function("simulate", |bencher| bencher.iter(|| simulate(&evaluator, black_box(&text))));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
