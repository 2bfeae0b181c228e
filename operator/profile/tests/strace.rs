//! Traces of real programs by the strace that is installed, against its own count of the same run (`strace -C`).
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use portcullis_profile::{
    Arch,
    import::strace::{Event, Strace},
};

/// Calls that do not return, so that `strace -c` does not count them.
const UNCOUNTED: &[&str] = &["exit", "exit_group"];

type Counts = BTreeMap<&'static str, u64>;

/// What a trace has call by call, and what its table has, by architecture.
#[derive(Debug, Default)]
struct Read {
    calls: BTreeMap<Arch, Counts>,
    table: BTreeMap<Arch, Counts>,
}

impl Read {
    fn names(&self, arch: Arch) -> BTreeSet<&'static str> {
        self.calls.get(&arch).map(|counts| counts.keys().copied().collect()).unwrap_or_default()
    }

    /// Counts of all architectures together: `strace -o` does not say where a process begins to use another.
    fn merged(counts: &BTreeMap<Arch, Counts>) -> Counts {
        let mut merged = Counts::new();
        for (name, count) in counts.values().flatten() {
            *merged.entry(name).or_default() += count;
        }
        merged
    }
}

fn read(file: &Path) -> Read {
    let text = fs::read(file).expect("strace wrote the file");
    let mut read = Read::default();
    let mut each = |event: Event<'_>| match event {
        Event::Call(call) => {
            *read.calls.entry(call.arch).or_default().entry(call.name.as_str()).or_default() += 1;
        }
        Event::Tabled { arch, name, calls } => {
            *read.table.entry(arch).or_default().entry(name.as_str()).or_default() += calls.unwrap_or(0);
        }
    };
    let mut strace = Strace::new(Arch::X86_64);
    for piece in text.chunks(777) {
        strace.feed(piece, &mut each);
    }
    let summary = strace.finish(&mut each);
    assert_eq!(summary.unread.count(), 0, "{}: {:?}", file.display(), summary.unread);
    read
}

fn trace(directory: &Path, options: &[&str], command: &[&str]) -> Read {
    let file = directory.join("trace");
    let output = Command::new("strace")
        .args(options)
        .arg("-o")
        .arg(&file)
        .args(command)
        .output()
        .expect("strace can be run: install it (apt-get install strace), as `make setup` does");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    read(&file)
}

/// Every option that changes what a line looks like.
const DECORATIONS: &[&[&str]] = &[
    &["-f"],
    &["-f", "-t"],
    &["-f", "-tt", "-T", "-y"],
    &["-f", "-ttt", "-yy", "-x"],
    &["-f", "-r", "-i", "-v"],
    &["-f", "-r", "-tt", "-n"],
    &["-f", "-n", "-i", "-tt", "-T", "-yy", "-v", "-xx", "-Y"],
    &["-f", "-k"],
    &["-f", "-X", "raw"],
    &["-f", "-X", "verbose", "-s", "1000"],
    &["-f", "-e", "raw=all"],
];

#[test]
fn a_trace_has_the_calls_that_strace_itself_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let programs: &[&[&str]] = &[
        &["sh", "-c", "trap 'true' USR1; kill -USR1 $$; ls /usr | sort | wc -l; sleep 0.01"],
        &["sh", "-c", "(echo 'a(b, \"c\" <unfinished ...>' > /dev/null) & wait; cat /proc/self/status"],
    ];
    for program in programs {
        for options in DECORATIONS {
            let with_table = [options, &["-C"][..]].concat();
            let read = trace(folder.path(), &with_table, program);
            let mut calls = Read::merged(&read.calls);
            calls.retain(|name, _| !UNCOUNTED.contains(name));
            assert_eq!(calls, Read::merged(&read.table), "{options:?} {program:?}");
            assert!(calls.len() > 15, "{calls:?}");
        }
    }
}

/// Threads of a Go program are killed in the middle of calls, which strace then never counts.
#[test]
fn a_program_of_many_threads_is_read_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let read = trace(folder.path(), &["-f", "-tt", "-C"], &["go", "version"]);
    let calls = Read::merged(&read.calls);
    for (name, counted) in Read::merged(&read.table) {
        let here = calls.get(name).copied().unwrap_or_default();
        assert!(here >= counted, "{name}: {here} in the trace, {counted} in the table");
    }
    assert!(calls.contains_key("futex") && calls.contains_key("clone"), "{calls:?}");
}

#[test]
fn a_file_for_each_process_has_the_same_calls_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = ["sh", "-c", "true | cat /dev/null"];
    let whole = trace(folder.path(), &["-f", "-C"], &program);
    let apart = tempfile::tempdir().expect("a folder");
    let status = Command::new("strace")
        .args(["-ff", "-o"])
        .arg(apart.path().join("trace"))
        .args(program)
        .status()
        .expect("strace can be run");
    assert!(status.success());
    let mut names = BTreeSet::new();
    let mut files = 0;
    for entry in fs::read_dir(apart.path()).expect("a folder") {
        names.extend(read(&entry.expect("an entry").path()).names(Arch::X86_64));
        files += 1;
    }
    assert!(files >= 2, "{files} files for a pipeline");
    // A signal may come before its process waits, or not.
    let stable = |mut names: BTreeSet<&'static str>| {
        names.remove("rt_sigreturn");
        names
    };
    assert_eq!(stable(names), stable(whole.names(Arch::X86_64)));
}

/// A static i386 program without a C library: `int $0x80` with fork (2), waitpid (7), getpid (20), exit_group (252).
const I386: &str = r#"
static int call(int number, int first) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(0), "d"(0) : "memory");
    return result;
}
void _start(void) {
    int child = call(2, 0);
    if (child) call(7, child);
    call(20, 0);
    call(252, 0);
}
"#;

#[test]
fn calls_of_an_i386_program_are_its_own_architectures() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("small.c");
    let program = folder.path().join("small");
    fs::write(&source, I386).expect("a file can be written");
    let built = Command::new("gcc")
        .args(["-m32", "-nostdlib", "-static", "-fno-pic", "-no-pie", "-fno-stack-protector", "-o"])
        .args([&program, &source])
        .output()
        .expect("gcc can be run");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let command = [program.to_str().expect("text")];
    // Numbers tell every call's architecture; the table tells what they must be.
    let read = trace(folder.path(), &["-f", "-n", "-C"], &command);
    let mut i386 = read.calls[&Arch::X86].clone();
    i386.retain(|name, _| !UNCOUNTED.contains(name));
    assert_eq!(i386, read.table[&Arch::X86]);
    assert_eq!(read.names(Arch::X86_64), BTreeSet::from(["execve"]));
    // Without them the first call that only i386 has tells.
    let read = trace(folder.path(), &["-f"], &command);
    assert!(read.names(Arch::X86).contains("waitpid"), "{read:?}");
    // Where strace says so itself, nothing is left open; it does where it writes to standard error.
    let output = Command::new("strace").args(["-f"]).args(command).output().expect("strace can be run");
    let told = folder.path().join("told");
    fs::write(&told, &output.stderr).expect("a file can be written");
    assert_eq!(self::read(&told).names(Arch::X86_64), BTreeSet::from(["execve"]));
}
