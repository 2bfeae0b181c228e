//! What the probe adds to a system call, beside an empty program on the same tracepoints and beside strace.
//!
//! Each round measures every case once, in turn, so that whatever else the machine does falls on all alike; the median of the rounds
//! counts. Run it as root: `cargo bench --package portcullis-probe`.
#![cfg(target_arch = "x86_64")]
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

#[path = "../tests/kernel/machine.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod machine;

use std::{
    fs,
    time::{Duration, Instant},
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, ProgramError},
};
use machine::{Cgroup, DENIALS, FILTERED, Node, SUBJECT, Subject};
use portcullis_probe::{EMPTY_PROGRAMS, Start, Target, Tracing, Watch};

const ROUNDS: usize = 9;
const CALLS: u64 = 400_000;
/// strace takes some microseconds a call.
const TRACED_CALLS: u64 = 20_000;

/// Nanoseconds on a processor that one `getppid` takes the subject, between two places at which it waits. What it waits for a
/// processor on a busy machine does not count.
fn one_call(cgroup: &Cgroup, before: &[&str], calls: u64) -> f64 {
    let call = format!("call=110*{calls}");
    let mut steps = before.to_vec();
    steps.extend(["wait", &call, "wait"]);
    let mut subject = cgroup.start(&steps);
    subject.go_on_to_next_wait();
    let start = processor_time(&subject);
    subject.go_on_to_next_wait();
    let end = processor_time(&subject);
    subject.go_on();
    assert!(subject.end().success());
    per_call(end - start, calls)
}

/// How long the subject has been on a processor: the first number of `/proc/<pid>/schedstat`.
fn processor_time(subject: &Subject) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/schedstat", subject.id()))
        .expect("a kernel with scheduler statistics");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number of nanoseconds"))
}

fn per_call(time: Duration, calls: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let calls = calls as f64;
    time.as_secs_f64() * 1e9 / calls
}

/// The same under `strace -f -c`, by the clock: the tracer's work and the switches to it are what it costs. Two lengths of run are
/// subtracted, so that starting does not count.
fn under_strace(calls: u64) -> f64 {
    let run = |calls: u64| {
        let start = Instant::now();
        let status = std::process::Command::new("strace")
            .args(["-f", "-c", "-o", "/dev/null"])
            .arg(&*SUBJECT)
            .arg(format!("call=110*{calls}"))
            .status()
            .expect("strace is installed");
        assert!(status.success());
        start.elapsed()
    };
    per_call(run(calls + 1).saturating_sub(run(1)), calls)
}

/// Empty programs, attached until this is dropped.
fn empty(programs: &[(&str, &str)]) -> Result<Ebpf, ProgramError> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(EMPTY_PROGRAMS).expect("an object without maps can be read");
    for (name, tracepoint) in programs {
        let program: &mut BtfTracePoint = ebpf.program_mut(name).expect("it has the program").try_into()?;
        program.load(tracepoint, &btf)?;
        program.attach()?;
    }
    Ok(ebpf)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Case {
    name: &'static str,
    measure: Box<dyn FnMut() -> f64>,
    results: Vec<f64>,
}

fn case(name: &'static str, measure: impl FnMut() -> f64 + 'static) -> Case {
    Case { name, measure: Box::new(measure), results: Vec::new() }
}

/// A node with a watched pod, another pod, and a cgroup that belongs to no container. A cgroup goes before the one above it.
struct Bench {
    target: Target,
    recorded: Cgroup,
    other: Cgroup,
    host: Cgroup,
    _pods: [machine::Pod; 2],
    node: Node,
}

impl Bench {
    fn new(tracing: Tracing) -> Self {
        let node = Node::with(|settings| settings.tracing = tracing);
        let pods = [node.pod(), node.pod()];
        let target = pods[0].target();
        let (recorded, other) = (pods[0].container().1, pods[1].container().1);
        let host = node.root.child("host");
        Self { target, recorded, other, host, _pods: pods, node }
    }

    fn watching(&mut self, watch: portcullis_probe::Watch, measure: impl FnOnce(&Self) -> f64) -> f64 {
        self.node.watch(&self.target, watch).expect("a pod can be watched");
        let measured = measure(self);
        self.node.unwatch(&self.target).expect("a watch can end");
        measured
    }
}

fn main() {
    // Criterion's arguments, which cargo passes to every bench, mean nothing here.
    let shared = std::rc::Rc::new(std::cell::RefCell::new(Bench::new(Tracing::Best)));
    let raw = std::rc::Rc::new(std::cell::RefCell::new(Bench::new(Tracing::Raw)));
    let with = |bench: &std::rc::Rc<std::cell::RefCell<Bench>>,
                watch,
                place: fn(&Bench) -> &Cgroup,
                steps: &'static [&'static str]| {
        let bench = bench.clone();
        move || bench.borrow_mut().watching(watch, |bench| one_call(place(bench), steps, CALLS))
    };
    let bare = |place: fn(&Bench) -> &Cgroup,
                steps: &'static [&'static str],
                programs: &'static [(&'static str, &'static str)]| {
        let bench = shared.clone();
        move || {
            let _attached = empty(programs).expect("empty programs can be attached");
            one_call(place(&bench.borrow()), steps, CALLS)
        }
    };
    const ENTER: &[(&str, &str)] = &[("enter", "sys_enter")];
    const BOTH: &[(&str, &str)] = &[("enter", "sys_enter"), ("leave", "sys_exit")];
    const FILTER: &[&str] = &["filter"];
    const CONTAINER: Watch = Watch { start: Start::ContainerExec, ..FILTERED };
    // unshare(CLONE_NEWNS), and then the application. As long as the process lives, like the other steps.
    let application: &'static [&'static str] =
        vec!["call=272:0x20000", format!("exec={}", SUBJECT.display()).leak()].leak();
    let mut cases = [
        case("no filter, nothing attached", bare(|bench| &bench.host, &[], &[])),
        case("no filter, empty program", bare(|bench| &bench.host, &[], ENTER)),
        case("filter, nothing attached", bare(|bench| &bench.recorded, FILTER, &[])),
        case("filter, empty program", bare(|bench| &bench.recorded, FILTER, ENTER)),
        case("filter, two empty programs", bare(|bench| &bench.recorded, FILTER, BOTH)),
        case("filter, probe opened, nothing watched", {
            let bench = shared.clone();
            move || one_call(&bench.borrow().recorded, FILTER, CALLS)
        }),
        case("recorded container", with(&shared, FILTERED, |bench| &bench.recorded, FILTER)),
        case("other container", with(&shared, FILTERED, |bench| &bench.other, FILTER)),
        case("host process without a filter", with(&shared, FILTERED, |bench| &bench.host, &[])),
        case("recorded, denials wanted", with(&shared, DENIALS, |bench| &bench.recorded, FILTER)),
        case("other container, denials wanted", with(&shared, DENIALS, |bench| &bench.other, FILTER)),
        case("recorded application without a filter", {
            with(&shared, CONTAINER, |bench| &bench.recorded, application)
        }),
        case("host process without one meanwhile", with(&shared, CONTAINER, |bench| &bench.host, &[])),
        case("recorded, raw tracepoints", with(&raw, FILTERED, |bench| &bench.recorded, FILTER)),
        case("strace -f -c", || under_strace(TRACED_CALLS)),
    ];
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let measured = (case.measure)();
            case.results.push(measured);
        }
    }
    let medians: Vec<f64> = cases.iter().map(|case| median(case.results.clone())).collect();
    let [no_filter, no_filter_one, filter, one, two, ..] = medians[..] else { return };
    println!(
        "one getppid, median of {ROUNDS} rounds of {CALLS} calls, time on a processor (strace: by the clock)"
    );
    println!("{:<40}{:>9}{:>10}{:>22}", "", "ns/call", "added ns", "of the empty program");
    for (case, measured) in cases.iter().zip(&medians) {
        let unfiltered = ["no filter", "without", "strace"].iter().any(|word| case.name.contains(word));
        let without = if unfiltered { no_filter } else { filter };
        let added = measured - without;
        let (empty, of) = match (unfiltered, case.name.contains("denials")) {
            (true, _) => (no_filter_one - no_filter, "one"),
            (false, true) => (two - filter, "two"),
            (false, false) => (one - filter, "one"),
        };
        println!("{:<40}{measured:>9.0}{added:>10.0}{:>17.2} x {of}", case.name, added / empty);
    }
}
