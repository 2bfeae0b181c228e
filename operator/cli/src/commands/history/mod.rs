//! `history`: a profile's revisions, and what changed between them.

mod changes;

use std::io::Write;

use anyhow::Result;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use portcullis_profile::Digest;

use self::changes::Changes;
use crate::{
    cluster::{
        Cluster, Scope,
        age::age,
        failure::FailureKind,
        profiles::{One, Profile},
        revisions::{self, Histories, Revision},
        usage::{self, Users},
    },
    console::Console,
    example::{self, Example},
    table::Table,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "The revisions that are kept, and what each changed",
        command: "kubectl seccomp history web",
    },
    Example { about: "Every call and argument that changed", command: "kubectl seccomp history web --diff" },
];

/// Which profile.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Every difference between neighbours: + where the newer one is looser, - where it is stricter.
    #[arg(long)]
    diff: bool,
    #[command(flatten)]
    profile: One,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    arguments.profile.with(async |cluster, profile| {
        let revisions = revisions::of_owner(&cluster, &profile.owner).await?;
        if revisions.is_empty() {
            profile.current()?;
        }
        let users = match users(&cluster, &profile, &revisions).await {
            Ok(users) => Some(users),
            Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
                console.note(format_args!("who uses the revisions is not known: {error:#}"));
                None
            }
            Err(error) => return Err(error),
        };
        table(&profile, &revisions, users.as_ref(), console.out())?;
        differences(&cluster, &profile, &revisions, arguments.diff, console).await?;
        Ok(Verdict::Yes)
    })
}

async fn users(cluster: &Cluster, profile: &Profile, revisions: &[Revision]) -> Result<Users> {
    let scope = profile.owner.namespace().map_or(Scope::All, |own| Scope::Namespace(own.to_owned()));
    let histories = Histories::from([(profile.owner.clone(), revisions.to_vec())]);
    let (mut users, _) = usage::of(cluster, &scope, std::slice::from_ref(profile), Some(&histories)).await?;
    Ok(users.pop().unwrap_or_default())
}

fn table(
    profile: &Profile,
    revisions: &[Revision],
    users: Option<&Users>,
    out: &mut dyn Write,
) -> Result<()> {
    let mut table = Table::new(["DIGEST", "SEQUENCE", "STATE", "BECAME CURRENT", "PODS"]);
    for (position, revision) in revisions.iter().enumerate() {
        let mut state = revisions::state(revision.revoked.as_deref(), position == 0);
        if position == 0 && profile.pin.is_some() && revision.revoked.is_none() {
            state.push_str(", pinned");
        }
        let since =
            revision.since.as_ref().map(|since| format!("{} ago", age(Some(since), Timestamp::now())));
        table.push(vec![
            revision.digest.short(),
            revision.sequence.to_string(),
            state,
            since.unwrap_or_else(|| "?".to_owned()),
            users.map_or_else(
                || "?".to_owned(),
                |users| users.revisions.get(&revision.digest).copied().unwrap_or_default().to_string(),
            ),
        ]);
    }
    table.write(out)?;
    if let Some(lost) = users.map(|users| users.lost).filter(|lost| *lost > 0) {
        writeln!(out, "{lost} pods run under a revision that is not kept any more.")?;
    }
    Ok(())
}

async fn differences(
    cluster: &Cluster,
    profile: &Profile,
    revisions: &[Revision],
    full: bool,
    console: &mut Console,
) -> Result<()> {
    let mut newer: Option<(Digest, String)> = None;
    for revision in revisions {
        let content = revisions::content(cluster, &profile.owner, &revision.digest).await?;
        let Some((digest, newer)) = newer.replace((revision.digest, content.clone())) else { continue };
        let changes = Changes::between(&content, &newer)?;
        let out = console.out();
        writeln!(out, "\n{} -> {}", revision.digest.short(), digest.short())?;
        for line in if full { changes.full() } else { changes.summary() } {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}
