//! A profile compiled for one architecture.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::{
    Decision, Outcome, Reason, Runtime, arch,
    merge::{Allowance, Merging},
    row::{ARGUMENTS, Condition, Entry, Group, Row, alternatives},
};
use crate::{
    Action, Arch, Arg, Profile,
    syscalls::{self, Lookup},
};

const ENOSYS: u32 = 38;

/// Numbers below this are looked up in an array; a few of Arm's lie far above.
const DENSE: u32 = 8192;

/// No entry, in [`Table::dense`].
const NONE: u16 = u16::MAX;

/// What the filter does with each call of one architecture.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// By number, without x32's bit.
    entries: Vec<(u32, Entry)>,
    /// The conditional rules before the unconditional one of a number.
    replaced: BTreeMap<u32, Group>,
    /// The conditional rules of calls that can't be made here; libseccomp merges them all the same.
    absent: BTreeMap<String, Group>,
    /// Indexes into `entries`, by number.
    dense: Vec<u16>,
    default: Decision,
    stub: Option<Stub>,
    /// What happens to the numbers from each of these on, where a filter was read; none where a profile was compiled.
    stretches: Vec<(u32, Entry)>,
    work: usize,
    without_number: String,
}

/// runc's prologue, which answers `ENOSYS` to calls newer than any that the profile names.
#[derive(Clone, Copy, Debug)]
struct Stub {
    /// The greatest number that the profile names.
    last: u32,
    /// Whether number 0, which s390 puts unknown calls under, gets `ENOSYS` too.
    zero: bool,
}

impl Table {
    pub(crate) fn new(profile: &Profile, runtime: Runtime, arch: Arch) -> Self {
        let default = Outcome::of_default(profile);
        let mut replaced = BTreeMap::new();
        let rows = rows(profile, runtime, arch);
        let width = arch::width(arch);
        let mut allowance = Allowance::new();
        let absent = rows.absent.into_iter().filter_map(|(name, mut rows)| {
            let unconditional = rows.iter().position(|row| row.conditions.is_empty());
            rows.truncate(unconditional.unwrap_or(rows.len()));
            let merged = rows.len() > 1;
            merged.then(|| (name.to_owned(), Group::in_passing(rows, default, width, &mut allowance)))
        });
        let absent = absent.collect();
        let entries: Vec<_> = rows
            .numbered
            .into_iter()
            .map(|(number, rows)| {
                let (entry, before) = Entry::new(rows, default, width, &mut allowance);
                replaced.extend(before.map(|group| (number, group)));
                (number, entry)
            })
            .collect();
        let size =
            entries.iter().map(|(number, _)| number + 1).filter(|&size| size <= DENSE).max().unwrap_or(0);
        let mut dense = vec![NONE; size as usize];
        for (at, (number, _)) in entries.iter().enumerate() {
            // The table has fewer than 65535 names, and each has one number and one way through another call.
            if let (Some(place), Ok(at)) = (dense.get_mut(*number as usize), u16::try_from(at)) {
                *place = at;
            }
        }
        let stub = match runtime {
            Runtime::Runc => Stub::of(profile, arch),
            Runtime::Crun => None,
        };
        Self {
            entries,
            replaced,
            absent,
            dense,
            default: Decision { outcome: default, reason: Reason::Default },
            stub,
            stretches: Vec::new(),
            work: allowance.used(),
            without_number: String::new(),
        }
    }

    /// What a filter does with the calls from each number on, the first of which is 0. Numbers are without x32's bit.
    pub(crate) fn of_stretches(stretches: Vec<(u32, Entry)>) -> Self {
        Self {
            entries: Vec::new(),
            replaced: BTreeMap::new(),
            absent: BTreeMap::new(),
            dense: Vec::new(),
            default: super::UNLISTED,
            stub: None,
            stretches,
            work: 0,
            without_number: String::new(),
        }
    }

    /// What a filter that was read does with the calls from each number on.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.stretches.iter().map(|(from, entry)| (*from, entry))
    }

    /// What it cost to find out what libseccomp makes of the rules, in comparisons of words.
    pub(crate) const fn work(&self) -> usize {
        self.work
    }

    /// `number` is without x32's bit.
    #[inline]
    pub(crate) fn decide(&self, number: u32, arguments: &[u64; ARGUMENTS]) -> Decision {
        match self.entry(number) {
            Ok(entry) => entry.decide(arguments),
            Err(decision) => decision,
        }
    }

    /// The entry of a number, or what happens to a call without one.
    #[inline]
    pub(crate) fn entry(&self, number: u32) -> Result<&Entry, Decision> {
        if self.stub.is_some_and(|stub| stub.answers(number)) {
            return Err(Decision {
                outcome: Outcome::new(Action::Errno, Some(ENOSYS)),
                reason: Reason::EnosysStub,
            });
        }
        self.rules(number).or_else(|| self.stretch(number)).ok_or(self.default)
    }

    fn stretch(&self, number: u32) -> Option<&Entry> {
        let after = self.stretches.partition_point(|(from, _)| *from <= number);
        after.checked_sub(1).map(|at| &self.stretches[at].1)
    }

    /// What libseccomp makes of a number's rules, whether runc's stub lets calls of it come that far or not.
    #[inline]
    pub(crate) fn rules(&self, number: u32) -> Option<&Entry> {
        let at = match self.dense.get(number as usize) {
            Some(&NONE) => None,
            Some(&at) => Some(usize::from(at)),
            None if number < DENSE => None,
            None => self.entries.binary_search_by_key(&number, |(number, _)| *number).ok(),
        };
        at.map(|at| &self.entries[at].1)
    }

    /// The conditional rules of a number that libseccomp merges before an unconditional one replaces them.
    pub(crate) fn replaced(&self, number: u32) -> Option<&Group> {
        self.replaced.get(&number)
    }

    /// The conditional rules of each call that has no number on this architecture and is not made through another.
    pub(crate) fn absent(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.absent.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// Whether a rule decides some call whatever its arguments.
    pub(super) fn has_unconditional(&self) -> bool {
        self.entries.iter().any(|(_, entry)| matches!(entry, Entry::Always(_)))
    }

    /// Takes every answer of conditional rules for unsure, where libseccomp gets over them at all.
    /// `absent` is the call that keeps the number from being loaded.
    pub(super) fn distrust(&mut self, absent: &str) {
        absent.clone_into(&mut self.without_number);
        for (_, entry) in &mut self.entries {
            if let Entry::Depends(group) = entry
                && !matches!(group.merging, Merging::Refused | Merging::Endless)
            {
                group.merging = Merging::NumberNotLoaded;
            }
        }
    }

    /// The calls that depend on their arguments.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u32, &Group)> {
        self.entries.iter().filter_map(|(number, entry)| match entry {
            Entry::Depends(group) => Some((*number, group)),
            Entry::Always(_) => None,
        })
    }

    /// Takes what one call's conditional rules do for unsure.
    pub(super) fn doubt(&mut self, number: u32) {
        let entry = self.entries.iter_mut().find(|(one, _)| *one == number);
        if let Some((_, Entry::Depends(group))) = entry {
            group.merging = Merging::Unfaithful;
        }
    }

    /// The call that keeps the number from being loaded; empty where none does.
    pub(crate) fn first_without_number(&self) -> &str {
        &self.without_number
    }

    /// The numbers that have rules, without x32's bit.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|(number, _)| *number)
    }

    /// The greatest number that runc's stub lets by, where there is one.
    pub(crate) fn last(&self) -> Option<u32> {
        self.stub.map(|stub| stub.last)
    }

    /// The numbers from which on calls without a rule get something else than those before.
    pub(crate) fn starts(&self) -> impl Iterator<Item = u32> {
        let behind_stub = self.last().map(|last| last.saturating_add(1));
        behind_stub.into_iter().chain(self.stretches.iter().map(|(from, _)| *from))
    }
}

impl Stub {
    /// The stub is there unless the default action lets calls through, for architectures of which the profile names
    /// a call. Calls that a 32-bit architecture makes through `socketcall` or `ipc` count for nothing, because
    /// libseccomp gives them negative numbers.
    ///
    /// runc compares `defaultErrnoRet` with a whole return value where it means `ENOSYS`, so that the stub is there
    /// with `defaultErrnoRet: 38` too. Before 1.3 it left out a native architecture that the profile doesn't list.
    ///
    /// Source: `generatePatch`, `findLastSyscalls` and `generateEnosysStub` in runc's
    /// `libcontainer/seccomp/patchbpf/enosys_linux.go`, v1.5.1.
    fn of(profile: &Profile, arch: Arch) -> Option<Self> {
        const RET_ERRNO_ENOSYS: u32 = 0x0005_0000 | ENOSYS;
        if matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace)
            || profile.default_errno_ret == Some(RET_ERRNO_ENOSYS)
        {
            return None;
        }
        let numbers = profile.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| {
            match syscalls::lookup(arch, name) {
                Lookup::Known { number, multiplexed: None } => number,
                _ => None,
            }
        });
        // 0 is how runc says that there is none; x32's numbers have their bit, so there 0 counts.
        let last = numbers.max().filter(|&last| last != 0)?;
        Some(Self { last: last & !bit(arch), zero: matches!(arch, Arch::S390 | Arch::S390x) })
    }

    const fn answers(self, number: u32) -> bool {
        number > self.last || (self.zero && number == 0)
    }
}

/// The bit that an architecture's numbers carry in the tables.
pub(super) const fn bit(arch: Arch) -> u32 {
    match arch {
        Arch::X32 => arch::X32_BIT,
        _ => 0,
    }
}

/// The rules of a profile for one architecture.
#[derive(Default)]
struct Rows<'a> {
    numbered: BTreeMap<u32, Vec<Row>>,
    /// Those of calls that have no number, by name.
    absent: BTreeMap<&'a str, Vec<Row>>,
}

/// A call that the architecture makes through `socketcall` or `ipc` has its rule there too, with the first argument replaced by the
/// number of the call.
///
/// Source: `abi_rule_add` in libseccomp's `src/syscalls.c`, v2.5.4.
fn rows(profile: &Profile, runtime: Runtime, arch: Arch) -> Rows<'_> {
    let default = Outcome::of_default(profile);
    let mut rows = Rows::default();
    let mut written: FxHashMap<(&str, Outcome, &[Arg]), usize> = FxHashMap::default();
    for (at, rule) in profile.syscalls.iter().enumerate() {
        let outcome = Outcome::of_rule(rule);
        if outcome == default {
            continue;
        }
        let lists = alternatives(&rule.args, runtime, arch::width(arch));
        let row = |conditions| Row { conditions, outcome, rule: at };
        for name in &rule.names {
            // Two of the same show what libseccomp makes of a repetition; a hostile document has thousands.
            let copies = written.entry((name, outcome, &rule.args)).or_default();
            *copies += 1;
            if *copies > 2 {
                continue;
            }
            let (number, multiplexed) = match syscalls::lookup(arch, name) {
                Lookup::Known { number, multiplexed } if number.is_some() || multiplexed.is_some() => {
                    (number, multiplexed)
                }
                lookup if has_place(arch, lookup) => {
                    rows.absent.entry(name).or_default().extend(lists.iter().cloned().map(row));
                    continue;
                }
                _ => continue,
            };
            for list in &lists {
                if let Some(way) = multiplexed
                    && let Some(through) = syscalls::number(arch, way.through)
                {
                    let mut conditions = list.clone();
                    conditions.retain(|condition| condition.index != 0);
                    conditions.insert(0, Condition::equal(0, u64::from(way.argument)));
                    rows.numbered.entry(through).or_default().push(row(conditions));
                }
                if let Some(number) = number {
                    rows.numbered.entry(number & !bit(arch)).or_default().push(row(list.clone()));
                }
            }
        }
    }
    rows
}

/// Whether libseccomp has a place among an architecture's calls for one that has no number there.
pub(super) fn is_merged_without_number(arch: Arch, name: &str) -> bool {
    has_place(arch, syscalls::lookup(arch, name))
}

/// Source: `abi_rule_add` in libseccomp's `src/syscalls.c`, v2.5.4.
fn has_place(arch: Arch, lookup: Lookup) -> bool {
    match lookup {
        Lookup::Known { number, .. } => number.is_none(),
        Lookup::Elsewhere => syscalls::multiplexed(arch, "socket").is_none(),
        Lookup::Unknown | Lookup::NoTable => false,
    }
}
