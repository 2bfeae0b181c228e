//! Which recordings of a namespace are recorded: the oldest, as many as the controller looks at. Both come to the same by themselves.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{OldestFirst, SeccompRecording, created_at};

use crate::session::Key;

/// The recordings that there are, those beyond the bound as well: the next of them takes the place of one that goes.
#[derive(Debug)]
pub(crate) struct Bound {
    limit: usize,
    order: OldestFirst<Key>,
    known: BTreeMap<Key, Known>,
}

#[derive(Debug)]
struct Known {
    created: Timestamp,
    recording: Box<SeccompRecording>,
    /// Whether it is recorded.
    is_taken: bool,
    /// Whether it says something that was not told yet.
    is_news: bool,
}

/// What changes when a recording comes or goes.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Those that are recorded from now on, or that say something new.
    pub(crate) within: Vec<SeccompRecording>,
    /// Those that are not any more.
    pub(crate) beyond: Vec<Key>,
}

impl Bound {
    /// Of so many recordings of each namespace.
    pub(crate) fn of(limit: usize) -> Self {
        Self { limit, order: OldestFirst::default(), known: BTreeMap::new() }
    }

    /// Takes in a recording. Far too many of one namespace are not kept in mind, as by the controller: the newest are forgotten.
    pub(crate) fn applied(&mut self, mut recording: SeccompRecording) -> Moved {
        recording.metadata.managed_fields = None;
        let key = Key::of(&recording);
        let created = created_at(&recording.metadata);
        let before = self.known.remove(&key);
        if let Some(before) = &before {
            self.order.remove(&key.namespace, before.created, &key);
        }
        self.order.insert(&key.namespace, created, key.clone());
        let is_taken = before.is_some_and(|before| before.is_taken);
        let known = Known { created, recording: Box::new(recording), is_taken, is_news: true };
        self.known.insert(key.clone(), known);
        let moved = self.moved(&key.namespace);
        let out = self.order.at_edge(&key.namespace, self.limit.saturating_mul(2)).nth(1).cloned();
        out.iter().for_each(|out| self.forget(out));
        moved
    }

    /// A recording is gone.
    pub(crate) fn gone(&mut self, key: &Key) -> Moved {
        self.forget(key);
        self.moved(&key.namespace)
    }

    /// A list is complete: other recordings are gone.
    pub(crate) fn listed(&mut self, there: &BTreeSet<Key>) -> Moved {
        let gone: Vec<Key> = self.known.keys().filter(|key| !there.contains(key)).cloned().collect();
        let mut moved = Moved::default();
        for key in gone {
            let Moved { within, beyond } = self.gone(&key);
            moved.within.extend(within);
            moved.beyond.extend(beyond);
        }
        moved
    }

    fn forget(&mut self, key: &Key) {
        if let Some(known) = self.known.remove(key) {
            self.order.remove(&key.namespace, known.created, key);
        }
    }

    /// What has come within the bound or says something new, and what an older one has driven out.
    fn moved(&mut self, namespace: &str) -> Moved {
        let mut moved = Moved::default();
        let Self { limit, order, known } = self;
        let first = Key { namespace: namespace.to_owned(), name: String::new() };
        for (key, known) in known.range_mut(first..).take_while(|(key, _)| key.namespace == namespace) {
            let is_within = order.is_within(namespace, known.created, key, *limit);
            if is_within && known.is_news {
                moved.within.push((*known.recording).clone());
            } else if !is_within && known.is_taken {
                moved.beyond.push(key.clone());
            }
            (known.is_taken, known.is_news) = (is_within, !is_within);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use portcullis_api::SeccompRecordingSpec;

    use super::*;

    fn recording(namespace: &str, name: &str, created: i64) -> SeccompRecording {
        let mut recording = SeccompRecording::new(name, SeccompRecordingSpec::default());
        recording.metadata.namespace = Some(namespace.to_owned());
        recording.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
        recording
    }

    fn key(name: &str) -> Key {
        Key { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn names(moved: &Moved) -> (Vec<String>, Vec<&str>) {
        let within = moved.within.iter().map(|recording| Key::of(recording).name).collect();
        (within, moved.beyond.iter().map(|key| key.name.as_str()).collect())
    }

    #[test]
    fn the_oldest_of_a_namespace_are_recorded_in_whatever_order_they_come() {
        let mut bound = Bound::of(2);
        let apply = |bound: &mut Bound, name: &str, at: i64| {
            names(&bound.applied(recording("shop", name, at))).0.len()
        };
        assert_eq!(apply(&mut bound, "a", 30), 1);
        assert_eq!(apply(&mut bound, "b", 20), 1);
        let moved = bound.applied(recording("shop", "c", 10));
        assert_eq!(names(&moved), (vec!["c".to_owned()], vec!["a"]), "the newest makes room");
        assert_eq!(apply(&mut bound, "a", 30), 0, "what is beyond says nothing");
        assert_eq!(apply(&mut bound, "b", 20), 1, "what is within says what is new");
        assert_eq!(names(&bound.applied(recording("other", "a", 99))).0, ["a"], "each namespace has its own");
        let moved = bound.gone(&key("b"));
        assert_eq!(names(&moved), (vec!["a".to_owned()], Vec::new()), "and the next takes the place");
    }

    #[test]
    fn a_flood_is_not_kept_in_mind() {
        let mut bound = Bound::of(2);
        let mut within = 0;
        for number in 0..1000 {
            let moved = bound.applied(recording("shop", &format!("r{number:04}"), number));
            within += moved.within.len();
            assert!(moved.beyond.is_empty());
        }
        assert_eq!((within, bound.known.len()), (2, 4));
        let moved = bound.listed(&[key("r0003")].into());
        assert_eq!(names(&moved).0, ["r0002", "r0003"], "while the others go one by one");
    }
}
