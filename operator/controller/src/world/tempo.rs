//! How fast things are written. Each revision goes to every node; after a burst each profile, and each namespace, has one a while.
//! A large profile costs the API server most of a second with every write, and holds up the watch that everybody's profiles come by; after a
//! burst each namespace has so many bytes of them a second. What comes meanwhile waits, and the last of it counts. What one
//! node does is a write of every profile's status, so of that each has one a while too.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    time::Duration,
};

use portcullis_api::Owner;
use tokio::time::Instant;

use crate::queue::Keyed as _;

/// Revisions of a namespace's profiles together, without a pause and a second after that: profiles that are made anew under ever new names
/// each have a burst of their own.
const OF_NAMESPACE: Rate = Rate { burst: 1000, every: Duration::from_secs(1) };
/// A profile of so many bytes is written whenever there is something to write: no hand-written or recorded one has more.
const ORDINARY: usize = 32 * 1024;
/// What a namespace's profiles have beyond that, in KiB a write: eight of the largest, then about two of them a second.
const OF_LARGE: Rate = Rate { burst: 2048, every: Duration::from_millis(2) };
/// Writes of a profile's status for what nodes alone changed: a fall and its end are said at once, and then one write a minute.
const BY_NODES: Rate = Rate { burst: 2, every: Duration::from_secs(60) };
/// Dependents of one base that are worked out at once when it changes.
const FAN_OUT_BURST: usize = 20;

/// Some at once, then one a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) every: Duration,
}

/// A token bucket for each key that spent something lately. What was spent is kept as the time at which all of it will be back.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    full_at: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new() }
    }

    /// When there is something to spend; none where there is already.
    pub(crate) fn waits(&self, key: &K, now: Instant) -> Option<Instant> {
        let full_at = *self.full_at.get(key)?;
        let Rate { burst, every } = self.rate;
        // A bucket that is full `burst * every` from now is empty.
        let next = full_at.checked_sub(every * burst.saturating_sub(1))?;
        (next > now).then_some(next)
    }

    /// Spends some. What is more than there is makes the next wait the longer.
    pub(crate) fn spend(&mut self, key: K, some: u32, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        let full_at = self.full_at.entry(key).or_insert(now);
        *full_at += self.rate.every * some;
    }
}

/// The pace of everybody's revisions, of what is written to large profiles, and of what statuses say of nodes.
#[derive(Debug)]
pub(crate) struct Tempo {
    profiles: Buckets<Owner>,
    namespaces: Buckets<String>,
    large: Buckets<String>,
    by_nodes: Buckets<Owner>,
}

impl Tempo {
    pub(crate) fn new(of_profile: Rate) -> Self {
        Self {
            profiles: Buckets::new(of_profile),
            namespaces: Buckets::new(OF_NAMESPACE),
            large: Buckets::new(OF_LARGE),
            by_nodes: Buckets::new(BY_NODES),
        }
    }

    /// When another revision of this profile may be written; none where it may be now. Who makes a profile anew under its old name waits
    /// all the same.
    pub(crate) fn waits(&self, owner: &Owner, now: Instant) -> Option<Instant> {
        let of_namespace =
            owner.namespace().and_then(|_| self.namespaces.waits(&owner.tenant().to_owned(), now));
        self.profiles.waits(owner, now).max(of_namespace)
    }

    /// A revision was written.
    pub(crate) fn wrote(&mut self, owner: &Owner, now: Instant) {
        self.profiles.spend(owner.clone(), 1, now);
        if owner.namespace().is_some() {
            self.namespaces.spend(owner.tenant().to_owned(), 1, now);
        }
    }

    /// When a profile whose document has so many bytes may be written to; none where it may be now.
    pub(crate) fn write_waits(&self, owner: &Owner, bytes: usize, now: Instant) -> Option<Instant> {
        let namespace = owner.namespace().filter(|_| bytes > ORDINARY)?;
        self.large.waits(&namespace.to_owned(), now)
    }

    /// Such a profile is written to now.
    pub(crate) fn writes(&mut self, owner: &Owner, bytes: usize, now: Instant) {
        let beyond = u32::try_from(bytes.saturating_sub(ORDINARY).div_ceil(1024)).unwrap_or(u32::MAX);
        if let Some(namespace) = owner.namespace().filter(|_| beyond > 0) {
            self.large.spend(namespace.to_owned(), beyond, now);
        }
    }
}

impl Tempo {
    /// When a profile's status may say again what nodes alone changed; none where it may now.
    pub(crate) fn nodes_wait(&self, owner: &Owner, now: Instant) -> Option<Instant> {
        self.by_nodes.waits(owner, now)
    }

    /// A profile's status said what nodes alone changed.
    pub(crate) fn said_of_nodes(&mut self, owner: &Owner, now: Instant) {
        self.by_nodes.spend(owner.clone(), 1, now);
    }
}

/// How fast those follow that build on a profile which changed.
#[derive(Debug)]
pub(crate) struct FanOut {
    a_second: u32,
    /// When each base's last dependent has its turn.
    until: HashMap<Owner, Instant>,
}

impl FanOut {
    pub(crate) fn new(a_second: u32) -> Self {
        Self { a_second, until: HashMap::new() }
    }

    /// The turns of those that build on a base, now that it has changed: one of each namespace after another.
    pub(crate) fn turns(
        &mut self,
        base: &Owner,
        dependents: impl Iterator<Item = Owner>,
        now: Instant,
    ) -> Vec<(Owner, Instant)> {
        self.until.retain(|_, until| *until > now);
        let every = Duration::from_secs(1) / self.a_second.max(1);
        let mut nth: HashMap<String, usize> = HashMap::new();
        let mut in_turn = BTreeMap::new();
        for dependent in dependents {
            let nth = nth.entry(dependent.tenant().to_owned()).or_default();
            in_turn.insert((*nth, dependent), ());
            *nth += 1;
        }
        let burst = if self.until.contains_key(base) { 0 } else { FAN_OUT_BURST };
        let mut next = self.until.get(base).copied().unwrap_or(now);
        let mut turns = Vec::with_capacity(in_turn.len());
        for (number, ((_, dependent), ())) in in_turn.into_iter().enumerate() {
            if number >= burst {
                next += every;
            }
            turns.push((dependent, next));
        }
        if next > now {
            self.until.insert(base.clone(), next);
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn owner(namespace: &str, name: &str) -> Owner {
        Owner::namespaced(namespace, name).unwrap()
    }

    #[test]
    fn after_a_burst_a_profile_has_one_revision_a_while_and_others_are_not_held_up() {
        let mut tempo = Tempo::new(Rate { burst: 5, every: 10 * SECOND });
        let (start, web) = (Instant::now(), owner("shop", "web"));
        let mut written = Vec::new();
        // An edit every tenth of a second, for a minute.
        for tenths in 0..600 {
            let now = start + tenths * SECOND / 10;
            match tempo.waits(&web, now) {
                None => {
                    tempo.wrote(&web, now);
                    written.push(tenths);
                }
                Some(at) => assert!(at > now && at <= now + 10 * SECOND, "it is told when to come again"),
            }
        }
        assert_eq!(written, [0, 1, 2, 3, 4, 100, 200, 300, 400, 500]);
        assert_eq!(tempo.waits(&owner("shop", "db"), start + 59 * SECOND), None);
        let rested = start + 200 * SECOND;
        tempo.wrote(&owner("shop", "db"), rested);
        assert_eq!(tempo.profiles.full_at.len(), 1, "who has its burst again is forgotten");
    }

    #[test]
    fn ever_new_names_are_one_namespaces_and_a_cluster_profile_is_nobodys() {
        let mut tempo = Tempo::new(Rate { burst: 5, every: 10 * SECOND });
        let now = Instant::now();
        for number in 0..OF_NAMESPACE.burst {
            assert_eq!(tempo.waits(&owner("flood", &format!("p{number}")), now), None);
            tempo.wrote(&owner("flood", &format!("p{number}")), now);
            tempo.wrote(&Owner::cluster(&format!("p{number}")).unwrap(), now);
        }
        assert_eq!(tempo.waits(&owner("flood", "another"), now), Some(now + OF_NAMESPACE.every));
        assert_eq!(tempo.waits(&owner("quiet", "another"), now), None);
        assert_eq!(tempo.waits(&Owner::cluster("another").unwrap(), now), None);
    }

    #[test]
    fn writes_to_large_profiles_are_one_namespaces_and_ordinary_ones_never_wait() {
        let mut tempo = Tempo::new(Rate { burst: 5, every: 10 * SECOND });
        let (start, flood) = (Instant::now(), owner("flood", "p"));
        let largest = 288 * 1024;
        let mut written = 0;
        for tenths in 0..600 {
            let now = start + tenths * SECOND / 10;
            let waits = loop {
                match tempo.write_waits(&flood, largest, now) {
                    None => tempo.writes(&flood, largest, now),
                    Some(at) => break at,
                }
                written += 1;
            };
            assert!(waits > now && waits <= now + SECOND, "it is told when to come again");
            tempo.writes(&flood, ORDINARY, now);
            assert_eq!(tempo.write_waits(&flood, ORDINARY, now), None);
            assert_eq!(tempo.write_waits(&Owner::cluster("p").unwrap(), largest, now), None);
        }
        assert!((8 + 115..=8 + 121).contains(&written), "{written} in a minute");
        assert_eq!(tempo.write_waits(&owner("quiet", "p"), largest, start), None);
    }

    #[test]
    fn those_that_build_on_a_base_follow_it_one_namespace_after_another() {
        let mut fan_out = FanOut::new(10);
        let now = Instant::now();
        let base = Owner::cluster("base").unwrap();
        let many = (0..100).map(|number| owner("many", &format!("p{number:03}")));
        let turns = fan_out.turns(&base, many.chain([owner("one", "only")]), now);
        assert_eq!(turns.len(), 101);
        let at = |turns: &[(Owner, Instant)], wanted: &Owner| {
            turns.iter().find(|(owner, _)| owner == wanted).map(|(_, at)| *at - now).unwrap()
        };
        assert_eq!(
            at(&turns, &owner("one", "only")),
            Duration::ZERO,
            "a hundred of another's are not before it"
        );
        assert_eq!(at(&turns, &owner("many", "p000")), Duration::ZERO);
        assert_eq!(at(&turns, &owner("many", "p099")), SECOND / 10 * (101 - 20));
        // A second change while the first one's are on their way goes behind them; another base's dependents don't wait for it.
        let more = fan_out.turns(&base, [owner("one", "only")].into_iter(), now);
        assert_eq!(at(&more, &owner("one", "only")), SECOND / 10 * 82);
        let other = fan_out.turns(&owner("many", "base"), [owner("many", "p000")].into_iter(), now);
        assert_eq!(at(&other, &owner("many", "p000")), Duration::ZERO);
        let later = fan_out.turns(&base, [owner("one", "only")].into_iter(), now + 9 * SECOND);
        assert_eq!(later[0].1, now + 9 * SECOND);
        assert_eq!(fan_out.until.len(), 0, "what is over is forgotten");
    }
}
