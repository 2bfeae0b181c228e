//! `kubectl-seccomp`: read, check, compare, combine, import and share seccomp profiles.
//!
//! Everything it computes comes from `portcullis-profile`; here are files, registries, clusters and what people see.
#![forbid(unsafe_code)]

mod answer;
mod baseline;
mod cli;
mod cluster;
mod commands;
mod complete;
mod console;
mod example;
mod input;
mod layout;
mod manifest;
mod output;
mod platform;
mod registry;
mod replace;
mod shared;
#[doc(hidden)]
pub mod strangers;
mod table;
mod usage;
mod verdict;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::CompleteEnv;

use cli::Cli;
use console::Console;
use verdict::ERROR;

/// Runs the command that the arguments ask for, and says what went wrong.
///
/// Exits with 0, with 1 where the command's answer is no (a finding, a difference), with 2 where there is no answer.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A shell's script asks for candidates this way; the answer ends the process.
    if std::env::var_os(commands::completion::VARIABLE).is_some() {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        complete::keep_words(arguments.iter().skip_while(|word| *word != "--").skip(1).cloned().collect());
        let completer = CompleteEnv::with_factory(Cli::command).var(commands::completion::VARIABLE);
        return match completer.try_complete(arguments, std::env::current_dir().ok().as_deref()) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => error.exit(),
        };
    }
    let mut command = Cli::command().term_width(console::help_columns());
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    let cli = match parsed {
        Ok(cli) => cli,
        // Help and version are no failures; clap knows which is which, and its usage errors exit with 2.
        Err(error) => usage::advised(error, &command).exit(),
    };
    let mut console = Console::new();
    let ended = cli.command.run(&mut console).and_then(|verdict| console.flush().map(|()| verdict));
    match ended {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            console.error(&error);
            ExitCode::from(ERROR)
        }
    }
}
