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
    Example { about: "That of a command below another", command: "kubectl seccomp man import strace" },
    Example { about: "Write a page for each command", command: "kubectl seccomp man --dir man1" },
];

/// Which pages, and where to.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// The command whose page to print, in roff, such as `import strace`; without it the page of all.
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// A folder to write every page into.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    match &arguments.dir {
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("can't make the folder {}", dir.display()))?;
            for (name, page) in pages() {
                let file = dir.join(format!("{name}.1"));
                let mut text = Vec::new();
                Man::new(page).render(&mut text)?;
                fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
            }
        }
        None => {
            let words = std::iter::once(PROGRAM).chain(arguments.command.iter().map(String::as_str));
            let wanted = words.collect::<Vec<_>>().join("-");
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
    let mut pages = Vec::new();
    add(&root, PROGRAM.to_owned(), &mut pages);
    pages
}

/// Adds a command's page, and those of the commands below it.
fn add(command: &Command, name: String, pages: &mut Vec<(String, Command)>) {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    // A page names those below it by the names of their pages.
    let page = command.clone().mut_subcommands(|below| {
        let page = format!("{name}-{}", below.get_name());
        below.display_name(page)
    });
    pages.push((name.clone(), page.display_name(name.clone())));
    for below in below {
        add(below, format!("{name}-{}", below.get_name()), pages);
    }
}
