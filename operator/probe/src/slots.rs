//! Reads the kernel's maps container by container, and clears what is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crate::{
    Error, PodUid,
    arguments::KEPT_ARGUMENTS,
    clock::Clock,
    layout::{
        self, ArgumentKey, CallWords, HeldArray, Maps, NATIVE_CALLS, RESTING, SLOT_WORDS, Slot, Wanted,
        argument, argument_of, flag, kind, outcome,
    },
    snapshot::{Argument, Call, Container, ContainerKey, Count, Losses, Recorded, Snapshot, Values, bytes},
};

type Result<T> = std::result::Result<T, Error>;

/// Turns a map's error into one that names the map.
pub(crate) fn failed(what: &'static str, map: &'static str) -> impl Fn(aya::maps::MapError) -> Error {
    move |source| Error::Map { what, map, source: Box::new(source) }
}

impl Maps {
    /// The slots that a container has, with their indexes.
    pub(crate) fn taken(&self) -> Result<Vec<(u32, Slot)>> {
        let slots = (0..self.slots.0.len()).map(|index| Ok((index, self.slot(index)?)));
        slots.filter(|slot| slot.as_ref().map_or(true, |(_, slot)| slot.has(flag::READY))).collect()
    }

    /// The slots that were freed and not cleared yet.
    pub(crate) fn resting(&self) -> Result<Vec<u32>> {
        let slots = (0..self.slots.0.len()).map(|index| Ok((index, self.slot(index)?.owner)));
        let resting = slots.filter(|slot| slot.as_ref().map_or(true, |(_, owner)| *owner == RESTING));
        resting.map(|slot| slot.map(|(index, _)| index)).collect()
    }

    fn slot(&self, index: u32) -> Result<Slot> {
        self.slots.0.get(&index, 0).map(Slot::from).map_err(failed("read", "slots"))
    }

    pub(crate) fn losses(&self) -> Result<Losses> {
        let mut kinds = [0; 5];
        for (index, kind) in (0..).zip(&mut kinds) {
            *kind = self.losses.0.get(&index, 0).map_err(failed("read", "losses"))?;
        }
        let groups = self.groups.iter().collect::<std::result::Result<_, _>>();
        Ok(Losses::read(kinds, groups.map_err(failed("read", "groups"))?))
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let clock = Clock::read();
        let mut recorded = BTreeMap::new();
        for (index, slot) in self.taken()? {
            recorded.insert(index, self.tables(index, &slot, clock)?);
        }
        self.read_others(&mut recorded, clock)?;
        self.read_arguments(&mut recorded, clock)?;
        Ok(Snapshot { containers: recorded.into_values().collect(), losses: self.losses()? })
    }

    fn tables(&self, index: u32, slot: &Slot, clock: Clock) -> Result<Recorded> {
        let mut calls = table(&self.calls, "calls", index, Call::native, clock)?;
        // Most containers have nothing in these.
        if slot.compat_at != 0 {
            calls.extend(table(&self.compat, "compat", index, Call::compat, clock)?);
        }
        let denied = if slot.denied_at == 0 {
            BTreeMap::new()
        } else {
            table(&self.denied, "denied", index, Call::native, clock)?
        };
        Ok(Recorded {
            container: Container::read(slot, clock),
            calls,
            denied,
            killed: BTreeMap::new(),
            arguments: BTreeMap::new(),
            denied_arguments: BTreeMap::new(),
        })
    }

    fn read_others(&self, recorded: &mut BTreeMap<u32, Recorded>, clock: Clock) -> Result<()> {
        for entry in self.others.iter() {
            let ([slot, arch, number, outcome], words) = entry.map_err(failed("read", "others"))?;
            if let Some(of) = recorded.get_mut(&slot) {
                let into = match outcome {
                    outcome::MADE => &mut of.calls,
                    outcome::DENIED => &mut of.denied,
                    _ => &mut of.killed,
                };
                into.insert(Call::foreign(arch, number), Count::read(words, clock));
            }
        }
        Ok(())
    }

    fn read_arguments(&self, recorded: &mut BTreeMap<u32, Recorded>, clock: Clock) -> Result<()> {
        for entry in self.arg_values.iter() {
            let (key, words) = entry.map_err(failed("read", "arg_values"))?;
            if let Some(values) = values(recorded, argument_of(key)) {
                values.values.insert(key[1], Count::read(words, clock));
            }
        }
        for entry in self.arg_counts.iter() {
            let (key, [_, too_many]) = entry.map_err(failed("read", "arg_counts"))?;
            if let Some(values) = values(recorded, key) {
                values.too_many = too_many != 0;
            }
        }
        Ok(())
    }

    /// Frees a container's slot. It rests until [`clear`](Self::clear), because a program that runs at this moment may still write.
    /// Which cgroups it had is still known: a new generation is due.
    pub(crate) fn rest(&mut self, index: u32) -> Result<()> {
        let mut words = [0; SLOT_WORDS];
        words[0] = RESTING;
        self.slots.0.set(index, words, 0).map_err(failed("change", "slots"))
    }

    /// Clears a resting slot: the next container may have it.
    pub(crate) fn clear(&mut self, index: u32) -> Result<()> {
        for (map, name) in
            [(&mut self.calls, "calls"), (&mut self.compat, "compat"), (&mut self.denied, "denied")]
        {
            map.0.set(index, [0; 2 * NATIVE_CALLS], 0).map_err(failed("change", name))?;
        }
        remove(&mut self.others, "others", |key| key[0] == index)?;
        remove(&mut self.arg_values, "arg_values", |key| argument(argument_of(*key)).0 == index)?;
        remove(&mut self.arg_counts, "arg_counts", |key| argument(*key).0 == index)?;
        remove(&mut self.logs, "logs", |[slot, _]| *slot == u64::from(index))?;
        self.slots.0.set(index, [0; SLOT_WORDS], 0).map_err(failed("change", "slots"))
    }

    /// Sees to it that a group is known, and what it lost counted. Groups without a target make room for it where there is none.
    pub(crate) fn know_group(&mut self, group: u64) -> Result<()> {
        if group == 0 || self.groups.get(&group, 0).is_ok() {
            return Ok(());
        }
        if self.groups.insert(group, 0_u64, 0).is_ok() {
            return Ok(());
        }
        let used = self.targets.iter().map(|target| target.map(|(_, words)| Wanted::from(words).group));
        let used =
            used.collect::<std::result::Result<BTreeSet<_>, _>>().map_err(failed("read", "targets"))?;
        remove(&mut self.groups, "groups", |group| !used.contains(group))?;
        self.groups.insert(group, 0_u64, 0).map_err(failed("change", "groups"))
    }

    /// When somebody was last there; 0 for never.
    pub(crate) fn alive_at(&self) -> Result<u64> {
        self.alive.0.get(&0, 0).map_err(failed("read", "alive"))
    }

    /// The pods that came unasked for, and when.
    pub(crate) fn strangers(&self) -> Result<Vec<(PodUid, u64)>> {
        let pods = self.strangers.iter().map(|entry| {
            let (words, at) = entry.map_err(failed("read", "strangers"))?;
            Ok((PodUid::from_bytes(bytes(&words), false), at))
        });
        pods.collect()
    }

    pub(crate) fn forget_strangers(&mut self) -> Result<()> {
        remove(&mut self.strangers, "strangers", |_| true)
    }

    /// Forgets which cgroup is what.
    pub(crate) fn forget_cgroups(&mut self) -> Result<()> {
        remove(&mut self.cgroups, "cgroups", |_| true)
    }
}

/// Slots that were freed, and when.
#[derive(Debug, Default)]
pub(crate) struct Resting(pub(crate) Vec<(u32, Instant)>);

impl From<u64> for ContainerKey {
    /// The number of the container's cgroup.
    fn from(cgroup: u64) -> Self {
        Self(cgroup)
    }
}

impl ContainerKey {
    pub(crate) const fn owner(self) -> u64 {
        self.0
    }
}

fn table(
    map: &HeldArray<CallWords>,
    name: &'static str,
    index: u32,
    call: impl Fn(u32) -> Call,
    clock: Clock,
) -> Result<BTreeMap<Call, Count>> {
    let words = map.0.get(&index, 0).map_err(failed("read", name))?;
    let counted = (0..).zip(words.as_chunks::<2>().0).filter(|(_, [count, _])| *count != 0);
    Ok(counted.map(|(number, words)| (call(number), Count::read(*words, clock))).collect())
}

fn values(recorded: &mut BTreeMap<u32, Recorded>, key: ArgumentKey) -> Option<&mut Values> {
    let (slot, number, index, denied) = argument(key);
    let call = Call::native(number);
    debug_assert!(KEPT_ARGUMENTS.iter().any(|kept| kept.index == index));
    let of = recorded.get_mut(&slot)?;
    let into = if denied { &mut of.denied_arguments } else { &mut of.arguments };
    Some(into.entry(Argument { call, index }).or_default())
}

type HeldHash<K, V> = aya::maps::HashMap<aya::maps::MapData, K, V>;

fn remove<K: aya::Pod, V: aya::Pod>(
    map: &mut HeldHash<K, V>,
    name: &'static str,
    matches: impl Fn(&K) -> bool,
) -> Result<()> {
    let keys = map.keys().collect::<std::result::Result<Vec<_>, _>>().map_err(failed("read", name))?;
    keys.iter()
        .filter(|key| matches(key))
        .try_for_each(|key| ignore_missing(map.remove(key)).map_err(failed("change", name)))
}

/// The kernel's programs remove cgroups as well.
fn ignore_missing(
    result: std::result::Result<(), aya::maps::MapError>,
) -> std::result::Result<(), aya::maps::MapError> {
    match result {
        Err(aya::maps::MapError::KeyNotFound) => Ok(()),
        Err(aya::maps::MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}

/// A target as the kernel's map has it. Paths are hashed under the key that the kernel's programs have.
pub(crate) fn target_key(target: &crate::Target, path_key: [u64; 2]) -> layout::TargetKey {
    let mut key = [0; 5];
    let (kind, rest) = match target {
        crate::Target::Container(id) => (kind::CONTAINER, words(&id.bytes())),
        crate::Target::Pod(uid) if uid.is_static() => (kind::STATIC_POD, words(&uid.bytes())),
        crate::Target::Pod(uid) => (kind::POD, words(&uid.bytes())),
        crate::Target::Below(path) => (kind::BELOW, vec![path.hash(path_key)]),
        crate::Target::Cgroup(path) => (kind::CGROUP, vec![path.hash(path_key)]),
    };
    key[0] = kind;
    for (word, value) in key.iter_mut().skip(1).zip(rest) {
        *word = value;
    }
    key
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect()
}
