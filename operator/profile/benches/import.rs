//! Reading what was recorded: bytes a second.

use std::{fmt::Write as _, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis_profile::{
    Arch,
    import::{Observed, strace::Strace},
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

criterion_group!(benches, strace);
criterion_main!(benches);
