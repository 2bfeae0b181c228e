//! What a command answers where the reader of its output has seen enough and is gone, as behind `| head`.

mod binary;

use std::process::{Command, Stdio};

use binary::Files;

const STRICT: &str =
    r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
const LOOSE: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;

/// The exit code and standard error of a run whose standard output nobody reads.
fn unread(arguments: &[&str]) -> (Option<i32>, String) {
    let files = Files::new(&[("strict.json", STRICT), ("loose.json", LOOSE)]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(arguments)
        .current_dir(files.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(writer)
        .output()
        .expect("the binary can be run");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_verdict_is_the_same() {
    for (arguments, code) in [
        (&["diff", "--looser-only", "strict.json", "loose.json"][..], 1),
        (&["diff", "--looser-only", "loose.json", "strict.json"], 0),
        (&["diff", "-o", "json", "strict.json", "loose.json"], 1),
        (&["lint", "--strict", "loose.json"], 1),
        (&["lint", "--strict", "-o", "json", "loose.json"], 1),
        (&["explain", "strict.json"], 0),
    ] {
        let (ended, said) = unread(arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("error:"), "{arguments:?}: {said}");
    }
}
