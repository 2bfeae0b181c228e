//! What was seen, in words that need no knowledge of the kernel's maps.

use std::{collections::BTreeMap, time::SystemTime};

use portcullis_profile::{Arch, syscalls};

use crate::{
    ContainerId, PodUid,
    arguments::{COMPAT, NATIVE},
    clock::Clock,
    layout::{CountWords, Slot, flag},
};

/// Everything that was counted until now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Each watched container that was found, in no order.
    pub containers: Vec<Recorded>,
    /// What no container can be named for.
    pub losses: Losses,
}

/// What one container did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Which container, and what became of it.
    pub container: Container,
    /// The calls that it made.
    pub calls: BTreeMap<Call, Count>,
    /// The calls that its filter denied and the task survived: ERRNO, TRAP; TRACE and NOTIFY look the same.
    pub denied: BTreeMap<Call, Count>,
    /// The calls that a task was killed for.
    pub killed: BTreeMap<Call, Count>,
    /// Values of the arguments in [`KEPT_ARGUMENTS`](crate::KEPT_ARGUMENTS), of native calls.
    pub arguments: BTreeMap<Argument, Values>,
    /// The same, of denied calls.
    pub denied_arguments: BTreeMap<Argument, Values>,
}

/// Stands for a container as long as the probe keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerKey(pub(crate) u64);

/// A container and its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Stands for it in calls of the probe.
    pub key: ContainerKey,
    /// Its id; `None` for a cgroup that is watched by its path.
    pub id: Option<ContainerId>,
    /// Its pod.
    pub pod: Option<PodUid>,
    /// The tag of the target that it is watched for.
    pub tag: u64,
    /// When the probe first saw it.
    pub seen: SystemTime,
    /// Changes whenever the container's counters began at nothing again, and with nothing else: nanoseconds of the kernel's monotonic
    /// clock.
    pub instance: u64,
    /// Whether its cgroup was made while it was watched, as it is watched now. If not, its start may have been missed.
    pub whole: bool,
    /// Whether tasks without a filter were counted.
    pub unfiltered: bool,
    /// When its application's first `execve` was seen. Always `None` where the start of a container may have been missed: then the
    /// first `execve` that is seen may be an exec probe's. A cgroup that is watched by its path has one unless it was watched from
    /// [`Start::Now`](crate::Start::Now) on.
    pub exec: Option<SystemTime>,
    /// How the process of that `execve` ended; `None` where `exec` is.
    pub exit: Option<Exit>,
    /// When its cgroup was removed.
    pub removed: Option<SystemTime>,
    /// Numbers of the signals that were sent to any of its tasks and not ignored.
    pub signals: Vec<u8>,
    /// Those of them that a handler of the application took.
    pub handled: Vec<u8>,
    /// Numbers of the signals that came from outside of the application: from the runtime, another container, or a command that was
    /// executed in this one. Those that it ignores are among them.
    pub outside: Vec<u8>,
    /// When a file was opened for appending that had been before, after a handler had taken SIGHUP or SIGUSR1 from outside. `None` where
    /// denied calls aren't wanted, as it is seen by the same program.
    pub reopened: Option<SystemTime>,
    /// When a program first ran in it that does not descend from its own first one: an exec probe, a lifecycle hook, `kubectl exec`.
    /// Always `None` with raw tracepoints.
    pub entered: Option<SystemTime>,
    /// When a call, or a value of an argument, was last seen for the first time.
    pub last_new: Option<SystemTime>,
    /// What was lost because a map was full.
    pub lost: Lost,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When.
    pub at: SystemTime,
    /// The exit status, 0 if a signal ended it.
    pub code: u8,
    /// The signal that ended it, if one did.
    pub signal: Option<u8>,
}

/// What a container lost because its share of a map was full. Each is a number of calls, not of different calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Calls that no table has a place for, such as x32's.
    pub calls: u64,
    /// Values of arguments.
    pub values: u64,
    /// Calls of another architecture that were denied, and calls for which a task was killed.
    pub denials: u64,
}

impl Lost {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// What no container can be named for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Calls of watched containers for which there was no room; see [`Capacity::containers`](crate::Capacity::containers).
    pub no_room: u64,
    /// The same for each [`Watch::group`](crate::Watch::group).
    pub no_room_in: BTreeMap<u64, u64>,
    /// Cgroups more than 15 levels deep, or with a name that can't be read. A container that deep is not recognised.
    pub too_deep: u64,
    /// Calls whose cgroup had to be identified again because the cache was full: nothing is lost, but it costs time.
    pub uncached: u64,
    /// Calls of which it can't be said whether they were denied, because the kernel had no memory.
    pub unpaired: u64,
    /// Tasks without a filter that were not known as an application's, because the kernel had no memory: their calls are missing.
    pub unmarked: u64,
}

impl Losses {
    pub(crate) fn read(
        [no_room, too_deep, uncached, unpaired, unmarked]: [u64; 5],
        no_room_in: BTreeMap<u64, u64>,
    ) -> Self {
        Self { no_room, no_room_in, too_deep, uncached, unpaired, unmarked }
    }
}

/// A system call of an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The architecture whose numbering it is; `None` for one that this program does not know.
    pub arch: Option<Arch>,
    /// The number; x32's carry bit 30. [`Call::UNKNOWN`] stands for all that are in no table.
    pub number: u32,
}

impl Call {
    /// Stands for the numbers that are in no table: calls of them are counted together.
    pub const UNKNOWN: u32 = u32::MAX;

    /// The call's name, where the tables have one: a number without a name is no call of any kernel that they know.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        syscalls::name(self.arch?, self.number)
    }

    pub(crate) const fn native(number: u32) -> Self {
        Self { arch: Some(NATIVE), number }
    }

    /// Of the other architecture that this machine's programs may be of.
    pub(crate) const fn compat(number: u32) -> Self {
        Self { arch: Some(COMPAT), number }
    }

    /// From an `AUDIT_ARCH_*` of include/uapi/linux/audit.h.
    pub(crate) const fn foreign(audit: u32, number: u32) -> Self {
        let arch = match audit {
            0xc000_003e if number & 0x4000_0000 != 0 && number != u32::MAX => Some(Arch::X32),
            0xc000_003e => Some(Arch::X86_64),
            0x4000_0003 => Some(Arch::X86),
            0xc000_00b7 => Some(Arch::Aarch64),
            0x4000_0028 => Some(Arch::Arm),
            _ => None,
        };
        Self { arch, number }
    }
}

/// An argument of a native call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Argument {
    /// The call.
    pub call: Call,
    /// The argument's index, from 0.
    pub index: u8,
}

/// The values that an argument had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// Each value, all 64 bits of it.
    pub values: BTreeMap<u64, Count>,
    /// Whether there were more than [`MAX_VALUES`](crate::MAX_VALUES), or more than there was room for: then no rule can be made.
    pub too_many: bool,
}

/// How often, and when first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How often.
    pub count: u64,
    /// When first.
    pub first: SystemTime,
}

impl Count {
    pub(crate) fn read([count, first_at]: CountWords, clock: Clock) -> Self {
        Self { count, first: clock.at(first_at) }
    }
}

impl Container {
    pub(crate) fn read(slot: &Slot, clock: Clock) -> Self {
        Self {
            key: ContainerKey(slot.owner),
            id: slot.has(flag::HAS_ID).then(|| ContainerId::from_bytes(bytes(&slot.id))),
            pod: slot
                .has(flag::HAS_POD)
                .then(|| PodUid::from_bytes(bytes(&slot.pod), slot.has(flag::STATIC_POD))),
            tag: slot.tag,
            seen: clock.at(slot.seen_at),
            instance: slot.seen_at,
            whole: slot.has(flag::WHOLE),
            unfiltered: slot.has(flag::UNFILTERED),
            exec: clock.happened(slot.exec_at),
            exit: clock.happened(slot.exit_at).map(|at| exit(at, slot.exit_code)),
            removed: clock.happened(slot.removed_at),
            signals: numbers(slot.signals),
            handled: numbers(slot.handled),
            outside: numbers(slot.outside),
            reopened: clock.happened(slot.reopened_at),
            entered: clock.happened(slot.entered_at),
            last_new: clock.happened(slot.last_new_at),
            lost: Lost { calls: slot.lost_calls, values: slot.lost_values, denials: slot.lost_denials },
        }
    }
}

/// As wait(2) encodes it.
fn exit(at: SystemTime, status: u64) -> Exit {
    let [signal, code, ..] = status.to_le_bytes();
    let signal = signal & 0x7f;
    Exit { at, code, signal: (signal != 0).then_some(signal) }
}

/// The numbers of a signal set's members, from 1.
fn numbers(set: u64) -> Vec<u8> {
    (1..=64).filter(|signal| set & 1 << (signal - 1) != 0).collect()
}

/// The bytes of words as the kernel's programs write them.
pub(crate) fn bytes<const N: usize>(words: &[u64]) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, value) in bytes.iter_mut().zip(words.iter().flat_map(|word| word.to_ne_bytes())) {
        *byte = value;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_says_a_status_or_a_signal() {
        let at = SystemTime::UNIX_EPOCH;
        assert_eq!(exit(at, 3 << 8), Exit { at, code: 3, signal: None });
        // A core dump is bit 7.
        assert_eq!(exit(at, 0x80 | 31), Exit { at, code: 0, signal: Some(31) });
    }

    #[test]
    fn calls_are_kept_apart_by_architecture() {
        assert_eq!(Call::foreign(0x4000_0003, 20).name(), Some("getpid"));
        assert_eq!(Call::foreign(0xc000_003e, 39).name(), Some("getpid"));
        assert_eq!(Call::foreign(0xc000_003e, 0x4000_0000 | 39).arch, Some(Arch::X32));
        assert_eq!(Call::foreign(0xdead_beef, 39).name(), None);
    }
}
