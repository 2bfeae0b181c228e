//! Code generation: `cargo run -p xtask -- codegen` writes every generated file, `-- check` fails where one is stale,
//! `-- fuzz-report` writes what the fuzz targets have run, `-- speed` what the command line takes beside other tools,
//! `-- runtime-defaults` the container runtimes' default filters.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{codegen, fuzz, runtime_defaults, speed, workspace_root};

#[derive(Debug, Parser)]
#[command(about = "Writes the repository's generated files, or checks that they are fresh")]
struct Arguments {
    /// Helm, by which deploy/ is rendered from the chart; without it deploy/ is left out.
    #[arg(long, env = "HELM", global = true)]
    helm: Option<OsString>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Clone, Debug, Subcommand)]
enum Task {
    /// Write every generated file.
    Codegen,
    /// Fail where a generated file is stale.
    Check,
    /// Write into docs/performance.md what `make fuzz` has run.
    FuzzReport,
    /// Measure the command line and write its figures, and those of `cargo bench`, into docs/performance.md.
    Speed {
        /// The kubectl-seccomp to measure.
        binary: PathBuf,
    },
    /// Generate the runtimes' default filters from their sources, by Go and apt.
    RuntimeDefaults {
        /// Write nothing; say where a newer release has another default, and fail.
        #[arg(long)]
        check: bool,
    },
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line's answer")]
fn main() -> Result<ExitCode> {
    let root = workspace_root()?;
    let Arguments { helm, task } = Arguments::parse();
    match &task {
        Task::FuzzReport => {
            fuzz::write(&root)?;
            return Ok(ExitCode::SUCCESS);
        }
        Task::Speed { binary } => {
            speed::write(&root, binary, |line| println!("{line}"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Task::RuntimeDefaults { check: false } => {
            runtime_defaults::write(&root, |line| println!("{line}"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Task::RuntimeDefaults { check: true } => {
            let wrong = runtime_defaults::check(|line| println!("{line}"))?;
            for line in &wrong {
                eprintln!("{line}");
            }
            return Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Task::Codegen | Task::Check => {}
    }
    if matches!(task, Task::Codegen) {
        // deploy/ is rendered from a chart that has the definitions just written.
        for artefact in codegen::artefacts()? {
            artefact.write(&root)?;
            println!("{}", artefact.path.display());
        }
        if let Some(helm) = &helm {
            for artefact in codegen::deploy::artefacts(&root, helm)? {
                artefact.write(&root)?;
                println!("{}", artefact.path.display());
            }
        }
    }
    let mut stale = codegen::stale(&root)?;
    match &helm {
        Some(helm) => stale.extend(codegen::deploy::stale(&root, helm)?),
        None => eprintln!("HELM is not set: deploy/ is left out"),
    }
    for path in &stale {
        eprintln!("stale: {path} (make generate)");
    }
    Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
