//! `filter` of programs in files, and of a process under one.

mod binary;

use binary::{Files, Ran, seccomp};
use portcullis_profile::{Profile, evaluate::Runtime};
use serde_json::Value;

/// What runc loads for `web.json`, and that.
const PROGRAM: &[u8] = include_bytes!("examples/web.bpf");
const PROFILE: &str = include_str!("examples/web.json");

/// The program and its profile, and others.
fn files() -> Files {
    let wider = PROFILE.replace("\"accept4\",", "\"accept4\", \"unshare\",");
    let other = PROFILE.replace("\"accept4\",", "\"unshare\",");
    let errno = PROFILE.replace("\"defaultErrnoRet\": 38", "\"defaultErrnoRet\": 1");
    let files = Files::new(&[
        ("web.json", PROFILE),
        ("wider.json", &wider),
        ("narrower.json", &PROFILE.replace("\"accept4\",", "")),
        ("other.json", &other),
        ("errno.json", &errno),
    ]);
    std::fs::write(files.path().join("web.bpf"), PROGRAM).expect("it is written");
    files
}

fn filter(files: &Files, arguments: &[&str]) -> Ran {
    seccomp(files, &[&["filter", "--arch", "amd64"], arguments].concat())
}

#[test]
fn a_program_stands_to_profiles_as_its_own_does() {
    let files = files();
    for (profile, code, words) in [
        ("web.json", 0, "as committed: every call and argument gets what the profile says"),
        ("wider.json", 1, "stricter: some calls"),
        ("narrower.json", 1, "looser: some calls"),
        ("other.json", 1, "other: looser for some"),
        ("errno.json", 1, "other: looser for some"),
    ] {
        let ran = filter(&files, &["--file", "web.bpf", "--profile", profile]);
        assert_eq!((ran.code, ran.errors.as_str()), (code, ""), "{profile}: {}", ran.out);
        assert!(ran.out.contains(&format!("Beside {profile}  {words}")), "{}", ran.out);
    }
    let ran = filter(&files, &["--file", "web.bpf", "--profile", "wider.json"]);
    assert!(
        ran.out.contains("- only in A\n  is allowed in A, fails with ENOSYS in B (amd64):\n    unshare\n")
    );
    // As crun loads it, nothing is added before the program.
    let crun = filter(&files, &["--file", "web.bpf", "--profile", "web.json", "--runtime", "crun"]);
    assert_eq!(crun.code, 0, "{}", crun.out);
}

#[test]
fn the_profile_of_a_program_does_the_same() {
    let files = files();
    let ran = filter(&files, &["--file", "web.bpf", "-o", "profile"]);
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    let written = Profile::parse(ran.out.as_bytes()).expect("an OCI document");
    let committed = Profile::parse(PROFILE.as_bytes()).expect("a profile");
    let native = portcullis_profile::Arch::X86_64;
    let changes = portcullis_profile::compare::changes(&committed, &written, Runtime::Runc, native);
    assert!(changes.expect("both load").is_empty());
}

#[test]
fn several_programs_are_a_list_of_which_the_strictest_counts() {
    let files = files();
    let deny_read: Vec<u8> = [
        [0x20, 0, 0, 0, 0, 0, 0, 0],
        [0x15, 0, 0, 1, 0, 0, 0, 0],
        [0x06, 0, 0, 0, 5, 0, 5, 0],
        [0x06, 0, 0, 0, 0, 0, 0xff, 0x7f],
    ]
    .concat();
    std::fs::write(files.path().join("read.bpf"), deny_read).expect("it is written");
    let ran = filter(&files, &["--file", "web.bpf", "--file", "read.bpf", "--profile", "web.json"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("web.bpf, read.bpf: 2 filters on amd64, the oldest first"), "{}", ran.out);
    assert!(ran.out.contains("\nTogether\n") && ran.out.contains("stricter: some calls"), "{}", ran.out);
    assert!(ran.out.contains("- only in A\n  is allowed in A, fails with EIO in B (amd64):\n    read\n"));
}

#[test]
fn programs_get_json_and_people_the_instructions() {
    let files = files();
    let ran = filter(&files, &["--file", "web.bpf", "-o", "json", "--profile", "narrower.json"]);
    assert_eq!(ran.code, 1);
    let document: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(document["standing"], "looser");
    assert_eq!(document["difference"]["calls"][0]["call"], "accept4");
    let calls = document["filters"][0]["architectures"][0]["calls"].as_array().expect("calls");
    let of = |name: &str| calls.iter().find(|call| call["call"] == name).expect("a call");
    assert_eq!(of("read")["action"], "SCMP_ACT_ALLOW");
    assert_eq!(of("socket")["rules"][0]["arguments"], "domain is AF_INET");
    assert_eq!(of("socket")["action"], "SCMP_ACT_ERRNO(38)");
    let ran = filter(&files, &["--file", "web.bpf", "-o", "asm"]);
    assert_eq!(ran.out.lines().count(), PROGRAM.len() / 8 + 2);
}

#[test]
fn what_no_profile_can_say_is_not_known_to_be_as_committed() {
    let files = files();
    let program = |codes: &[[u8; 8]]| std::fs::write(files.path().join("odd.bpf"), codes.concat());
    // Goes by the address that the call is made from.
    program(&[
        [0x20, 0, 0, 0, 8, 0, 0, 0],
        [0x15, 0, 0, 1, 7, 0, 0, 0],
        [0x06, 0, 0, 0, 0, 0, 5, 0],
        [0x06, 0, 0, 0, 0, 0, 0xff, 0x7f],
    ])
    .expect("it is written");
    let arches = r#"["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]"#;
    let allow = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": {arches}}}"#);
    std::fs::write(files.path().join("allow.json"), allow).expect("it is written");
    let ran = filter(&files, &["--file", "odd.bpf", "--profile", "allow.json"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.out.contains("asks for the address that the call is made from"), "{}", ran.out);
    assert!(ran.out.contains("Beside allow.json  not known"), "{}", ran.out);
    assert!(ran.errors.contains("can't be known"), "{}", ran.errors);
}

#[test]
fn what_is_no_program_is_an_error_with_its_place() {
    let files = files();
    let refused = |bytes: &[u8]| {
        std::fs::write(files.path().join("odd.bpf"), bytes).expect("it is written");
        let ran = filter(&files, &["--file", "odd.bpf"]);
        assert_eq!(ran.code, 2);
        ran.errors
    };
    assert_eq!(refused(b""), "error: odd.bpf: the program is empty\n");
    assert!(refused(b"text").contains("odd.bpf: the program has 4 bytes"));
    let load = [[0x20, 0, 0, 0, 64, 0, 0, 0], [0x06, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert!(refused(&load).contains("odd.bpf: instruction 0: it loads from byte 64"), "{}", refused(&load));
    assert!(refused(&[0; 9 * 4096]).contains("the kernel takes 4096"));
    let none = filter(&files, &["--profile", "web.json"]);
    assert_eq!(none.code, 2);
    assert!(none.errors.contains("--pid"), "{}", none.errors);
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod process {
    //! These need root.

    use std::{
        io::{BufRead as _, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::{files, filter};

    /// Loads the program in a file, and then calls nothing but read, write and `exit_group`.
    const SCRIPT: &str = r"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
code = open('web.bpf', 'rb').read()
memory = ctypes.create_string_buffer(code)
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
program = Program(len(code) // 8, ctypes.addressof(memory))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.write(1, b'loaded\n')
os.read(0, 1)
os._exit(0)
";

    struct Confined(Child);

    impl Drop for Confined {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let status = self.0.wait().expect("it ends");
            assert!(status.success(), "being looked at did it harm: {status}");
        }
    }

    #[test]
    fn what_is_in_force_is_what_was_loaded() {
        let files = files();
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT])
            .current_dir(files.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed to load a filter");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("it says so");
        let confined = Confined(child);
        assert_eq!(line, "loaded\n");
        let pid = confined.0.id().to_string();
        for (profile, code) in [("web.json", 0), ("wider.json", 1)] {
            let ran = filter(&files, &["--pid", &pid, "--profile", profile]);
            assert_eq!((ran.code, ran.errors.as_str()), (code, ""), "{}", ran.out);
            assert!(
                ran.out.starts_with(&format!("process {pid} (python3): 1 filter on amd64\n")),
                "{}",
                ran.out
            );
        }
        let own = filter(&files, &["--pid", &std::process::id().to_string()]);
        assert_eq!(own.code, 2);
        assert!(own.errors.contains("has no seccomp filter"), "{}", own.errors);
    }
}
