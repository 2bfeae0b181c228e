//! An agent that is killed again and again while it writes, and a reader that does nothing but read.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_api::{Owner, SeccompProfile};

use super::{
    Seen, TestNamespace,
    agents::LooseAgent,
    eventually,
    profiles::{PATIENCE, await_ready, current_content, numbered, profile},
};
use crate::Operator;

/// How many contents a profile is edited between.
const CONTENTS: u32 = 4;

/// How long an agent lives at most before it is killed, on a machine that has nothing else to do. On another it is as much longer as an agent
/// takes to come to its first file.
const LONGEST_LIFE: Duration = Duration::from_millis(400);

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Torture {
    /// How often the agent was killed.
    pub kills: u32,
    /// How often the profile was edited meanwhile.
    pub edits: u64,
    /// How often the file was read meanwhile.
    pub reads: u64,
    /// How often it changed between two reads.
    pub changes: u64,
}

/// How much has to happen.
#[derive(Clone, Copy, Debug)]
pub struct Least {
    /// How often the agent is killed.
    pub kills: u32,
    /// How often the file changes. After some changes the controller makes one each 10 s, so on a fast machine it is these that take the time.
    pub changes: u64,
}

/// Kills an agent at random moments while a profile is edited without a pause, and reads its file in a tight loop all the while, until
/// enough has happened.
///
/// # Errors
/// Where a read finds anything but one of the profile's contents, whole, or the last content does not come.
pub async fn torture(
    operator: &Operator,
    namespace: &TestNamespace,
    directory: &Path,
    least: Least,
) -> Result<Torture> {
    let owner = Owner::namespaced(namespace.name(), "tortured")?;
    let mut contents = Vec::new();
    for number in 0..CONTENTS {
        namespace.apply(&profile("tortured", &spec(number)))?;
        await_ready::<SeccompProfile>(&namespace.api(), "tortured").await?;
        contents.push(current_content(operator.cluster(), &owner).await?);
    }
    let (base, log) = (directory.join("seccomp"), directory.join("agent.log"));
    fs::create_dir(&base)?;
    let file = base.join("profiles").join(owner.current_path());
    let begun = Instant::now();
    let agent = LooseAgent::start(operator, &base, &log)?;
    eventually("the first file is there", PATIENCE, async || {
        Ok(if file.exists() { Seen::Done(()) } else { Seen::NotYet(tail(&log)) })
    })
    .await?;
    let longest = LONGEST_LIFE.max(begun.elapsed() * 3);
    let reader = Reader::start(file.clone(), contents.iter().cloned().collect());
    let edits = AtomicU64::new(0);
    let outcome = tokio::select! {
        edited = edit_for_ever(namespace, &edits) => edited,
        killed = kill(operator, agent, (&base, &log), (least, longest), &reader) => killed,
    };
    let (reads, changes) = reader.stop()?;
    let kills = outcome.with_context(|| tail(&log))?;

    namespace.apply(&profile("tortured", &spec(0)))?;
    let _agent = LooseAgent::start(operator, &base, &log)?;
    eventually("the last content comes", PATIENCE, async || {
        let found = fs::read_to_string(&file)?;
        Ok(if found == contents[0] { Seen::Done(()) } else { Seen::NotYet(tail(&log)) })
    })
    .await?;
    Ok(Torture { kills, edits: edits.into_inner(), reads, changes })
}

fn spec(number: u32) -> serde_json::Value {
    serde_json::json!({ "profile": numbered(number), "revisionHistoryLimit": CONTENTS })
}

/// Edits without a pause; ends only with an error.
async fn edit_for_ever(namespace: &TestNamespace, edits: &AtomicU64) -> Result<u32> {
    use kube::api::{Patch, PatchParams};
    let profiles = namespace.api::<SeccompProfile>();
    for number in (0..CONTENTS).cycle() {
        let patch = Patch::Merge(serde_json::json!({ "spec": spec(number) }));
        profiles.patch("tortured", &PatchParams::default(), &patch).await?;
        edits.fetch_add(1, Ordering::Relaxed);
    }
    bail!("there is nothing to edit")
}

/// Kills the agent and starts another at once, each time after another part of the longest life, until enough has happened. Says how often.
async fn kill(
    operator: &Operator,
    first: LooseAgent,
    (base, log): (&Path, &Path),
    (least, longest): (Least, Duration),
    reader: &Reader,
) -> Result<u32> {
    let mut agent = first;
    let mut round = 0;
    while round < least.kills || reader.changes() < least.changes {
        // From before its first look at the disk to well into its watch.
        tokio::time::sleep(longest * (round * 37 % 100) / 100).await;
        reader.ensure_well()?;
        agent.kill()?;
        agent = LooseAgent::start(operator, base, log)?;
        round += 1;
    }
    agent.kill()?;
    Ok(round)
}

/// The end of a file, for an error.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    crate::command::last_lines(&text, 30)
}

/// A thread that reads one file without a pause.
struct Reader {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    thread: JoinHandle<Result<u64>>,
}

impl Reader {
    fn start(file: PathBuf, contents: BTreeSet<String>) -> Self {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, changes) = (stop.clone(), changes.clone());
            move || read_for_ever(&file, &contents, (&stop, &changes))
        });
        Self { stop, changes, thread }
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Fails early where the reader has met something that it should not.
    fn ensure_well(&self) -> Result<()> {
        ensure!(!self.thread.is_finished(), "the reader has stopped");
        Ok(())
    }

    fn stop(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        let reads = self.thread.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        Ok((reads, self.changes.load(Ordering::Relaxed)))
    }
}

fn read_for_ever(
    file: &Path,
    contents: &BTreeSet<String>,
    (stop, changes): (&AtomicBool, &AtomicU64),
) -> Result<u64> {
    let mut reads = 0;
    let mut last = String::new();
    while !stop.load(Ordering::Relaxed) {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("read {reads}: the file is missing")
            }
            Err(error) => return Err(error).with_context(|| format!("read {reads}")),
        };
        ensure!(contents.contains(&text), "read {reads}: torn or empty: {text:?}");
        reads += 1;
        if text != last {
            changes.fetch_add(1, Ordering::Relaxed);
            last = text;
        }
    }
    Ok(reads)
}
