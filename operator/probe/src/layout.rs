//! The layouts of the maps in `bpf/maps.h`, as plain words: the kernel's programs write them on this very machine.

use aya::maps::{Array, HashMap, MapData};

/// Changes with every layout in `bpf/maps.h`; part of the pins' path.
pub(crate) const SCHEMA: u32 = 5;

pub(crate) const NATIVE_CALLS: usize = 512;
pub(crate) const MAX_SLOTS: u32 = 1024;

/// `MODE_*`
pub(crate) mod mode {
    pub(crate) const FROM_EXEC: u64 = 1;
    pub(crate) const OWN_MOUNTS: u64 = 2;
    pub(crate) const DENIALS: u64 = 4;
    pub(crate) const NOW: u64 = 8;
}

/// `SLOT_*`
pub(crate) mod flag {
    pub(crate) const READY: u64 = 1;
    pub(crate) const HAS_ID: u64 = 2;
    pub(crate) const HAS_POD: u64 = 4;
    pub(crate) const WHOLE: u64 = 8;
    pub(crate) const UNFILTERED: u64 = 32;
    pub(crate) const STATIC_POD: u64 = 64;
}

/// `TARGET_*`
pub(crate) mod kind {
    pub(crate) const CONTAINER: u64 = 1;
    pub(crate) const POD: u64 = 2;
    pub(crate) const BELOW: u64 = 3;
    pub(crate) const CGROUP: u64 = 4;
    pub(crate) const STATIC_POD: u64 = 5;
}

/// `enum outcome`
pub(crate) mod outcome {
    pub(crate) const MADE: u32 = 0;
    pub(crate) const DENIED: u32 = 1;
}

/// The owner of a slot that was freed a moment ago: a program that still runs may write to it once more.
pub(crate) const RESTING: u64 = u64::MAX;

/// `struct slot`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) owner: u64,
    pub(crate) seen_at: u64,
    pub(crate) id: [u64; 4],
    pub(crate) pod: [u64; 2],
    pub(crate) flags: u64,
    pub(crate) tag: u64,
    pub(crate) mode: u64,
    pub(crate) exec_at: u64,
    pub(crate) main_tgid: u64,
    pub(crate) exit_at: u64,
    pub(crate) exit_code: u64,
    pub(crate) removed_at: u64,
    pub(crate) signals: u64,
    pub(crate) handled: u64,
    pub(crate) lost_calls: u64,
    pub(crate) lost_values: u64,
    pub(crate) lost_denials: u64,
    pub(crate) last_new_at: u64,
    pub(crate) now_at: u64,
    pub(crate) group: u64,
    pub(crate) compat_at: u64,
    pub(crate) denied_at: u64,
    pub(crate) others: u64,
    pub(crate) values: u64,
    pub(crate) logs: u64,
    pub(crate) outside: u64,
    pub(crate) told_at: u64,
    pub(crate) reopened_at: u64,
    pub(crate) entered_at: u64,
}

pub(crate) const SLOT_WORDS: usize = 33;
pub(crate) type SlotWords = [u64; SLOT_WORDS];

impl From<SlotWords> for Slot {
    fn from(words: SlotWords) -> Self {
        let [owner, seen_at, id0, id1, id2, id3, pod0, pod1, flags, tag, mode, exec_at, main_tgid, rest @ ..] =
            words;
        let [
            exit_at,
            exit_code,
            removed_at,
            signals,
            handled,
            lost_calls,
            lost_values,
            lost_denials,
            last_new_at,
            now_at,
            group,
            compat_at,
            denied_at,
            others,
            values,
            logs,
            outside,
            told_at,
            reopened_at,
            entered_at,
        ] = rest;
        Self {
            owner,
            seen_at,
            id: [id0, id1, id2, id3],
            pod: [pod0, pod1],
            flags,
            tag,
            mode,
            exec_at,
            main_tgid,
            exit_at,
            exit_code,
            removed_at,
            signals,
            handled,
            lost_calls,
            lost_values,
            lost_denials,
            last_new_at,
            now_at,
            group,
            compat_at,
            denied_at,
            others,
            values,
            logs,
            outside,
            told_at,
            reopened_at,
            entered_at,
        }
    }
}

impl Slot {
    pub(crate) const fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

/// `struct wanted`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) tag: u64,
    pub(crate) mode: u64,
    pub(crate) since: u64,
    pub(crate) group: u64,
}

pub(crate) type WantedWords = [u64; 4];

impl From<WantedWords> for Wanted {
    fn from([tag, mode, since, group]: WantedWords) -> Self {
        Self { tag, mode, since, group }
    }
}

impl From<Wanted> for WantedWords {
    fn from(wanted: Wanted) -> Self {
        [wanted.tag, wanted.mode, wanted.since, wanted.group]
    }
}

impl Wanted {
    pub(crate) const fn has(&self, mode: u64) -> bool {
        self.mode & mode != 0
    }
}

/// `struct config`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) epoch: u32,
    pub(crate) generation: u32,
    pub(crate) unfiltered: u32,
    pub(crate) pairing: u32,
    pub(crate) path_key: [u64; 2],
}

/// The four numbers, two in a word, then the key.
pub(crate) type ConfigWords = [u64; 4];

impl From<ConfigWords> for Config {
    fn from([first, second, low, high]: ConfigWords) -> Self {
        let ([epoch, generation], [unfiltered, pairing]) = (halves(first), halves(second));
        Self { epoch, generation, unfiltered, pairing, path_key: [low, high] }
    }
}

impl From<Config> for ConfigWords {
    fn from(config: Config) -> Self {
        let Config { epoch, generation, unfiltered, pairing, path_key: [low, high] } = config;
        [wide(epoch, generation), wide(unfiltered, pairing), low, high]
    }
}

/// `struct calls`: count and first time of each native call, in turn.
pub(crate) type CallWords = [u64; 2 * NATIVE_CALLS];
/// `struct call`
pub(crate) type CountWords = [u64; 2];
/// `struct target`
pub(crate) type TargetKey = [u64; 5];
/// `struct other`: slot, architecture, number, outcome.
pub(crate) type OtherKey = [u32; 4];
/// `struct argument`: slot, then number, index and denied.
pub(crate) type ArgumentKey = [u32; 2];
/// `struct value`: an argument's two words, then the value's.
pub(crate) type ValueKey = [u64; 2];

/// The parts of a `struct argument`.
pub(crate) fn argument([slot, rest]: ArgumentKey) -> (u32, u32, u8, bool) {
    let [low, high, index, denied] = rest.to_ne_bytes();
    (slot, u32::from(u16::from_ne_bytes([low, high])), index, denied != 0)
}

/// The two words of a `struct argument` within a `struct value`.
pub(crate) fn argument_of([argument, _]: ValueKey) -> ArgumentKey {
    halves(argument)
}

/// The two halves of a 64-bit number, in the machine's order.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// Two halves of a 64-bit number, in the machine's order.
pub(crate) fn wide(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// Everything that the kernel keeps.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) config: HeldArray<ConfigWords>,
    pub(crate) targets: HashMap<MapData, TargetKey, WantedWords>,
    pub(crate) cgroups: HashMap<MapData, u64, [u32; 4]>,
    pub(crate) slots: HeldArray<SlotWords>,
    pub(crate) calls: HeldArray<CallWords>,
    pub(crate) compat: HeldArray<CallWords>,
    pub(crate) denied: HeldArray<CallWords>,
    pub(crate) others: HashMap<MapData, OtherKey, CountWords>,
    pub(crate) arg_values: HashMap<MapData, ValueKey, CountWords>,
    pub(crate) arg_counts: HashMap<MapData, ArgumentKey, [u64; 2]>,
    /// `struct group`: the calls that had no slot.
    pub(crate) groups: HashMap<MapData, u64, u64>,
    pub(crate) losses: HeldArray<u64>,
    /// `struct log`: slot and path; when each was last opened.
    pub(crate) logs: HashMap<MapData, [u64; 2], u64>,
    /// `struct uid`; when each pod's first container came.
    pub(crate) strangers: HashMap<MapData, [u64; 2], u64>,
    pub(crate) alive: HeldArray<u64>,
}

/// aya's array has no `Debug`.
pub(crate) struct HeldArray<V: aya::Pod>(pub(crate) Array<MapData, V>);

impl<V: aya::Pod> std::fmt::Debug for HeldArray<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "array of {}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every word of a slot has a field of its own, in the order of `struct slot`.
    #[test]
    fn a_slots_words_are_its_fields() {
        let slot = Slot::from(std::array::from_fn(|at| at as u64));
        assert_eq!((slot.owner, slot.id, slot.pod, slot.flags), (0, [2, 3, 4, 5], [6, 7], 8));
        assert_eq!((slot.exit_at, slot.removed_at, slot.lost_calls, slot.now_at), (13, 15, 18, 22));
        assert_eq!((slot.group, slot.others, slot.values, slot.logs), (23, 26, 27, 28));
        assert_eq!((slot.outside, slot.reopened_at, slot.entered_at), (29, 31, 32));
    }

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        let config = Config { epoch: 1, generation: 2, unfiltered: 3, pairing: 4, path_key: [5, 6] };
        assert_eq!(Config::from(ConfigWords::from(config)), config);
    }

    #[test]
    fn a_values_key_holds_its_argument() {
        let slot = 7_u32;
        let [a, b] = 41_u16.to_ne_bytes();
        let key = [wide(slot, u32::from_ne_bytes([a, b, 2, 1])), 99];
        assert_eq!(argument(argument_of(key)), (7, 41, 2, true));
    }
}
