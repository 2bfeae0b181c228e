//! Files in the directory that Portcullis did not write: named, counted and left alone.

use std::{
    collections::BTreeSet,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use portcullis_api::MAX_FOREIGN_FILES;
use tracing::{error, warn};

use super::Keeper;
use crate::{disk::names, path::join};

/// At most so often is the directory listed while somebody works in it.
const PAUSE: Duration = Duration::from_secs(1);

/// What was found last.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    count: u32,
    /// The first of them by name.
    names: BTreeSet<String>,
    looked: Option<Instant>,
    due: Option<Instant>,
}

impl Foreign {
    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The first by name, at most as many as a status holds.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.names.iter()
    }

    /// When the directory is to be listed again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something may have changed.
    pub(crate) fn look_soon(&mut self, now: Instant) {
        let earliest = self.looked.map_or(now, |looked| now.max(looked + PAUSE));
        self.due.get_or_insert(earliest);
    }

    fn add(&mut self, name: String) {
        self.count = self.count.saturating_add(1);
        self.names.insert(name);
        if self.names.len() > MAX_FOREIGN_FILES {
            self.names.pop_last();
        }
    }
}

impl Keeper {
    /// Lists the directory and those of the namespaces that have profiles, if that is due. A directory that holds no profile counts as
    /// one file.
    pub(super) fn look_for_foreign(&mut self, now: Instant) {
        if self.foreign.due.is_none_or(|due| due > now) {
            return;
        }
        let Some(directory) = self.directory.clone() else {
            // Opening it looks anew.
            self.foreign.due = None;
            return;
        };
        let mut found = Foreign { looked: Some(now), ..Foreign::default() };
        let namespaces = self.namespaces();
        for namespace in std::iter::once(None).chain(namespaces.iter().map(|name| Some(name.as_str()))) {
            let entries = match directory.existing(namespace) {
                Ok(Some(parent)) => names(parent.as_fd()),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match entries {
                Ok(entries) => entries
                    .into_iter()
                    .filter_map(|entry| {
                        let name = String::from_utf8_lossy(&entry.name).into_owned();
                        let own_directory = namespace.is_none()
                            && entry.is_directory
                            && (name == ".store" || namespaces.contains(&name));
                        let path = join(namespace, &name);
                        let own = own_directory
                            || (!entry.is_directory && self.files.get(&path).is_some_and(|file| file.owned));
                        (!own).then(|| if entry.is_directory { format!("{path}/") } else { path })
                    })
                    .for_each(|path| found.add(path)),
                Err(error) => error!(namespace, %error, "can't list a directory"),
            }
        }
        for path in found.names.difference(&self.foreign.names) {
            warn!(path, "found a file that Portcullis did not write; it is left alone");
        }
        self.foreign = found;
    }
}
