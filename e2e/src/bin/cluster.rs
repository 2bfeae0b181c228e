//! The local cluster by hand: `cargo run -p portcullis-e2e -- up`.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use portcullis_e2e::{
    Client, Cluster, LocalCluster, NodeOptions,
    image::{Architecture, OperatorImage},
    progress,
    settings::Settings,
};

/// A real Kubernetes on this machine, built from official Go modules and Debian packages.
#[derive(Parser)]
#[command(name = "cluster")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start the cluster, or find it running; what is missing is installed and built.
    Up,
    /// Stop the cluster and leave no traces.
    Down {
        /// Remove built programs, images and logs too.
        #[arg(long)]
        purge: bool,
    },
    /// Show how the cluster is; fails when it is not well.
    Status {
        /// Show what the cluster has on the machine outside its folder; fails when there is something.
        #[arg(long)]
        traces: bool,
    },
    /// Add or remove a node.
    #[command(subcommand)]
    Node(NodeAction),
    /// Build or load images.
    #[command(subcommand)]
    Image(ImageAction),
    /// Print the path of the administrator's kubeconfig.
    Kubeconfig,
    /// Print the path of a client of the cluster, built where it is not built yet.
    Tool {
        /// The client.
        name: Client,
    },
    /// Print the log of a process, or the names of all.
    Logs {
        /// The process, such as kubelet-node1.
        name: Option<String>,
    },
}

#[derive(Subcommand)]
enum NodeAction {
    /// Add a node and wait until it is Ready.
    Add {
        /// The node's name.
        name: String,
        /// A taint that the node is born with, key=value:Effect.
        #[arg(long = "taint")]
        taints: Vec<String>,
    },
    /// Remove a node with all that runs on it.
    Remove {
        /// The node's name.
        name: String,
    },
}

#[derive(Subcommand)]
enum ImageAction {
    /// Load OCI archives on every node of the local cluster; without one, build and load the operator's image, or say which one a
    /// cluster of yours has.
    Load {
        /// The archives.
        archives: Vec<PathBuf>,
    },
    /// Build the images that tests run and print their OCI archives: what a cluster of yours needs on its nodes.
    Base,
    /// Build the operator's static binary, for the Containerfile or for an archive.
    Build {
        /// The processor it is for; this machine's unless given.
        #[arg(long)]
        arch: Option<Architecture>,
        /// Write the image as an OCI archive too.
        #[arg(long)]
        archive: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().action).await {
        Ok(code) => code,
        Err(error) => {
            progress::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(action: Action) -> Result<ExitCode> {
    let local = LocalCluster::new(&Settings::from_env()?)?;
    match action {
        Action::Up => {
            local.up().await?;
            print(format_args!("export KUBECONFIG={}", local.paths().kubeconfig().display()))?;
        }
        Action::Down { purge: false } => local.down()?,
        Action::Down { purge: true } => local.purge()?,
        Action::Status { traces: true } => return show_traces(&local),
        Action::Status { traces: false } => return show_status(&local).await,
        Action::Node(NodeAction::Add { name, taints }) => {
            local.add_node(&name, &NodeOptions { taints }).await?;
        }
        Action::Node(NodeAction::Remove { name }) => local.remove_node(&name).await?,
        Action::Image(ImageAction::Load { archives }) if archives.is_empty() => {
            print(Cluster::from_env().await?.operator_image()?)?;
        }
        Action::Image(ImageAction::Load { archives }) => {
            archives.iter().try_for_each(|archive| local.load_image(archive))?;
        }
        Action::Image(ImageAction::Base) => {
            local.base_images()?.iter().try_for_each(|archive| print(archive.display()))?;
        }
        Action::Image(ImageAction::Build { arch, archive }) => build_image(arch, archive)?,
        Action::Kubeconfig => print(local.paths().kubeconfig().display())?,
        Action::Tool { name } => print(name.ensure(&Settings::from_env()?)?.display())?,
        Action::Logs { name } => show_logs(&local, name.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn build_image(arch: Option<Architecture>, archive: Option<PathBuf>) -> Result<()> {
    let architecture = arch.map_or_else(Architecture::of_machine, Ok)?;
    let image = OperatorImage::new(architecture);
    let what = format!("build the operator for {}", architecture.name());
    let binary = progress::step(what, || image.build_binary())?;
    if let Some(archive) = archive {
        image.image(&binary)?.write_archive(&archive)?;
    }
    print(binary.display())
}

async fn show_status(local: &LocalCluster) -> Result<ExitCode> {
    let status = local.status().await?;
    print(status.to_string().trim_end())?;
    let well = status.processes_are_well() && status.nodes_are_ready();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show_traces(local: &LocalCluster) -> Result<ExitCode> {
    let traces = local.traces()?;
    for trace in &traces {
        print(trace)?;
    }
    Ok(if traces.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show_logs(local: &LocalCluster, name: Option<&str>) -> Result<()> {
    let folder = local.paths().logs();
    let Some(name) = name else {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("there is no {}", folder.display()))?
        {
            print(entry?.file_name().to_string_lossy().trim_end_matches(".log"))?;
        }
        return Ok(());
    };
    let file = folder.join(format!("{name}.log"));
    let mut log =
        std::fs::File::open(&file).with_context(|| format!("there is no log {}", file.display()))?;
    std::io::copy(&mut log, &mut std::io::stdout().lock()).context("the log can't be printed")?;
    Ok(())
}

fn print(line: impl std::fmt::Display) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("can't write to standard output")
}
