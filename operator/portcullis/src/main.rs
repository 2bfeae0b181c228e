//! The server binary: `portcullis controller | agent | recorder`.

use std::{future::Future, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use portcullis_runtime::{BoxError, Process, explain};
use tokio::runtime::{Builder, Runtime};
use tracing::error;

/// Seccomp profiles on every node of a cluster.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version = portcullis_runtime::VERSION)]
struct Cli {
    #[command(flatten)]
    process: portcullis_runtime::Settings,
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Resolve profiles into revisions and keep their status true.
    Controller(portcullis_controller::Settings),
    /// Write revisions as files on this node and guard them.
    Agent(portcullis_agent::Settings),
    /// Record which system calls the pods of this node make.
    Recorder(portcullis_recorder::Settings),
    /// Remove from this node what Portcullis wrote there, once it is uninstalled; then wait to be stopped.
    Purge(portcullis_agent::PurgeSettings),
}

/// Exits with 0 after SIGTERM or SIGINT, with 1 after a failure, with 2 (clap's) on a usage error.
fn main() -> ExitCode {
    let Cli { process, role } = Cli::parse();
    let ended = match role {
        // Documents are worked on by threads of their own; these are for everything beside it.
        Role::Controller(settings) => {
            run("controller", &process, Builder::new_multi_thread().worker_threads(2), |process| {
                portcullis_controller::run(process, settings)
            })
        }
        // On every node of a cluster, so as small as can be: one thread, and blocking ones for the files.
        Role::Agent(settings) => run("agent", &process, &mut Builder::new_current_thread(), |process| {
            portcullis_agent::run(process, settings)
        }),
        Role::Recorder(settings) => {
            run("recorder", &process, &mut Builder::new_current_thread(), |process| {
                portcullis_recorder::run(process, settings)
            })
        }
        Role::Purge(settings) => run("purge", &process, &mut Builder::new_current_thread(), |process| {
            portcullis_agent::purge(process, settings)
        }),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

fn run<F, E>(
    role: &'static str,
    settings: &portcullis_runtime::Settings,
    runtime: &mut Builder,
    body: impl FnOnce(Process) -> F,
) -> Result<()>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let runtime: Runtime = runtime.enable_all().build().context("can't start the tokio runtime")?;
    let ended = runtime.block_on(async {
        let process = portcullis_runtime::start(role, settings)?;
        process.clone().run(body(process)).await.map_err(anyhow::Error::from)
    });
    // A blocking call that hangs, on a dead disk for example, must not keep a failed process alive.
    runtime.shutdown_background();
    ended
}

#[expect(clippy::print_stderr, reason = "a failure before logging is set up has no other place")]
fn say(error: &anyhow::Error) {
    if tracing::dispatcher::has_been_set() {
        error!("{}", explain(error.as_ref()));
    } else {
        eprintln!("portcullis: {}", explain(error.as_ref()));
    }
}
