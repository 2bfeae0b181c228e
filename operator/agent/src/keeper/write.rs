//! Puts files where they belong, many at once: all are written and synced before the first one becomes visible, and each directory
//! is synced once.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::AsFd as _,
    sync::Arc,
    time::Instant,
};

use portcullis_api::FailureReason;
use portcullis_profile::Digest;
use portcullis_runtime::Level;
use rustix::{fs, io::Errno};
use tracing::info;

use super::{Keeper, Wanted};
use crate::{
    disk::{Cause, Condition, Directory, Index, Namespace, Place, Staged, examine, remove, sync_all},
    error::Problem,
    path::{owner_of, split},
};

/// Files that are written before their first rename: each holds a descriptor.
pub(super) const BATCH: usize = 64;
/// Bytes that must fit on the disk before contents are read again for files that failed.
const PROBE: usize = 16 * 1024;

/// Handles on the directories of one batch.
type Parents = BTreeMap<Option<String>, Namespace>;
/// The content that was read last: a profile's two paths usually share one.
type Recent = Option<(Digest, Vec<u8>)>;

/// A file to write.
#[derive(Debug)]
pub(super) struct Target {
    path: String,
    /// What was wrong with it, if it is not a revision that says so.
    cause: Option<Cause>,
}

/// What became of a target before its rename.
enum Step<'a> {
    Staged(Staged<'a>),
    AlreadyThere { inode: u64 },
    Awaited,
}

impl Keeper {
    /// Writes what is to be served at these paths.
    pub(super) fn write_touched(&mut self, paths: BTreeSet<String>, now: Instant) {
        self.write(paths.into_iter().map(|path| Target { path, cause: None }).collect(), now);
    }

    /// Writes what differs from what is to be served.
    pub(super) fn write_drifted(&mut self, drifted: Vec<(String, Cause)>, now: Instant) {
        self.write(
            drifted.into_iter().map(|(path, cause)| Target { path, cause: Some(cause) }).collect(),
            now,
        );
    }

    fn write(&mut self, targets: Vec<Target>, now: Instant) {
        let Some(directory) = self.directory.clone() else {
            let problem = self.why_closed();
            for Target { path, .. } in targets {
                if self.failures.get(&path) != Some(&problem) {
                    self.fail(&path, problem.clone());
                }
            }
            self.schedule_retry(now);
            return;
        };
        let mut targets = targets.into_iter();
        loop {
            let batch: Vec<_> = targets.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            self.write_batch(&directory, batch);
        }
        if !self.failures.is_empty() {
            self.schedule_retry(now);
        }
    }

    fn write_batch(&mut self, directory: &Arc<Directory>, batch: Vec<Target>) {
        let mut parents = Parents::new();
        let mut recent = None;
        let mut staged = Vec::with_capacity(batch.len());
        for target in batch {
            match self.stage(directory, &mut parents, &mut recent, &target) {
                Ok(Step::Staged(file)) => staged.push((target, file)),
                Ok(Step::AlreadyThere { inode }) => self.settle(&target.path, inode),
                // What has failed already stays so until it is there: one content that can't be read holds no report up twice.
                Ok(Step::Awaited) if self.failures.contains_key(&target.path) => {}
                Ok(Step::Awaited) => {
                    self.awaited.insert(target.path);
                }
                Err(problem) => self.fail(&target.path, problem),
            }
        }
        let durable = self.sync(directory, staged);
        let recorded: BTreeMap<_, _> = durable
            .iter()
            .map(|(target, _)| split(&target.path).0.map(str::to_owned))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|namespace| {
                let synced = Index::sync(directory, namespace.as_deref());
                (namespace, synced)
            })
            .collect();
        let published: Vec<_> = durable
            .into_iter()
            .filter_map(|(target, file)| {
                let (namespace, leaf) = split(&target.path);
                let namespace = namespace.map(str::to_owned);
                if let Some(Err(error)) = recorded.get(&namespace) {
                    self.fail_writing(directory, &target.path, error);
                    return None;
                }
                // Every parent was opened when the file was staged.
                let parent = parents.get(&namespace)?;
                match file.publish(parent.as_fd(), leaf) {
                    Ok(inode) => Some((target, inode)),
                    Err(error) => {
                        self.fail_writing(directory, &target.path, &error);
                        None
                    }
                }
            })
            .collect();
        let synced: BTreeMap<_, _> = parents
            .into_iter()
            .map(|(namespace, parent)| (namespace, fs::fsync(parent.as_fd()).map_err(io::Error::from)))
            .collect();
        for (target, inode) in published {
            let namespace = split(&target.path).0.map(str::to_owned);
            match synced.get(&namespace) {
                Some(Err(error)) => self.fail_writing(directory, &target.path, error),
                _ => self.written(directory, &target, inode),
            }
        }
    }

    /// Makes files durable, together with the contents that were put into the store, and gives those back that are.
    fn sync<'a>(
        &mut self,
        directory: &Directory,
        staged: Vec<(Target, Staged<'a>)>,
    ) -> Vec<(Target, Staged<'a>)> {
        let contents = self.store.take_unsynced();
        let files: Vec<_> =
            contents.iter().map(|(_, file)| file).chain(staged.iter().map(|(_, file)| file.file())).collect();
        let mut results = sync_all(&files).into_iter();
        for ((digest, _), result) in contents.iter().zip(&mut results) {
            self.store.synced(digest, &result);
        }
        let mut durable = Vec::with_capacity(staged.len());
        for ((target, file), result) in staged.into_iter().zip(results) {
            match result {
                Ok(()) => durable.push((target, file)),
                Err(error) => self.fail_writing(directory, &target.path, &error),
            }
        }
        durable
    }

    /// Makes durable what is in the store and was not written to be served at once.
    pub(super) fn sync_store(&mut self) {
        if let Some(directory) = self.directory.clone() {
            self.sync(&directory, Vec::new());
        }
    }

    /// Everything that comes before a file's rename.
    fn stage<'a>(
        &mut self,
        directory: &'a Directory,
        parents: &mut Parents,
        recent: &mut Recent,
        target: &Target,
    ) -> Result<Step<'a>, Problem> {
        let path = target.path.as_str();
        let failed =
            |operation: &str, error: &io::Error| Problem::of_file(operation, &directory.show(path), error);
        let Some(file) = self.files.get(path).copied() else { return Ok(Step::Awaited) };
        let (namespace, leaf) = split(path);
        let key = namespace.map(str::to_owned);
        if !parents.contains_key(&key) {
            let opened = self.parent(directory, namespace)?;
            parents.insert(key.clone(), opened);
        }
        let parent = &parents[&key];
        if target.cause.is_none() {
            match examine(parent.as_fd(), leaf, &file.digest).map_err(|e| failed("read", &e))? {
                Condition::Intact { inode } => {
                    self.own(directory, path, file.digest).map_err(|e| failed("record", &e))?;
                    return Ok(Step::AlreadyThere { inode });
                }
                Condition::Drifted(Cause::Missing) => {}
                Condition::Drifted(_) if file.owned => {}
                Condition::Drifted(_) => return Err(in_the_way(directory, path)),
            }
        }
        let Some(content) = self.content(directory, path, &file.digest, recent)? else {
            return Ok(Step::Awaited);
        };
        self.own(directory, path, file.digest).map_err(|e| failed("record", &e))?;
        let staged = Staged::write(directory, content).map_err(|e| failed("write", &e))?;
        Ok(Step::Staged(staged))
    }

    /// The directory of a namespace, made and watched. What stands in its place is moved aside where the place is Portcullis's own.
    pub(super) fn parent(
        &mut self,
        directory: &Directory,
        namespace: Option<&str>,
    ) -> Result<Namespace, Problem> {
        let failed = |error: &io::Error| {
            Problem::of_file(
                "open or make the directory",
                &directory.show(namespace.unwrap_or_default()),
                error,
            )
        };
        let opened = match (directory.namespace(namespace), namespace) {
            (Ok(opened), _) => opened,
            (Err(error), Some(namespace))
                if matches!(Errno::from_io_error(&error), Some(Errno::LOOP | Errno::NOTDIR))
                    && self.owns_in(namespace) =>
            {
                let place = directory.set_aside(directory.root(), namespace).map_err(|e| failed(&e))?;
                let shown = directory.show(namespace);
                let message = match place {
                    Some(place) => format!("moved what stood in place of the directory {shown} to {place}"),
                    None => format!("removed what stood in place of the directory {shown}"),
                };
                self.say(Level::Warning, "DirectoryRepaired", "Repair", message);
                directory.namespace(Some(namespace)).map_err(|e| failed(&e))?
            }
            (Err(error), _) => return Err(failed(&error)),
        };
        if let Some(namespace) = namespace {
            if let Err(error) = self.watches.watch(&Place::Namespace(namespace.to_owned()), opened.as_fd()) {
                self.cannot_watch(&error);
            }
            if opened.repaired == Some("mode") {
                let message = format!("put right the mode of the directory {}", directory.show(namespace));
                self.say(Level::Warning, "DirectoryRepaired", "Repair", message);
            }
        }
        Ok(opened)
    }

    /// Whether any file in a namespace's directory is Portcullis's own.
    fn owns_in(&self, namespace: &str) -> bool {
        self.in_namespace(namespace).any(|(_, file)| file.owned)
    }

    fn own(&mut self, directory: &Directory, path: &str, digest: Digest) -> io::Result<()> {
        Index::record(directory, path, &digest)?;
        if let Some(file) = self.files.get_mut(path) {
            file.owned = true;
        }
        Ok(())
    }

    /// A content from the store, or from a served file that has it, or asked for from the API server.
    fn content<'r>(
        &mut self,
        directory: &Directory,
        path: &str,
        digest: &Digest,
        recent: &'r mut Recent,
    ) -> Result<Option<&'r [u8]>, Problem> {
        if recent.as_ref().is_none_or(|(known, _)| known != digest) {
            let failed =
                |error: io::Error| Problem::of_file("read the content of", &directory.show(path), &error);
            let mut content = self.store.read(directory, digest).map_err(failed)?;
            if content.is_none() {
                content = self.rescue(directory, digest);
            }
            *recent = content.map(|content| (*digest, content));
        }
        if recent.is_none() {
            self.request(path, *digest);
        }
        Ok(recent.as_ref().map(|(_, content)| content.as_slice()))
    }

    /// Gives the store back a content that it lost, from a served file that still has it.
    pub(super) fn rescue(&mut self, directory: &Directory, digest: &Digest) -> Option<Vec<u8>> {
        let paths: Vec<_> = self
            .files
            .iter()
            .filter(|(_, file)| file.digest == *digest && file.inode != 0)
            .map(|(path, _)| path.clone())
            .collect();
        for path in paths {
            let (namespace, leaf) = split(&path);
            let Ok(Some(parent)) = directory.existing(namespace) else { continue };
            let Ok(Some(content)) = crate::disk::read(parent.as_fd(), leaf) else { continue };
            if Digest::of(&content) == *digest {
                match self.store.write(directory, digest, &content) {
                    Ok(()) => self.repaired(directory, &path, Cause::Store),
                    Err(error) => info!(path, %error, "can't give the store its content back yet"),
                }
                return Some(content);
            }
        }
        None
    }

    fn request(&mut self, path: &str, digest: Digest) {
        // Every path in `files` has an owner: it comes from one, or passed `owner_of` when the index was read.
        let Some(owner) = owner_of(path) else { return };
        if self.requested.insert(digest) {
            self.outcome.wanted.push(Wanted { revision: owner.revision_name(&digest), digest });
        }
    }

    /// Whether the disk takes anything at all.
    pub(super) fn probe(&self) -> io::Result<()> {
        match &self.directory {
            Some(directory) => Ok(fs::fsync(Staged::write(directory, &[0; PROBE])?.file())?),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn written(&mut self, directory: &Directory, target: &Target, inode: u64) {
        let path = target.path.as_str();
        match target.cause {
            None => {
                self.metrics.written.inc();
                let digest = self.files.get(path).map(|file| file.digest.to_string());
                info!(path, digest, "wrote");
            }
            Some(cause) => self.repaired(directory, path, cause),
        }
        self.settle(path, inode);
    }

    fn repaired(&mut self, directory: &Directory, path: &str, cause: Cause) {
        self.metrics.repaired(cause);
        let message = format!("restored {}: {}", directory.show(path), cause.in_words());
        self.say(Level::Warning, "FileRepaired", "Repair", message);
    }

    /// A path is as it should be.
    pub(super) fn settle(&mut self, path: &str, inode: u64) {
        if let Some(file) = self.files.get_mut(path) {
            file.inode = inode;
        }
        self.awaited.remove(path);
        if self.failures.remove(path).is_some() {
            let message = format!("{}/{path} is as it should be again", self.base.shown());
            self.say(Level::Info, "FileHealed", "Write", message);
        }
    }

    fn fail_writing(&mut self, directory: &Directory, path: &str, error: &io::Error) {
        self.fail(path, Problem::of_file("write", &directory.show(path), error));
    }

    /// A path is not as it should be. Said once for each reason.
    pub(super) fn fail(&mut self, path: &str, problem: Problem) {
        self.metrics.failed(problem.reason);
        self.awaited.remove(path);
        let known = self.failures.get(path).map(|known| known.reason);
        if known != Some(problem.reason) {
            let whose = owner_of(path).map_or_else(|| path.to_owned(), |owner| owner.to_string());
            let message = format!("{whose}: {}", problem.message);
            self.say(Level::Error, "FileFailed", "Write", message);
        }
        self.failures.insert(path.to_owned(), problem);
    }

    /// Removes a file whose revision is gone, and forgets the path.
    pub(super) fn remove(&mut self, directory: &Directory, path: &str) -> Result<(), Problem> {
        let Some(file) = self.files.get(path).copied() else { return Ok(()) };
        if file.owned {
            let failed = |error: io::Error| Problem::of_file("remove", &directory.show(path), &error);
            let (namespace, leaf) = split(path);
            // A directory that is gone, or replaced by something else, holds nothing of Portcullis's.
            if let Ok(Some(parent)) = directory.existing(namespace) {
                remove(parent.as_fd(), leaf).map_err(failed)?;
                fs::fsync(parent.as_fd()).map_err(|errno| failed(errno.into()))?;
            }
            Index::forget(directory, path).map_err(failed)?;
            self.metrics.removed.inc();
            info!(path, "removed");
        }
        self.files.remove(path);
        self.failures.remove(path);
        self.awaited.remove(path);
        self.litter = true;
        if let Some(namespace) = split(path).0
            && self.in_namespace(namespace).next().is_none()
            && directory.drop_namespace(namespace)
        {
            self.watches.forget(&Place::Namespace(namespace.to_owned()));
        }
        Ok(())
    }
}

fn in_the_way(directory: &Directory, path: &str) -> Problem {
    let shown = directory.show(path);
    Problem::new(
        FailureReason::Foreign,
        format!(
            "something that Portcullis did not write stands at {shown}: move it away, or rename the profile"
        ),
    )
}
