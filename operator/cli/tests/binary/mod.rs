//! Runs the real binary in a directory of its own.

#![allow(dead_code, reason = "each file of tests uses a part")]

pub(crate) mod artifact;
pub(crate) mod http;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// A directory with files.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, content) in files {
            fs::write(directory.path().join(name), content).expect("it is written");
        }
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

/// Runs the binary among some files.
pub(crate) fn seccomp(files: &Files, arguments: &[&str]) -> Ran {
    seccomp_with(files, arguments, "")
}

/// The same with something on standard input.
pub(crate) fn seccomp_with(files: &Files, arguments: &[&str], input: &str) -> Ran {
    run(files, arguments, input, &[])
}

/// The same for a user who has a home.
pub(crate) fn seccomp_at_home(files: &Files, home: &str, arguments: &[&str]) -> Ran {
    run(files, arguments, "", &[("HOME", home)])
}

fn run(files: &Files, arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(arguments)
        .current_dir(files.path())
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that doesn't read it closes the pipe.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("text"),
        errors: String::from_utf8(output.stderr).expect("text"),
    }
}
