//! What a user or a script sees: exit codes, and on which stream what is said.

use std::process::{Command, Output};

fn seccomp(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(arguments)
        .env_clear()
        .output()
        .expect("the binary can be run")
}

#[test]
fn a_file_that_is_missing_is_an_error_and_named() {
    let output = seccomp(&["lint", "/nowhere/web.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: can't read /nowhere/web.json: No such file"), "{said}");
}

#[test]
fn a_usage_error_exits_with_2() {
    assert_eq!(seccomp(&[]).status.code(), Some(2));
    assert_eq!(seccomp(&["frobnicate"]).status.code(), Some(2));
}
