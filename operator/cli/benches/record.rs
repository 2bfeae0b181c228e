//! What recording a command costs it: the time of a system call under each method, beside strace.
//!
//! Each round measures every case once, in turn, so that whatever else the machine does falls on all alike; the median of the rounds
//! counts. By the clock, because a tracer's work and the switches to it are what it costs. Run it as root:
//! `cargo bench --package portcullis-cli --bench record`.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 5;

/// A way to run a command.
struct Case {
    name: &'static str,
    before: &'static [&'static str],
    /// How many bytes are copied, each by two calls: what is slow is given less to do.
    bytes: u32,
    results: Vec<f64>,
}

fn case(name: &'static str, before: &'static [&'static str], bytes: u32) -> Case {
    Case { name, before, bytes, results: Vec::new() }
}

/// Copies so many bytes, each by a read(2) and a write(2).
fn run(before: &[&str], bytes: u32) -> Duration {
    let count = format!("count={bytes}");
    let copy = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", &count];
    let all: Vec<&str> = before.iter().copied().chain(copy).collect();
    let Some((program, arguments)) = all.split_first() else { return Duration::ZERO };
    let program = if *program == "record" { env!("CARGO_BIN_EXE_kubectl-seccomp") } else { program };
    let start = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("dd and strace are installed");
    assert!(status.success(), "{all:?}");
    start.elapsed()
}

/// Nanoseconds a call; two lengths of run are subtracted, so that starting does not count.
fn one_call(case: &Case) -> f64 {
    let more = run(case.before, case.bytes + 1).saturating_sub(run(case.before, 1));
    more.as_secs_f64() * 1e9 / (2.0 * f64::from(case.bytes))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut cases = [
        case("alone", &[], 1_000_000),
        case("record, eBPF", &["record", "record", "--method", "ebpf", "--"], 1_000_000),
        case("record, ptrace", &["record", "record", "--method", "ptrace", "--"], 20_000),
        case("strace -f -c", &["strace", "-f", "-c", "-o", "/dev/null"], 20_000),
        case(
            "strace -f -c --seccomp-bpf",
            &["strace", "-f", "-c", "--seccomp-bpf", "-o", "/dev/null"],
            20_000,
        ),
    ];
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let measured = one_call(case);
            case.results.push(measured);
        }
    }
    let medians: Vec<f64> = cases.iter().map(|case| median(case.results.clone())).collect();
    let Some(alone) = medians.first() else { return };
    println!("one read or write of a byte by dd, median of {ROUNDS} rounds, by the clock");
    println!("{:<30}{:>10}{:>12}{:>12}", "", "ns/call", "added ns", "of alone");
    for (case, measured) in cases.iter().zip(&medians) {
        println!("{:<30}{measured:>10.0}{:>12.0}{:>10.1} x", case.name, measured - alone, measured / alone);
    }
}
