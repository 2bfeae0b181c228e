//! `man`: manual pages.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Command, CommandFactory as _, ValueHint};
use clap_mangen::Man;

use crate::{
    cli::Cli,
    console::Console,
    example::{self, Example},
    verdict::Verdict,
};

const PROGRAM: &str = "kubectl-seccomp";

const EXAMPLES: &[Example] = &[
    Example { about: "Read a command's page", command: "kubectl seccomp man lint" },
    Example { about: "Write a page for each command", command: "kubectl seccomp man --dir man1" },
];

/// Which pages, and where to.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// The command whose page to print, in roff; without it the page of all.
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Option<String>,
    /// A folder to write every page into.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    match (&arguments.dir, &arguments.command) {
        (Some(dir), _) => {
            fs::create_dir_all(dir).with_context(|| format!("can't make the folder {}", dir.display()))?;
            for (name, page) in pages() {
                let file = dir.join(format!("{name}.1"));
                let mut text = Vec::new();
                Man::new(page).render(&mut text)?;
                fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
            }
        }
        (None, command) => {
            let wanted =
                command.as_ref().map_or_else(|| PROGRAM.to_owned(), |name| format!("{PROGRAM}-{name}"));
            let page = pages().into_iter().find(|(name, _)| *name == wanted);
            let (_, page) =
                page.with_context(|| format!("there is no page {wanted}; --help lists the commands"))?;
            Man::new(page).render(&mut console.document())?;
        }
    }
    Ok(Verdict::Yes)
}

/// Every page by its name. Pages are called as the program is: `kubectl seccomp` is no name of a file.
fn pages() -> Vec<(String, Command)> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let commands = root.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| {
        let name = format!("{PROGRAM}-{}", command.get_name());
        (name.clone(), command.clone().display_name(name))
    });
    std::iter::once((PROGRAM.to_owned(), root.clone().display_name(PROGRAM))).chain(commands).collect()
}
