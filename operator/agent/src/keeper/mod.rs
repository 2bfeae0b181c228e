//! Keeps the node's files as the revisions say, whatever else happens to them.
//!
//! A [`Keeper`] is the agent's only writer. It waits for nothing: [`Keeper::handle`] takes in what has come, reads what the kernel says
//! of the directories, does what is due, and says what is left to others (contents to fetch, a status to report, things to say).

mod foreign;
mod guard;
mod lists;
mod pace;
mod refused;
mod revisions;
mod revoked;
mod status;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd as _,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use portcullis_api::{FailureReason, Owner, RevisionMeta, SeccompNodeStatus, ServedSet};
use portcullis_profile::Digest;
use portcullis_runtime::Level;
use tracing::info;

use self::{foreign::Foreign, pace::Pace, refused::Refused};
use crate::{
    disk::{Base, Directory, Index, OpenError, Place, Store, Watches},
    error::{Error, Problem},
    metrics::Metrics,
    origin::Origin,
    settings::{Timing, jittered},
};

/// First and longest pause before what failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Between two rehashes while directories can't be watched.
const BLIND_REHASH: Duration = Duration::from_secs(10);

/// What comes in from outside.
#[derive(Debug)]
pub(crate) enum Work {
    /// A revision as the watch brought it.
    Applied(Box<Applied>),
    /// A revision that was deleted.
    Deleted {
        /// Whose it was.
        owner: Owner,
        /// Its content.
        digest: Digest,
    },
    /// A page of the list of every revision that there is.
    Page {
        /// What it names.
        revisions: Vec<RevisionMeta>,
        /// It begins a list.
        is_first: bool,
        /// It ends the list: what the list did not name is gone.
        is_last: bool,
    },
    /// A content that was asked for.
    Fetched {
        /// Its digest.
        digest: Digest,
        /// The bytes, or why they could not be read.
        content: Result<String, Problem>,
    },
}

/// A revision with its content.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Owner, digest and sequence.
    pub(crate) meta: RevisionMeta,
    /// The file's bytes.
    pub(crate) content: String,
    /// When the object was created, in whole seconds; none where it was only changed.
    pub(crate) created: Option<SystemTime>,
    /// When the watch brought it.
    pub(crate) received: Instant,
}

/// A content that the store lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    /// The revision object that holds it.
    pub(crate) revision: String,
    /// Its digest.
    pub(crate) digest: Digest,
}

/// Something to say: a log line and an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) level: Level,
    pub(crate) reason: &'static str,
    pub(crate) action: &'static str,
    pub(crate) message: String,
}

/// What a step leaves to others.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Contents to read from the API server.
    pub(crate) wanted: Vec<Wanted>,
    /// What to say, in order.
    pub(crate) notices: Vec<Notice>,
    /// The node's status, where it has changed.
    pub(crate) status: Option<SeccompNodeStatus>,
}

/// A path of Portcullis's own and what it is to serve.
#[derive(Clone, Copy, Debug)]
struct File {
    digest: Digest,
    /// The inode that was last seen intact; 0 for none.
    inode: u64,
    /// The index says that it is Portcullis's own.
    owned: bool,
    /// When it goes, because its revision is gone.
    leaving: Option<Instant>,
    /// The last list that named it.
    listed: u32,
}

/// Whether a keeper could begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It guards what is on disk.
    Guarding,
    /// Another agent has the directory.
    Locked,
}

/// The node's files.
#[derive(Debug)]
pub(crate) struct Keeper {
    base: Base,
    origin: Origin,
    timing: Timing,
    metrics: Metrics,
    watches: Watches,
    /// A directory could not be watched, so that only rehashes find what changed in it.
    blind: bool,
    directory: Option<Arc<Directory>>,
    /// Why there is none.
    unusable: Option<Problem>,
    store: Store,
    set: ServedSet,
    /// The first list has been taken in.
    synced: bool,
    /// A list has begun and not ended, so that the set is neither the earlier nor the later one.
    listing: bool,
    /// The number of the last list, and how many revisions it has named so far.
    list: u32,
    named: usize,
    /// Revoked revisions that the list has named so far.
    revoked: BTreeSet<(Owner, Digest)>,
    /// Revisions beyond what there is memory for.
    refused: Refused,
    files: BTreeMap<String, File>,
    failures: BTreeMap<String, Problem>,
    /// Paths whose content is on its way from the API server.
    awaited: BTreeSet<String>,
    requested: BTreeSet<Digest>,
    foreign: Foreign,
    pace: Pace,
    retry: Option<(Instant, Duration)>,
    rehash: Rehash,
    /// Contents may lie in the store that nothing names any more.
    litter: bool,
    reported: Option<SeccompNodeStatus>,
    outcome: Outcome,
}

/// Where the rehash stands.
#[derive(Debug)]
struct Rehash {
    next: Instant,
    /// The last path that was read, while a rehash goes on.
    after: Option<String>,
}

impl Keeper {
    /// A keeper that has not looked at the disk yet.
    pub(crate) fn new(
        base: Base,
        origin: Origin,
        timing: Timing,
        most: usize,
        metrics: Metrics,
        now: Instant,
    ) -> Result<Self, Error> {
        Ok(Self {
            base,
            origin,
            timing,
            metrics,
            watches: Watches::new()?,
            blind: false,
            directory: None,
            unusable: None,
            store: Store::default(),
            set: ServedSet::default(),
            synced: false,
            listing: false,
            list: 0,
            named: 0,
            revoked: BTreeSet::new(),
            refused: Refused::new(most),
            files: BTreeMap::new(),
            failures: BTreeMap::new(),
            awaited: BTreeSet::new(),
            requested: BTreeSet::new(),
            foreign: Foreign::default(),
            pace: Pace::default(),
            retry: None,
            rehash: Rehash { next: now + jittered(timing.rehash), after: None },
            litter: false,
            reported: None,
            outcome: Outcome::default(),
        })
    }

    /// What wakes the keeper besides work and time.
    pub(crate) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Takes the lock, and puts right whatever is not as the last agent left it. Needs no API server.
    pub(crate) fn start(&mut self, now: Instant) -> Result<Start, Error> {
        self.base.check()?;
        match self.open(now) {
            Err(OpenError::Locked) => return Ok(Start::Locked),
            Err(OpenError::Problem(problem)) => self.unusable(&problem, now),
            Ok(()) => {
                info!(
                    files = self.files.len(),
                    directory = self.base.shown(),
                    "guards the files that are on disk; what else there is to be is not known before the API server answers"
                );
            }
        }
        Ok(Start::Guarding)
    }

    /// Takes in work, then whatever the kernel has to say, then does what is due.
    ///
    /// What the status then says of a file has been made durable.
    pub(crate) fn handle(&mut self, work: Vec<Work>, now: Instant) -> Result<Outcome, Error> {
        self.base.check()?;
        let due = self.retry.is_none_or(|(at, _)| at <= now);
        if self.directory.as_ref().map_or(due, |directory| directory.is_stale(&self.base)) {
            self.reopen(now);
        }
        self.take(work, now);
        self.look(now)?;
        self.repair_postponed(now);
        self.expire(now);
        self.retry_failures(now);
        self.rehash(now);
        self.look_for_foreign(now);
        self.sync_store();
        self.clear_litter();
        self.count();
        self.outcome.status = self.changed_status();
        Ok(std::mem::take(&mut self.outcome))
    }

    /// When something is due even if nothing happens.
    pub(crate) fn due(&self) -> Instant {
        let leaving = self.files.values().filter_map(|file| file.leaving).min();
        let rehash = if self.rehash.after.is_some() { Instant::now() } else { self.rehash.next };
        // Something that leaves but can't be removed waits for the retry.
        let leaving = leaving.map(|at| self.retry.map_or(at, |(retry, _)| at.max(retry)));
        [leaving, self.pace.due(), self.retry.map(|(at, _)| at), self.foreign.due()]
            .into_iter()
            .flatten()
            .fold(rehash, Instant::min)
    }

    fn reopen(&mut self, now: Instant) {
        let was_open = self.directory.take().is_some();
        if was_open {
            self.say(
                Level::Warning,
                "DirectoryReplaced",
                "Repair",
                format!("{} or its store was removed or replaced; makes it anew", self.base.shown()),
            );
        }
        match self.open(now) {
            Ok(()) => {}
            Err(OpenError::Problem(problem)) => self.unusable(&problem, now),
            Err(OpenError::Locked) => {
                let problem = Problem::new(
                    FailureReason::Io,
                    format!("another agent works in {}; end one of the two", self.base.shown()),
                );
                self.unusable(&problem, now);
            }
        }
    }

    /// Opens the directory, learns what is in it, watches it and reads every file.
    fn open(&mut self, now: Instant) -> Result<(), OpenError> {
        self.watch(&Place::Base, None);
        // The lock of an earlier handle on the same directory would stand in the way.
        self.directory = None;
        let directory = Arc::new(Directory::open(&self.base)?);
        let failed =
            |error| OpenError::Problem(Problem::of_file("read the store of", &self.base.shown(), &error));
        self.store = Store::load(&directory).map_err(failed)?;
        let records = Index::load(&directory).map_err(failed)?;
        // Where the index was removed but this agent knows better.
        for (path, file) in
            self.files.iter().filter(|(path, file)| file.owned && !records.contains_key(*path))
        {
            Index::record(&directory, path, &file.digest).map_err(failed)?;
        }
        for (path, digest) in records {
            let leaving = self.synced.then(|| now + self.timing.grace);
            let file =
                self.files.entry(path).or_insert(File { digest, inode: 0, owned: true, leaving, listed: 0 });
            file.owned = true;
        }
        self.directory = Some(directory);
        self.unusable = None;
        self.watch_all();
        self.check_all(now);
        self.foreign.look_soon(now);
        self.look_for_foreign(now);
        Ok(())
    }

    /// Every namespace that has a file.
    fn namespaces(&self) -> BTreeSet<String> {
        self.files.keys().filter_map(|path| crate::path::split(path).0).map(str::to_owned).collect()
    }

    /// Watches every directory there is.
    fn watch_all(&mut self) {
        self.watch(&Place::Base, None);
        let Some(directory) = self.directory.clone() else { return };
        self.watch(&Place::Root, Some(&directory));
        for namespace in self.namespaces() {
            self.watch(&Place::Namespace(namespace), Some(&directory));
        }
    }

    fn watch(&mut self, place: &Place, directory: Option<&Directory>) {
        let watched = match (place, directory) {
            (Place::Root, Some(directory)) => self.watches.watch(place, directory.root()),
            (Place::Namespace(namespace), Some(directory)) => {
                match directory.existing(Some(namespace)) {
                    Ok(Some(opened)) => self.watches.watch(place, opened.as_fd()),
                    // Made, or put right, with its first file.
                    Ok(None) | Err(_) => return,
                }
            }
            _ => self.watches.watch(place, self.base.as_fd()),
        };
        if let Err(error) = watched {
            self.cannot_watch(&error);
        }
    }

    fn cannot_watch(&mut self, error: &std::io::Error) {
        if !self.blind {
            let problem = format!(
                "can't watch {}: {error}; raise fs.inotify.max_user_watches on the node; until then files are read every {} s",
                self.base.shown(),
                BLIND_REHASH.as_secs()
            );
            self.say(Level::Error, "GuardImpaired", "Watch", problem);
        }
        self.blind = true;
        self.rehash.next = self.rehash.next.min(Instant::now() + BLIND_REHASH);
    }

    /// Nothing can be written at all: every file fails for the same reason.
    fn unusable(&mut self, problem: &Problem, now: Instant) {
        if self.unusable.as_ref() != Some(problem) {
            self.say(Level::Error, "DirectoryUnusable", "Open", problem.message.clone());
            self.unusable = Some(problem.clone());
        }
        self.write_touched(self.files.keys().cloned().collect(), now);
        self.schedule_retry(now);
    }

    /// Why there is no directory to write in.
    fn why_closed(&self) -> Problem {
        self.unusable.clone().unwrap_or_else(|| {
            Problem::new(FailureReason::Io, format!("{} is not open yet", self.base.shown()))
        })
    }

    fn schedule_retry(&mut self, now: Instant) {
        if self.retry.is_none() {
            self.retry = Some((now + jittered(RETRY.0), RETRY.0));
        }
    }

    /// What failed for a reason that can go away is tried again.
    fn retry_failures(&mut self, now: Instant) {
        let Some((at, delay)) = self.retry else { return };
        if at > now {
            return;
        }
        if self.probe().is_err() {
            // Nothing fits or may be written: asking the API server for contents would be in vain.
            let delay = (delay * 2).min(RETRY.1);
            self.retry = Some((now + jittered(delay), delay));
            return;
        }
        let before = self.failures.len();
        let paths: BTreeSet<_> = self
            .failures
            .iter()
            .filter(|(_, problem)| problem.reason != FailureReason::DigestMismatch)
            .map(|(path, _)| path.clone())
            .collect();
        let pending = !paths.is_empty()
            || self.directory.is_none()
            || self.files.values().any(|file| file.leaving.is_some_and(|at| at <= now));
        self.write_touched(paths, now);
        let delay = if self.failures.len() < before { RETRY.0 } else { (delay * 2).min(RETRY.1) };
        self.retry = pending.then(|| (now + jittered(delay), delay));
    }

    fn clear_litter(&mut self) {
        // While something fails, an older content may still be what is on disk.
        if !self.litter || !self.failures.is_empty() || !self.awaited.is_empty() {
            return;
        }
        let Some(directory) = self.directory.clone() else { return };
        let wanted: BTreeSet<_> = self.files.values().map(|file| file.digest).collect();
        self.store.keep(&directory, |digest| wanted.contains(digest));
        self.litter = false;
    }

    fn count(&self) {
        let bounded = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let failing = self.failures.len();
        self.metrics.failing.set(bounded(failing + self.refused.len()));
        self.metrics.served.set(bounded(self.files.len().saturating_sub(failing)));
        self.metrics.foreign.set(i64::from(self.foreign.count()));
        self.metrics.store_bytes.set(i64::try_from(self.store.bytes()).unwrap_or(i64::MAX));
    }

    fn say(&mut self, level: Level, reason: &'static str, action: &'static str, message: String) {
        self.outcome.notices.push(Notice { level, reason, action, message });
    }
}
