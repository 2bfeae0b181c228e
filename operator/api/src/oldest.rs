//! Which of a namespace's objects are within a bound on their number: the oldest, so that what is in force stays so.
//!
//! Whoever keeps this order over the same objects comes to the same answer, without having to ask another.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};

/// When an object was made, in whole seconds as the API server keeps it.
#[must_use]
pub fn created_at(metadata: &ObjectMeta) -> Timestamp {
    // What the API server has no time of is as new as can be.
    metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0)
}

/// The objects of each namespace, the oldest first: by the second of their creation, then by name.
#[derive(Clone, Debug)]
pub struct OldestFirst<K> {
    namespaces: HashMap<String, BTreeSet<(Timestamp, K)>>,
}

impl<K> Default for OldestFirst<K> {
    fn default() -> Self {
        Self { namespaces: HashMap::new() }
    }
}

impl<K: Clone + Ord> OldestFirst<K> {
    /// Takes an object in.
    pub fn insert(&mut self, namespace: &str, created: Timestamp, object: K) {
        self.namespaces.entry(namespace.to_owned()).or_default().insert((created, object));
    }

    /// Takes an object out.
    pub fn remove(&mut self, namespace: &str, created: Timestamp, object: &K) {
        if let Some(objects) = self.namespaces.get_mut(namespace) {
            objects.remove(&(created, object.clone()));
            if objects.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// How many a namespace has.
    #[must_use]
    pub fn count(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).map_or(0, BTreeSet::len)
    }

    /// Whether an object is among the oldest so many of its namespace. One that was not taken in is judged as if it were there.
    #[must_use]
    pub fn is_within(&self, namespace: &str, created: Timestamp, object: &K, limit: usize) -> bool {
        let Some(objects) = self.namespaces.get(namespace) else { return limit > 0 };
        // Which one it is matters only where there are too many.
        if objects.len() < limit {
            return true;
        }
        let Some(last) = limit.checked_sub(1).and_then(|last| objects.iter().nth(last)) else { return false };
        (created, object) <= (last.0, &last.1)
    }

    /// The newest object within a bound and the oldest beyond it: those that change sides when an older one comes or goes.
    pub fn at_edge(&self, namespace: &str, limit: usize) -> impl Iterator<Item = &K> {
        let objects = self.namespaces.get(namespace).into_iter().flatten();
        objects.skip(limit.saturating_sub(1)).take(2).map(|(_, object)| object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_oldest_are_within_whatever_the_order_in_which_they_are_seen() {
        let all = [("old", 1), ("b", 5), ("a", 5), ("c", 5), ("new", 9)];
        for turn in 0..all.len() {
            let mut seen = all;
            seen.rotate_left(turn);
            let mut order = OldestFirst::default();
            for (name, created) in seen {
                order.insert("shop", at(created), name);
            }
            let within = |order: &OldestFirst<&str>| -> Vec<&str> {
                let within =
                    all.iter().filter(|(name, at_second)| order.is_within("shop", at(*at_second), name, 3));
                within.map(|(name, _)| *name).collect()
            };
            assert_eq!(within(&order), ["old", "b", "a"]);
            assert_eq!(order.at_edge("shop", 3).collect::<Vec<_>>(), [&"b", &"c"]);
            order.remove("shop", at(1), &"old");
            assert_eq!(order.count("shop"), 4);
            assert_eq!(within(&order), ["old", "b", "a", "c"], "c takes the place of the one that went");
            assert!(order.is_within("other", at(9), &"new", 1));
            assert!(!order.is_within("shop", at(9), &"new", 3));
        }
    }
}
