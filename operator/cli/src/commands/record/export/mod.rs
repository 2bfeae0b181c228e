//! `record export`: the profile of a recording.

mod committed;
mod companions;
mod known;
mod merge;
mod places;
mod update;

use std::{io::Write, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum, ValueHint, builder::PossibleValuesParser};
use clap_complete::ArgValueCandidates;
use portcullis_api::{ProfileKind, RecordedProfile, SeccompProfile, SeccompProfileSpec, SeccompRecording};
use portcullis_profile::{Baseline, Profile, is_printable, recording::RECORDED_ARGUMENTS};

use self::{known::Known, update::Target};
use crate::{
    baseline::Chosen,
    cluster::{
        self, Cluster, Connection,
        recordings::{self, Recorded},
    },
    complete,
    console::Console,
    example::{self, Example},
    manifest::{self, Object},
    output, platform,
    verdict::Verdict,
};

const WORDS: &str = "\
Exits with 0, and with 2 where nothing was recorded or a part of it can't be read. With --update it has done what it was asked for, \
so it exits with 0 whether the file has changed or not; --check is for asking.";

const EXAMPLES: &[Example] = &[
    Example {
        about: "A manifest to review and commit, in Audit mode",
        command: "kubectl seccomp record export web > web.yaml",
    },
    Example {
        about: "What a later test run needs besides, merged into the committed file",
        command: "kubectl seccomp record export web --update web.yaml",
    },
    Example {
        about: "Fail a build whose tests need more than the committed profile allows",
        command: "kubectl seccomp record export web --update web.yaml --check",
    },
    Example {
        about: "The OCI document, for a container that no cluster runs",
        command: "kubectl seccomp record export web -o profile > web.json",
    },
];

/// Which recording, and what is made of it.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(super) struct Arguments {
    /// The SeccompRecording.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::recordings))]
    recording: String,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml", conflicts_with = "update")]
    output: Form,
    /// The profile's name; by default what the recording says, or its own. With --update which one of the file is meant.
    #[arg(long, value_name = "PROFILE")]
    name: Option<String>,
    /// Merge into the SeccompProfile of this file, and say what that adds. All else in the file stays as it is.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    update: Option<PathBuf>,
    /// Allow these calls only with the argument values that were recorded, as spec.profile.argumentRules of the recording: of socket the
    /// domain, of ioctl the request.
    #[arg(long = "args", value_name = "CALL,...", value_delimiter = ',', value_parser = ruled(), hide_possible_values = true)]
    arguments: Vec<String>,
    /// Allow besides the harmless calls that go with recorded ones and that depend on time and size: munmap with mmap, sched_yield with
    /// futex. Without this they are named alone.
    #[arg(long)]
    companions: bool,
    /// Write nothing, and exit with 1 where something was recorded that the file's profile does not allow.
    #[arg(long, requires = "update")]
    check: bool,
    #[command(flatten)]
    baseline: Chosen,
    #[command(flatten)]
    format: platform::Container,
    #[command(flatten)]
    connection: Connection,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The OCI document alone.
    Profile,
    /// A SeccompProfile in YAML, with comments that say what it is of.
    Yaml,
    /// A SeccompProfile in JSON.
    Json,
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let container = arguments.format.on(platform::host_arch());
    let baseline = arguments.baseline.read(arguments.update.as_deref(), &container)?;
    cluster::with(&arguments.connection, async |cluster| {
        let mut recording = recordings::find(&cluster, &arguments.recording).await?;
        narrow(&mut recording, &arguments.arguments);
        let recorded = recordings::recorded(&cluster, &recording).await?;
        match &arguments.update {
            Some(file) => {
                let name = arguments.name.as_deref();
                let target = Target {
                    file,
                    name,
                    check: arguments.check,
                    companions: arguments.companions,
                    baseline: &baseline,
                };
                update::run(&cluster, &recording, &recorded, target, console).await
            }
            None => print(&cluster, &recording, &recorded, arguments, &baseline, console).await,
        }
    })
}

async fn print(
    cluster: &Cluster,
    recording: &SeccompRecording,
    recorded: &Recorded,
    arguments: &Arguments,
    baseline: &Baseline,
    console: &mut Console,
) -> Result<Verdict> {
    let (made, known) = make(cluster, recording, recorded, baseline, arguments.companions).await?;
    let name = arguments.name.clone().unwrap_or_else(|| recording.profile_name());
    write(recording, made, &known, &name, arguments.output, console.document())?;
    match arguments.output {
        // Its comments say all.
        Form::Yaml => console.note(known.gaps().join("\n")),
        Form::Json | Form::Profile => known.note(console),
    }
    Ok(if recorded.problems.is_empty() { Verdict::Yes } else { Verdict::Incomplete })
}

/// The profile, and what there is to know of it.
async fn make(
    cluster: &Cluster,
    recording: &SeccompRecording,
    recorded: &Recorded,
    baseline: &Baseline,
    companions: bool,
) -> Result<(RecordedProfile, Known)> {
    refuse_nothing(recording, recorded)?;
    let wished = recording.spec.profile.as_ref().map(|profile| profile.bases.as_slice()).unwrap_or_default();
    let bases = recordings::bases(cluster, &cluster.namespace, wished).await?;
    let mut made = recording
        .profile_of(&recorded.tally, &bases, baseline)
        .map_err(anyhow::Error::msg)
        .with_context(|| recordings::describe(recording))?;
    let mut known = Known::of(recorded, &made.notes);
    if companions {
        companions::allow(&mut made);
    } else if let Some(named) = companions::named(&made.companions) {
        known.add(named);
    }
    Ok((made, known))
}

/// Has calls allowed with the recorded values alone, beside those of which the recording wants that.
fn narrow(recording: &mut SeccompRecording, calls: &[String]) {
    if !calls.is_empty() {
        recording.spec.profile.get_or_insert_default().argument_rules.extend(calls.iter().cloned());
    }
}

fn ruled() -> PossibleValuesParser {
    PossibleValuesParser::new(RECORDED_ARGUMENTS.iter().map(|argument| argument.call))
}

/// Nothing was recorded: there is nothing to make.
fn refuse_nothing(recording: &SeccompRecording, recorded: &Recorded) -> Result<()> {
    let is_empty = recorded.tally.subjects.values().all(|observation| observation.calls.is_empty());
    if !is_empty {
        return Ok(());
    }
    if let Some(problem) = recorded.problems.first() {
        bail!("{}: {problem}, and there is nothing else", recordings::describe(recording));
    }
    bail!("{}: {}", recordings::describe(recording), recordings::nothing_yet(recording))
}

fn write(
    recording: &SeccompRecording,
    made: RecordedProfile,
    known: &Known,
    name: &str,
    form: Form,
    out: &mut dyn Write,
) -> Result<()> {
    let spec = made.spec;
    let document = spec.profile.as_ref().context("a recording makes a profile")?;
    let profile = Profile::try_from(document)?;
    let object = Object {
        kind: ProfileKind::SeccompProfile,
        name: name.to_owned(),
        namespace: recording.metadata.namespace.clone(),
        mode: spec.mode,
        bases: spec.bases.clone(),
        recorded_from: spec.recorded_from.clone(),
    };
    // What the API server would refuse is refused in every form.
    let allowed = companions::allowed(&made.companions, document);
    let mut text = manifest::render(&companions::without(profile.clone(), allowed.as_ref()), &object)?;
    text.push_str(&companions::block(&made.companions, allowed.as_ref(), &text)?);
    match form {
        Form::Yaml => {
            writeln!(out, "# Recorded by {}.", recordings::describe(recording))?;
            for line in known.lines() {
                writeln!(out, "# {}", one_line(&line))?;
            }
            out.write_all(text.as_bytes())?;
        }
        Form::Json => {
            let mut resource = SeccompProfile::new(name, SeccompProfileSpec { profile: spec });
            resource.metadata.namespace = object.namespace;
            output::json(&resource, out)?;
        }
        Form::Profile => out.write_all(&profile.render())?,
    }
    Ok(())
}

/// A comment ends with its line.
fn one_line(text: &str) -> String {
    text.chars().map(|one| if is_printable(one) { one } else { ' ' }).collect()
}

#[cfg(test)]
mod tests;
