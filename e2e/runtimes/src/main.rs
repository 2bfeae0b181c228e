//! `privileges` measures what runtimes make of filters that answer their own calls, and writes the table that profiles are judged by.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use portcullis_runtimes::{
    Depth, Pool, Source, Table, differences, lacks_of_base, measure_sample, output, serve, sweep,
    workspace_root,
};

/// The table.
const TABLE: &str = "operator/profile/data/privileges.tsv";

#[derive(Debug, Parser)]
#[command(about = "Measures container runtimes")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Measure what runtimes keep when a filter answers their own calls, and write operator/profile/data/privileges.tsv.
    Privileges(Privileges),
    /// Start containers under exactly the calls of operator/profile/src/runtime_base.rs, and fail where one doesn't.
    Base(Base),
    /// Run containers that standard input names, in namespaces of its own.
    #[command(hide = true)]
    Job {
        /// Where the containers are.
        folder: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Privileges {
    /// The runtimes, as `runc@1.5.3`; all unless given. Rows of others stay.
    #[arg(long = "runtime", value_name = "RUNTIME")]
    runtimes: Vec<Source>,
    /// Some calls alone; the rows of others stay.
    #[arg(long = "call", value_name = "CALL")]
    calls: Vec<String>,
    /// The errnos.
    #[arg(long, value_enum, default_value_t = Depth::Full)]
    depth: Depth,
    /// How many containers are tried at a time.
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// Write nothing; fail where the table says something else.
    #[arg(long)]
    check: bool,
    /// Check a few answers only.
    #[arg(long, requires = "check")]
    sample: bool,
}

#[derive(Debug, clap::Args)]
struct Base {
    /// The runtimes, as `runc@1.5.3`; all unless given.
    #[arg(long = "runtime", value_name = "RUNTIME")]
    runtimes: Vec<Source>,
    /// How many containers are tried at a time.
    #[arg(long, default_value_t = 3)]
    jobs: usize,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().action {
        Action::Base(base) => base.run(),
        Action::Privileges(privileges) => privileges.run(),
        Action::Job { folder } => serve(&folder).map(|()| ExitCode::SUCCESS),
    }
}

impl Base {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line's answer")]
    fn run(self) -> Result<ExitCode> {
        let Self { runtimes, jobs } = self;
        let runtimes = if runtimes.is_empty() { Source::ALL.to_vec() } else { runtimes };
        let pool = Pool::new(&std::env::current_exe()?, jobs)?;
        let mut code = ExitCode::SUCCESS;
        for source in runtimes {
            let runtime = source.obtain()?;
            let lacks = lacks_of_base(&pool, &runtime)?;
            if lacks.is_empty() {
                println!("{runtime} starts containers and executes in them under exactly its base");
                continue;
            }
            code = ExitCode::FAILURE;
            for lack in lacks {
                eprintln!("{lack}");
            }
        }
        Ok(code)
    }
}

impl Privileges {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line's answer")]
    fn run(self) -> Result<ExitCode> {
        let Self { runtimes, calls, depth, jobs, check, sample } = self;
        let runtimes = if runtimes.is_empty() { Source::ALL.to_vec() } else { runtimes };
        let path = workspace_root().join(TABLE);
        let committed = || {
            let text = fs::read_to_string(&path).with_context(|| format!("can't read {TABLE}"))?;
            Table::parse(&text).with_context(|| format!("can't read {TABLE}"))
        };
        let pool = Pool::new(&std::env::current_exe()?, jobs)?;
        let mut wrong = Vec::new();
        for source in runtimes {
            let runtime = source.obtain()?;
            let fresh = if sample {
                measure_sample(&pool, &runtime)?
            } else {
                let mut swept = sweep(&pool, &runtime, &calls, depth, |line| eprintln!("{line}"))?;
                // A test holds the table to the sample, in which are answers that not every depth has.
                if calls.is_empty() {
                    swept.add(measure_sample(&pool, &runtime)?);
                }
                swept
            };
            // Another one may have been measured meanwhile.
            let mut table = committed()?;
            if check {
                wrong.extend(differences(&table, &fresh));
                continue;
            }
            table.replace(fresh, &calls);
            fs::write(&path, head()? + &table.render()).with_context(|| format!("can't write {TABLE}"))?;
            println!("{runtime} is measured");
        }
        for line in &wrong {
            eprintln!("{line}");
        }
        Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What stands above the table.
fn head() -> Result<String> {
    let release = output(Command::new("uname").arg("--kernel-release"))?;
    let release: Vec<&str> = release.trim().split(['.', '-']).take(2).collect();
    let machine = output(Command::new("uname").arg("--machine"))?;
    Ok(format!(
        "# What became of a container whose filter answers its runtime's own calls. Made by `make privileges`; data/README.md says how.\n\
         # Last measured on Linux {}, {}.\n",
        release.join("."),
        machine.trim()
    ))
}
