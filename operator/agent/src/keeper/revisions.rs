//! What revisions say, turned into paths and what they are to serve.

use std::{
    collections::BTreeSet,
    time::{Instant, SystemTime},
};

use portcullis_api::{FailureReason, RevisionMeta, Served};
use portcullis_profile::Digest;
use portcullis_runtime::Level;

use super::{Applied, File, Keeper, Work, refused::Room};
use crate::{error::Problem, path::owner_of};

/// A revision whose files are being written, for the histograms.
struct Timed {
    paths: Vec<String>,
    created: Option<SystemTime>,
    received: Instant,
}

impl Keeper {
    /// Takes work in, in its order, and writes what it changes.
    pub(super) fn take(&mut self, work: Vec<Work>, now: Instant) {
        let mut touched = BTreeSet::new();
        let mut timed = Vec::new();
        for item in work {
            match item {
                Work::Applied(applied) => timed.push(self.apply(*applied, &mut touched, now)),
                Work::Deleted { owner, digest } => {
                    self.refused.remove(&owner, &digest);
                    let change = self.set.remove(&owner, &digest);
                    for path in change.remove {
                        self.leave(&path, now);
                    }
                    self.want_all(change.write, &mut touched);
                }
                Work::Page { revisions, is_first, is_last } => {
                    self.page(revisions, (is_first, is_last), &mut touched, now);
                }
                Work::Fetched { digest, content } => self.fetched(digest, content, &mut touched, now),
            }
        }
        self.take_up_refused(&mut touched);
        if !touched.is_empty() {
            let stays = |file: &File| file.leaving.is_none_or(|at| at > now);
            touched.retain(|path| self.files.get(path).is_some_and(stays));
            self.write_touched(touched, now);
        }
        self.observe(&timed);
    }

    fn apply(&mut self, applied: Applied, touched: &mut BTreeSet<String>, now: Instant) -> Timed {
        let Applied { meta, content, created, received } = applied;
        if meta.revoked.is_some() {
            self.revoke(&meta, touched, now);
            return Timed { paths: Vec::new(), created, received };
        }
        match self.admit(&meta) {
            Room::Taken => {}
            room => {
                if room == Room::Named {
                    self.set.apply(&meta);
                }
                return Timed { paths: Vec::new(), created, received };
            }
        }
        let change = self.set.apply(&meta);
        let mut paths: Vec<_> = change.write.iter().map(|served| served.path.clone()).collect();
        for path in change.remove {
            self.leave(&path, now);
        }
        self.want_all(change.write, touched);
        // Those that wait for this very content, because a list named it first.
        paths.extend(self.lacking(&meta.digest));
        if !paths.is_empty() {
            self.take_content(meta.digest, &content, &paths, touched, now);
        }
        Timed { paths, created, received }
    }

    /// Puts a content into the store. Where it can't be, the paths that need it fail and are not touched.
    fn take_content(
        &mut self,
        digest: Digest,
        content: &str,
        paths: &[String],
        touched: &mut BTreeSet<String>,
        now: Instant,
    ) {
        if !self.store.contains(&digest)
            && let Err(problem) = self.put(&digest, content, paths.first().map_or("", String::as_str))
        {
            for path in paths {
                if self.serves(path, &digest) {
                    touched.remove(path);
                    self.fail(path, problem.clone());
                }
            }
            self.schedule_retry(now);
            return;
        }
        touched.extend(paths.iter().filter(|path| self.serves(path, &digest)).cloned());
    }

    fn serves(&self, path: &str, digest: &Digest) -> bool {
        self.files.get(path).is_some_and(|file| file.digest == *digest)
    }

    fn put(&mut self, digest: &Digest, content: &str, path: &str) -> Result<(), Problem> {
        let found = Digest::of(content.as_bytes());
        if found != *digest {
            return Err(Problem::new(
                FailureReason::DigestMismatch,
                format!("refused a content whose digest is {found} and not {digest}, as its revision says"),
            ));
        }
        let Some(directory) = self.directory.clone() else { return Err(self.why_closed()) };
        self.store
            .write(&directory, digest, content.as_bytes())
            .map_err(|error| Problem::of_file("store the content of", &directory.show(path), &error))
    }

    fn fetched(
        &mut self,
        digest: Digest,
        content: Result<String, Problem>,
        touched: &mut BTreeSet<String>,
        now: Instant,
    ) {
        self.requested.remove(&digest);
        let paths = self.lacking(&digest);
        match content {
            // Deleted, or revoked, since it was asked for.
            Ok(_) if paths.is_empty() => {}
            Ok(content) => self.take_content(digest, &content, &paths, touched, now),
            Err(problem) => {
                for path in paths {
                    self.fail(&path, problem.clone());
                }
                self.schedule_retry(now);
            }
        }
    }

    /// The paths of a content that are not as they should be.
    fn lacking(&self, digest: &Digest) -> Vec<String> {
        self.awaited
            .iter()
            .chain(self.failures.keys())
            .filter(|path| self.serves(path, digest))
            .cloned()
            .collect()
    }

    /// Whether there is room for a revision; says so where there is none.
    pub(super) fn admit(&mut self, meta: &RevisionMeta) -> Room {
        let RevisionMeta { owner, digest, .. } = meta;
        let is_known = self.set.contains(owner, digest);
        let before = self.refused.len();
        let room = self.refused.room(owner, digest, self.set.len(), is_known);
        if self.refused.len() > before {
            self.metrics.failed(FailureReason::TooMany);
            if before == 0 {
                let message = self.refused.message();
                self.say(Level::Error, "TooMany", "Write", message);
            }
        }
        room
    }

    /// Takes up what was refused, as far as there is room by now.
    fn take_up_refused(&mut self, touched: &mut BTreeSet<String>) {
        for (owner, digest) in self.refused.all() {
            if !self.refused.has_room(self.set.len()) {
                return;
            }
            self.refused.remove(&owner, &digest);
            let mut served = vec![Served { path: owner.revision_path(&digest), digest }];
            let current = self.set.current(&owner);
            served.extend(current.map(|digest| Served { path: owner.current_path(), digest }));
            self.want_all(served, touched);
        }
    }

    pub(super) fn want_all(&mut self, served: Vec<Served>, touched: &mut BTreeSet<String>) {
        for Served { path, digest } in served {
            // A path whose newest revision there is no room for goes on serving what it does.
            if self.refused.len() > 0
                && owner_of(&path).is_some_and(|owner| self.refused.contains(&owner, &digest))
            {
                continue;
            }
            let fresh = File { digest, inode: 0, owned: false, leaving: None, listed: 0 };
            let file = self.files.entry(path.clone()).or_insert(fresh);
            file.leaving = None;
            let changed = file.digest != digest;
            if changed || file.inode == 0 {
                file.digest = digest;
                file.inode = 0;
                self.litter |= changed;
                touched.insert(path);
            }
        }
    }

    pub(super) fn leave(&mut self, path: &str, at: Instant) {
        if let Some(file) = self.files.get_mut(path) {
            file.leaving = Some(at);
        }
    }

    /// Removes what is to go by now.
    pub(super) fn expire(&mut self, now: Instant) {
        // While a removal that failed waits to be tried again, only those go that were deleted just now.
        let waits = self.retry.is_some_and(|(at, _)| at > now);
        let gone: Vec<_> = self
            .files
            .iter()
            .filter(|(_, file)| file.leaving.is_some_and(|at| if waits { at == now } else { at <= now }))
            .map(|(path, _)| path.clone())
            .collect();
        if gone.is_empty() {
            return;
        }
        let Some(directory) = self.directory.clone() else {
            self.schedule_retry(now);
            return;
        };
        for path in gone {
            if let Err(problem) = self.remove(&directory, &path) {
                self.metrics.failed(problem.reason);
                tracing::error!(path, "{}", problem.message);
                self.schedule_retry(now);
            }
        }
    }

    fn observe(&self, timed: &[Timed]) {
        for Timed { paths, created, received } in timed {
            let done = |path: &String| {
                self.files.get(path).is_some_and(|file| file.inode != 0) && !self.failures.contains_key(path)
            };
            if paths.is_empty() || !paths.iter().all(done) {
                continue;
            }
            self.metrics.event_to_file.observe(received.elapsed().as_secs_f64());
            // A node's clock that is behind the API server's gives no time below zero.
            if let Some(created) = created {
                let took = SystemTime::now().duration_since(*created).unwrap_or_default();
                self.metrics.creation_to_file.observe(took.as_secs_f64());
            }
        }
    }
}
