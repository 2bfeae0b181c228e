//! Reading what was recorded: bytes a second.

use std::{fmt::Write as _, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis_profile::{
    Arch, Profile,
    evaluate::{Evaluator, Runtime},
    import::{
        Observed,
        audit::Audit,
        strace::{Event, Strace},
    },
    simulate::Simulation,
};

/// Lines as `strace -f -tt -T -y -o` writes them, in the mix of a small server.
fn trace() -> String {
    let mut trace = String::new();
    for at in 0..40_000_u32 {
        let (pid, us) = (4000 + at % 16, at % 1_000_000);
        let leader = format!("{pid}  21:11:07.{us:06} ");
        let _ = match at % 8 {
            0 => writeln!(
                trace,
                "{leader}epoll_wait(6<anon_inode:[eventpoll]>, [{{events=EPOLLIN, data={{u32=9}}}}], 512, -1) = 1 <0.000132>"
            ),
            1 => writeln!(
                trace,
                "{leader}recvfrom(9<TCP:[10.0.0.1:80->10.0.0.2:{pid}]>, \"GET / HTTP/1.1\\r\\n\"..., 1024, 0, NULL, NULL) = 74 <0.000014>"
            ),
            2 => writeln!(
                trace,
                "{leader}openat(AT_FDCWD</>, \"/var/www/index.html\", O_RDONLY|O_NONBLOCK) = 10</var/www/index.html> <0.00002>"
            ),
            3 => writeln!(
                trace,
                "{leader}fstat(10</var/www/index.html>, {{st_mode=S_IFREG|0644, st_size=612, ...}}) = 0 <0.000011>"
            ),
            4 => writeln!(trace, "{leader}futex(0x7f10a2c0, FUTEX_WAIT_PRIVATE, 0, NULL <unfinished ...>"),
            5 => writeln!(trace, "{leader}<... futex resumed>) = 0 <0.000391>"),
            6 => writeln!(
                trace,
                "{leader}ioctl(10</dev/pts/0>, TCGETS, {{c_iflag=ICRNL, ...}}) = 0 <0.000007>"
            ),
            _ => writeln!(trace, "{leader}close(10</var/www/index.html>) = 0 <0.000009>"),
        };
    }
    trace
}

fn strace(c: &mut Criterion) {
    let trace = trace();
    let mut group = c.benchmark_group("strace");
    group.throughput(Throughput::Bytes(trace.len() as u64));
    for (name, arguments) in [("names", &[][..]), ("arguments", &["ioctl", "socket"][..])] {
        let arguments = arguments.iter().copied().collect();
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut observed = Observed::with_arguments(&arguments);
                let mut strace = Strace::new(Arch::X86_64);
                for piece in black_box(trace.as_bytes()).chunks(256 * 1024) {
                    strace.feed(piece, |event| observed.record(event));
                }
                (strace.finish(|event| observed.record(event)), observed)
            });
        });
    }
    group.finish();
}

/// Would it have lived, for the same trace.
fn simulated(c: &mut Criterion) {
    const PROFILE: &[u8] = br#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["epoll_wait", "recvfrom", "openat", "fstat", "futex", "close"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 21505, "op": "SCMP_CMP_EQ"}]}]}"#;
    let profile = Profile::parse(PROFILE).expect("a profile");
    let evaluator = Evaluator::new(&profile, Runtime::Runc, Arch::X86_64).expect("runc takes it");
    let trace = trace();
    let mut group = c.benchmark_group("simulate");
    group.throughput(Throughput::Bytes(trace.len() as u64));
    group.bench_function("strace", |b| {
        b.iter(|| {
            let mut simulation = Simulation::new(&evaluator);
            let mut strace = Strace::new(Arch::X86_64);
            let mut each = |event: Event<'_>| {
                if let Event::Call(call) = event {
                    simulation.written(&call.into());
                }
            };
            for piece in black_box(trace.as_bytes()).chunks(256 * 1024) {
                strace.feed(piece, &mut each);
            }
            (strace.finish(&mut each), simulation.finish())
        });
    });
    group.finish();
}

/// Records as auditd writes them, alone and among others.
fn audit(c: &mut Criterion) {
    let record = |at: u32| {
        format!(
            "type=SECCOMP msg=audit(1700000000.{:03}:{at}): auid=4294967295 uid=0 gid=0 ses=4294967295 subj=kernel pid={at} comm=\"app{1}\" \
             exe=\"/usr/bin/app{1}\" sig=0 arch=c000003e syscall={2} compat=0 ip=0x7f{at:08x} code=0x7ffc0000\n",
            at % 1000,
            at % 40,
            [59, 101, 165, 272, 298, 321, 41][at as usize % 7]
        )
    };
    let other = |at: u32| {
        format!(
            "type=SYSCALL msg=audit(1700000000.{:03}:{at}): arch=c000003e syscall=59 success=yes exit=0 items=2 ppid=1 pid=2 auid=1000 uid=0 \
             tty=pts0 ses=1 comm=\"ls\" exe=\"/usr/bin/ls\" subj=unconfined key=(null)\n",
            at % 1000
        )
    };
    let records: String = (0..20_000).map(record).collect();
    let mixed: String = (0..20_000).map(|at| if at % 10 == 0 { record(at) } else { other(at) }).collect();
    let mut group = c.benchmark_group("audit");
    for (name, log) in [("records", &records), ("mixed", &mixed)] {
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut audit = Audit::new(Arch::X86_64);
                for piece in black_box(log.as_bytes()).chunks(256 * 1024) {
                    audit.feed(piece);
                }
                audit.finish()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, strace, simulated, audit);
criterion_main!(benches);
