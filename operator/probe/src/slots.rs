//! Reads the kernel's maps container by container, and clears what is forgotten.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    Error,
    arguments::KEPT_ARGUMENTS,
    clock::Clock,
    layout::{
        self, ArgumentKey, Maps, NATIVE_CALLS, RESTING, SLOT_WORDS, Slot, argument, argument_of, flag, wide,
    },
    snapshot::{Argument, Call, Container, ContainerKey, Count, Losses, Recorded, Snapshot, Values},
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
        Ok(Losses::from_kinds(kinds))
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let clock = Clock::read();
        let mut recorded = BTreeMap::new();
        for (index, slot) in self.taken()? {
            recorded.insert(index, self.native(index, &slot, clock)?);
        }
        self.read_foreign(&mut recorded, clock)?;
        self.read_denials(&mut recorded, clock)?;
        self.read_arguments(&mut recorded, clock)?;
        Ok(Snapshot { containers: recorded.into_values().collect(), losses: self.losses()? })
    }

    fn native(&self, index: u32, slot: &Slot, clock: Clock) -> Result<Recorded> {
        let words = self.calls.0.get(&index, 0).map_err(failed("read", "calls"))?;
        let counted = (0..).zip(words.as_chunks::<2>().0);
        let calls = counted
            .filter(|(_, [count, _])| *count != 0)
            .map(|(number, words)| (Call::native(number), Count::read(*words, clock)))
            .collect();
        Ok(Recorded {
            container: Container::read(slot, clock),
            calls,
            denied: BTreeMap::new(),
            killed: BTreeMap::new(),
            arguments: BTreeMap::new(),
            denied_arguments: BTreeMap::new(),
        })
    }

    fn read_foreign(&self, recorded: &mut BTreeMap<u32, Recorded>, clock: Clock) -> Result<()> {
        for entry in self.foreign.iter() {
            let ([slot, arch, low, high], words) = entry.map_err(failed("read", "foreign"))?;
            if let Some(of) = recorded.get_mut(&slot) {
                of.calls.insert(Call::foreign(arch, narrow(low, high)), Count::read(words, clock));
            }
        }
        Ok(())
    }

    fn read_denials(&self, recorded: &mut BTreeMap<u32, Recorded>, clock: Clock) -> Result<()> {
        for entry in self.denials.iter() {
            let ([slot, arch, low, high, killed, more], words) = entry.map_err(failed("read", "denials"))?;
            if let Some(of) = recorded.get_mut(&slot) {
                let into = if wide(killed, more) == 0 { &mut of.denied } else { &mut of.killed };
                into.insert(Call::foreign(arch, narrow(low, high)), Count::read(words, clock));
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
        self.calls.0.set(index, [0; 2 * NATIVE_CALLS], 0).map_err(failed("change", "calls"))?;
        remove(&mut self.foreign, "foreign", |key| key[0] == index)?;
        remove(&mut self.denials, "denials", |key| key[0] == index)?;
        remove(&mut self.arg_values, "arg_values", |key| argument(argument_of(*key)).0 == index)?;
        remove(&mut self.arg_counts, "arg_counts", |key| argument(*key).0 == index)?;
        self.slots.0.set(index, [0; SLOT_WORDS], 0).map_err(failed("change", "slots"))
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

/// The kernel keeps 32 bits of a call's number.
fn narrow(low: u32, high: u32) -> u32 {
    u32::try_from(wide(low, high)).unwrap_or(u32::MAX)
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

/// A target as the kernel's map has it.
pub(crate) fn target_key(target: &crate::Target) -> layout::TargetKey {
    let mut key = [0; 5];
    let (kind, rest) = match target {
        crate::Target::Container(id) => (1, words(&id.bytes())),
        crate::Target::Pod(uid) => (2, words(&uid.bytes())),
        crate::Target::Below(path) => (3, vec![path.hash()]),
        crate::Target::Cgroup(path) => (4, vec![path.hash()]),
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
