//! `completion`: scripts for shells, and for kubectl.

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::{engine, env::Shells};

use crate::{
    cli::Cli,
    complete,
    console::Console,
    example::{self, Example},
    verdict::Verdict,
};

/// The variable by which a shell's script asks this program for candidates.
pub(crate) const VARIABLE: &str = "KUBECTL_SECCOMP_COMPLETE";

/// What kubectl runs to complete the words after `kubectl seccomp`, if it finds it in PATH under the name
/// `kubectl_complete-seccomp`.
///
/// Source: k8s.io/kubectl/pkg/cmd/plugin/plugin_completion.go.
const KUBECTL_SCRIPT: &str = "#!/bin/sh\nexec kubectl-seccomp __complete \"$@\"\n";

const EXAMPLES: &[Example] = &[
    Example { about: "In bash, for kubectl-seccomp", command: "source <(kubectl seccomp completion bash)" },
    Example {
        about: "For `kubectl seccomp`, in a folder of $PATH",
        command: "kubectl seccomp completion kubectl > kubectl_complete-seccomp && chmod +x kubectl_complete-seccomp",
    },
];

/// For what.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// The shell; or kubectl, whose own completion then goes on behind `kubectl seccomp`.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
    Kubectl,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let name = match arguments.shell {
        Shell::Kubectl => {
            console.document().write_all(KUBECTL_SCRIPT.as_bytes())?;
            return Ok(Verdict::Yes);
        }
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Elvish => "elvish",
    };
    let shells = Shells::builtins();
    let shell = shells.completer(name).with_context(|| format!("no completion for {name}"))?;
    let program = "kubectl-seccomp";
    shell.write_registration(VARIABLE, program, program, program, &mut console.document())?;
    Ok(Verdict::Yes)
}

/// The words that kubectl passes on: all after `seccomp`, the last of them being typed.
#[derive(Debug, Args)]
pub(crate) struct Words {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Writes candidates, one a line with a tab before its description, and then what the shell should do besides.
///
/// Source: ShellCompDirective in github.com/spf13/cobra/completions.go.
pub(crate) fn run_words(arguments: &Words, console: &mut Console) -> Result<Verdict> {
    const NO_SPACE: u8 = 2;
    const NO_FILES: u8 = 4;
    let mut words = vec![OsString::from("kubectl-seccomp")];
    words.extend(arguments.words.iter().cloned());
    if arguments.words.is_empty() {
        words.push(OsString::new());
    }
    let begins_flag = words.last().is_some_and(|word| word.as_encoded_bytes().starts_with(b"-"));
    complete::keep_words(words.clone());
    let (last, folder) = (words.len() - 1, std::env::current_dir().ok());
    let candidates = engine::complete(&mut Cli::command(), words, last, folder.as_deref())?;
    let mut directive = NO_FILES;
    let out = console.out();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        // As in kubectl, flags come where somebody has begun one.
        if value.starts_with('-') && !begins_flag {
            continue;
        }
        if value.ends_with('/') {
            directive |= NO_SPACE;
        }
        match candidate.get_help() {
            Some(help) => {
                let help = help.to_string();
                writeln!(out, "{value}\t{}", help.lines().next().unwrap_or_default())?;
            }
            None => writeln!(out, "{value}")?,
        }
    }
    writeln!(out, ":{directive}")?;
    Ok(Verdict::Yes)
}
