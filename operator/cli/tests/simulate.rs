//! `simulate` as a user sees it.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

const PROFILE: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "defaultErrnoRet": 1,
  "architectures": ["SCMP_ARCH_X86_64"],
  "syscalls": [
    {"names": ["read", "write", "exit_group", "execve", "brk"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}
  ]
}"#;

fn simulate(arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("web.json"), PROFILE).expect("a file can be written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(["simulate", "web.json", "--arch", "amd64"])
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    // A program that fails early doesn't read.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn one_call_passes_or_does_not_and_the_rule_is_named() {
    let output = simulate(&["socket", "AF_INET", "SOCK_STREAM"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(
        out(&output),
        "socket(AF_INET, SOCK_STREAM), call 41 of SCMP_ARCH_X86_64\n\
         runc, crun: SCMP_ACT_ALLOW: the call is made\n  syscalls[1]: socket SCMP_ACT_ALLOW where arg0 == 2\n"
    );
    let output = simulate(&["socket", "0x11", "03"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("socket(AF_PACKET, SOCK_RAW)"), "{}", out(&output));
    assert!(out(&output).contains("SCMP_ACT_ERRNO(1): the call fails with EPERM\n"), "{}", out(&output));
    assert!(out(&output).contains("no rule for the call matches these arguments"), "{}", out(&output));
}

/// What begins with a hyphen is an argument of the call where it is a number, and an option everywhere else.
#[test]
fn options_may_stand_behind_the_call() {
    let output = simulate(&["openat", "-100", "0", "--runtime", "crun"], "");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(out(&output).starts_with("openat(-100)") && !out(&output).contains("runc"), "{}", out(&output));
    let output = simulate(&["openat", "--no-such-option"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("unexpected argument '--no-such-option'"), "{}", said(&output));
}

/// runc answers ENOSYS to what is newer than anything that the profile names; crun has no such rule.
#[test]
fn runtimes_that_differ_are_both_shown() {
    let output = simulate(&["openat2"], "");
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    assert!(
        text.contains("runc: SCMP_ACT_ERRNO(38): the call fails with ENOSYS\n  the call is newer"),
        "{text}"
    );
    assert!(
        text.contains("crun: SCMP_ACT_ERRNO(1): the call fails with EPERM\n  no rule names the call"),
        "{text}"
    );
    assert!(!out(&simulate(&["openat2", "--runtime", "crun"], "")).contains("runc"));
}

#[test]
fn an_unlisted_architecture_is_killed() {
    let output = simulate(&["--trace", "-"], "i386 read 0\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("SCMP_ACT_KILL_THREAD"), "{}", out(&output));
    assert!(out(&output).contains("read() on SCMP_ARCH_X86"), "{}", out(&output));
}

#[test]
fn a_trace_is_summed_up() {
    let output = simulate(&["--trace", "-"], "# start\nread 0 1 2\nwrite 1\n");
    assert_eq!(
        (output.status.code(), out(&output).lines().next()),
        (Some(0), Some("runc, crun: all 2 calls would pass"))
    );
    let output = simulate(
        &["--trace", "-", "--runtime", "crun"],
        "read\nptrace\nsocket AF_UNIX\nptrace PTRACE_ATTACH\n",
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        out(&output),
        "crun: the first of 4 calls that would not pass is line 2: ptrace()\n\
         \x20            1  SCMP_ACT_ALLOW\n\
         \x20            3  SCMP_ACT_ERRNO\n\n\
         \x20 COUNT  ACTION             LINE  FIRST SUCH CALL\n\
         \x20     2  SCMP_ACT_ERRNO(1)     2  ptrace() on SCMP_ARCH_X86_64\n\
         \x20     1  SCMP_ACT_ERRNO(1)     3  socket(AF_UNIX) on SCMP_ARCH_X86_64\n"
    );
}

#[test]
fn a_trace_of_strace_is_read_with_its_names() {
    let trace = "12 execve(\"/bin/x\", [\"x\"], 0x7ffd /* 3 vars */) = 0\n12 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3\n\
                 12 socket(AF_UNIX, SOCK_STREAM, 0) = 4\n12 exit_group(0) = ?\n";
    let output = simulate(&["--strace", "-", "--runtime", "runc"], trace);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = out(&output);
    assert!(
        text.starts_with("runc: the first of 4 calls that would not pass is line 3: socket(AF_UNIX"),
        "{text}"
    );
    let table = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n 50.00    0.000001           1         1           read\n------ ----------- ----------- --------- --------- ----------------\n100.00    0.000001                     1           total\n";
    let output = simulate(&["--strace", "-"], table);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("strace -c"), "{}", said(&output));
}

#[test]
fn programs_get_the_same_answer_as_one_document() {
    let json = |output: &Output| -> serde_json::Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
    };
    let output = simulate(&["openat2", "-o", "json", "--bpf"], "");
    assert_eq!(output.status.code(), Some(1));
    let answer = json(&output);
    assert_eq!((&answer["architecture"], &answer["passes"]), (&"SCMP_ARCH_X86_64".into(), &false.into()));
    assert_eq!(answer["filter"]["maxInstructions"], 4096);
    let call = &answer["call"];
    assert_eq!(
        (&call["name"], &call["number"], &call["arguments"][0]),
        (&"openat2".into(), &437.into(), &"0".into())
    );
    let [runc, crun] = call["decisions"].as_array().expect("a list").as_slice() else { panic!("{call}") };
    assert_eq!(
        (&runc["runtimes"][0], &runc["reason"], &runc["errno"]),
        (&"runc".into(), &"enosysStub".into(), &38.into())
    );
    assert_eq!(
        (&crun["runtimes"][0], &crun["reason"], &crun["errno"]),
        (&"crun".into(), &"default".into(), &1.into())
    );

    let output = simulate(&["socket", "AF_INET", "-o", "json"], "");
    assert_eq!(output.status.code(), Some(0));
    let decision = &json(&output)["call"]["decisions"][0];
    assert_eq!((&decision["passes"], &decision["rule"]), (&true.into(), &1.into()));
    assert_eq!(decision["text"], "syscalls[1]: socket SCMP_ACT_ALLOW where arg0 == 2");

    let output = simulate(&["--trace", "-", "--runtime", "crun", "-o", "json"], "read\nptrace\nptrace 3\n");
    assert_eq!(output.status.code(), Some(1));
    let traces = &json(&output)["traces"];
    assert_eq!((&traces[0]["calls"], &traces[0]["actions"]["SCMP_ACT_ERRNO"]), (&3.into(), &2.into()));
    let stopped = &traces[0]["stopped"][0];
    assert_eq!(
        (&stopped["count"], &stopped["line"], &stopped["name"]),
        (&2.into(), &2.into(), &"ptrace".into())
    );
    assert_eq!(stopped["decision"]["action"], "SCMP_ACT_ERRNO");
    assert!(traces[1].is_null() && json(&output)["filter"].is_null());
}

#[test]
fn bad_input_is_named_with_its_line() {
    for (arguments, input, says) in [
        (
            &["--trace", "-"][..],
            "read\nraed\n",
            "error: standard input: line 2: \"raed\" is no call (did you mean read?)",
        ),
        (&["--trace", "-"], "", "error: standard input: there is no call in it"),
        (&["--trace", "/"], "", "error: can't read /: it is a directory"),
        (&["--trace", "/nowhere"], "", "error: can't read /nowhere: No such file"),
        (&["frobnicate"], "", "error: \"frobnicate\" is no call"),
        (&["socket", "AF_NOWHERE"], "", "error: \"AF_NOWHERE\" is no value of argument 0 of socket"),
    ] {
        let output = simulate(arguments, input);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(simulate(&[], "").status.code(), Some(2));
}

#[test]
fn the_filters_size_is_bounded_against_the_kernels_limits() {
    let output = simulate(&["--bpf"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = out(&output);
    assert!(text.starts_with("filter: at most ") && text.contains("takes 4096 in one filter"), "{text}");
    assert!(text.contains("of 32768 for all filters"), "{text}");
}

/// Memory does not grow with a trace: an endless one is read as it comes.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("web.json"), PROFILE).expect("a file can be written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(["simulate", "web.json", "--arch", "amd64", "--trace", "-"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary can be run");
    let mut input = child.stdin.take().expect("its input");
    let mut piece =
        || (0..20).for_each(|_| input.write_all(&b"socket AF_UNIX 1 2\n".repeat(20_000)).expect("it reads"));
    piece();
    let before = peak(child.id());
    piece();
    piece();
    let after = peak(child.id());
    drop(input);
    child.wait().expect("it ends");
    assert!(after <= before + 1024, "from {before} to {after} KiB");
}

/// The most memory that a process had, in KiB.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    let status = status.expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_call_is_taken_as_it_is_shown() {
    let shown = out(&simulate(&["socket", "AF_ALG", "SOCK_SEQPACKET"], ""));
    let first = shown.lines().next().expect("a line");
    assert_eq!(out(&simulate(&[first], "")), shown);
    assert_eq!(out(&simulate(&["socket(AF_ALG, SOCK_SEQPACKET)"], "")), shown);
    let output = simulate(&["socket(?)"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("write a value for it"), "{}", said(&output));
}

#[test]
fn a_packed_trace_is_read_as_its_text_is() {
    use flate2::{Compression, write::GzEncoder};
    let trace = "execve(\"/bin/x\", [\"x\"], 0x7ffd /* 3 vars */) = 0\nsocket(AF_INET, SOCK_STREAM, 0) = 3\nsocket(AF_UNIX, SOCK_STREAM, 0) = 3\n\
                 bpf(BPF_MAP_CREATE, 0x7ffd, 72) = 3\nbpf(BPF_MAP_CREATE, 0x7ffd, 72) = 3\nexit_group(0) = ?\n";
    let folder = tempfile::tempdir().expect("a folder");
    let [plain, packed] = ["trace", "trace.gz"].map(|name| folder.path().join(name));
    fs::write(&plain, trace).expect("it is written");
    let mut encoder = GzEncoder::new(fs::File::create(&packed).expect("a file"), Compression::fast());
    encoder.write_all(trace.as_bytes()).expect("it is packed");
    encoder.finish().expect("it is packed");
    let of = |path: &Path| out(&simulate(&["--strace", path.to_str().expect("text")], ""));
    let text = of(&plain);
    assert!(
        text.contains("the first of 6 calls that would not pass is line 3: socket(AF_UNIX, SOCK_STREAM, "),
        "{text}"
    );
    assert!(text.contains("2  SCMP_ACT_ERRNO(1)     4  bpf(?, 0x7ffd, 72, ..) on"), "{text}");
    assert_eq!(of(&packed), text);
    let words = "read 1\nbpf\n";
    fs::write(&plain, words).expect("it is written");
    let mut encoder = GzEncoder::new(fs::File::create(&packed).expect("a file"), Compression::fast());
    encoder.write_all(words.as_bytes()).expect("it is packed");
    encoder.finish().expect("it is packed");
    let of = |path: &Path| out(&simulate(&["--trace", path.to_str().expect("text")], ""));
    assert_eq!(of(&packed), of(&plain));
}
