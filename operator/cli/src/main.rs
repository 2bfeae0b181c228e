//! `kubectl seccomp`, and a plain command where there is no cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis_cli::run(std::env::args_os())
}
