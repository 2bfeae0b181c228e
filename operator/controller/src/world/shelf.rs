//! How many bytes of documents are kept in memory: what has no room is read again when its turn comes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portcullis_api::Owner;

use crate::{queue::Keyed as _, resolve::Source};

/// All of them together: the documents of a thousand profiles of 13 KB.
const ROOM: usize = 16 * 1024 * 1024;
/// Those of one namespace, so that the flood of one costs the others no further requests.
const SHARE: usize = ROOM / 4;

/// The documents that are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_tenant: HashMap<String, usize>,
}

/// A source in memory. Its room is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) source: Arc<Source>,
    tenant: String,
    shelf: Shelf,
}

impl Shelf {
    /// Keeps a source where there is room for its document.
    pub(super) fn keep(&self, owner: &Owner, source: Arc<Source>) -> Option<Kept> {
        let bytes = source.bytes();
        let mut taken = self.lock();
        let of_tenant = taken.by_tenant.get(owner.tenant()).copied().unwrap_or(0);
        if taken.total + bytes > ROOM || of_tenant + bytes > SHARE {
            return None;
        }
        taken.total += bytes;
        taken.by_tenant.insert(owner.tenant().to_owned(), of_tenant + bytes);
        drop(taken);
        Some(Kept { source, tenant: owner.tenant().to_owned(), shelf: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let bytes = self.source.bytes();
        let mut taken = self.shelf.lock();
        taken.total -= bytes;
        if let Some(of_tenant) = taken.by_tenant.get_mut(&self.tenant) {
            *of_tenant -= bytes;
            if *of_tenant == 0 {
                taken.by_tenant.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::Document;

    fn source(bytes: usize) -> Arc<Source> {
        let document = Some(Document::of_bytes(bytes));
        Arc::new(Source { document, bases: vec![] })
    }

    fn owner(namespace: &str) -> Owner {
        Owner::namespaced(namespace, "web").unwrap()
    }

    #[test]
    fn one_namespace_fills_its_share_and_all_together_the_room() {
        let shelf = Shelf::default();
        let fill = |namespace: &str| {
            let all = (0..1_000).map_while(|_| shelf.keep(&owner(namespace), source(512 * 1024)));
            all.collect::<Vec<_>>()
        };
        let kept: Vec<Vec<Kept>> = ["a", "b", "c", "d", "e"].map(fill).into();
        assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 8, 8, 0]);
        assert_eq!(shelf.lock().total, ROOM);
        drop(kept);
        assert_eq!(shelf.lock().total, 0);
        assert!(shelf.lock().by_tenant.is_empty());
        assert!(shelf.keep(&owner("e"), source(SHARE)).is_some());
        assert!(shelf.keep(&owner("e"), source(SHARE + 1)).is_none());
    }
}
