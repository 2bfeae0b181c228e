//! What was seen: calls by architecture, and the values of arguments that rules were asked for.

use std::collections::BTreeSet;

use super::{
    CallName, Example,
    strace::{Call, Event},
    unread::MAX_EXAMPLES,
};
use crate::{Arch, constants::clone_flags};

/// The most values of one argument that become rules; a call with more is allowed whole.
pub const MAX_VALUES: usize = 64;

/// The flags of clone(2) that make namespaces (`include/uapi/linux/sched.h` of Linux 6.12). `CLONE_NEWTIME` is not among
/// them: clone takes that bit for a part of the exit signal.
pub(super) const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// An argument that rules can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentRule {
    /// The name by which it is asked for.
    pub call: &'static str,
    /// The calls that it stands for.
    pub names: &'static [&'static str],
    /// Which argument; `None` for clone's flags, whose place depends on the architecture.
    pub index: Option<u8>,
    /// What the argument is, for people.
    pub what: &'static str,
}

/// Every argument that rules can be made of: numbers that say what a call does, of which a program uses few.
pub const RULED_ARGUMENTS: &[ArgumentRule] = &[
    ArgumentRule { call: "clone", names: &["clone"], index: None, what: "namespace flags" },
    ArgumentRule { call: "fcntl", names: &["fcntl", "fcntl64"], index: Some(1), what: "command" },
    ArgumentRule { call: "ioctl", names: &["ioctl"], index: Some(1), what: "request" },
    ArgumentRule { call: "personality", names: &["personality"], index: Some(0), what: "persona" },
    ArgumentRule { call: "prctl", names: &["prctl"], index: Some(0), what: "option" },
    ArgumentRule { call: "setns", names: &["setns"], index: Some(1), what: "namespace type" },
    ArgumentRule { call: "socket", names: &["socket"], index: Some(0), what: "domain" },
    ArgumentRule { call: "unshare", names: &["unshare"], index: Some(0), what: "flags" },
];

/// The values of one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) rule: ArgumentRule,
    pub(super) name: CallName,
    /// At most one more than [`MAX_VALUES`].
    pub(super) seen: BTreeSet<u64>,
    /// How often it could not be read.
    pub(super) unread: u64,
    pub(super) examples: Vec<Example>,
}

impl Values {
    fn add(&mut self, call: &Call<'_>) {
        let index = self.rule.index.unwrap_or_else(|| clone_flags(call.arch));
        match call.value(usize::from(index)) {
            Some(value) if self.rule.index.is_none() => self.insert(value & NAMESPACE_FLAGS),
            // All of them are ints to the kernel, whatever stands in the high word.
            Some(value) => self.insert(value & u64::from(u32::MAX)),
            None => {
                self.unread += 1;
                if self.examples.len() < MAX_EXAMPLES {
                    self.examples.push(Example::new(call.line, call.written()));
                }
            }
        }
    }

    fn insert(&mut self, value: u64) {
        if self.seen.len() <= MAX_VALUES {
            self.seen.insert(value);
        }
    }
}

/// How often each call was made, by architecture.
type Counts = [Option<Box<[u64]>>; Arch::ALL.len()];

/// What was seen in one trace, log or table, or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Call by call.
    seen: Counts,
    /// By a table: `strace -C` writes one of the same calls.
    tabled: Counts,
    values: Vec<Values>,
    /// Whether clone3 was seen to make a namespace.
    clone3_makes_namespaces: bool,
}

impl Observed {
    /// Nothing yet; of the calls named, arguments will be kept. Names that [`RULED_ARGUMENTS`] lacks are ignored.
    #[must_use]
    pub fn with_arguments(calls: &BTreeSet<&str>) -> Self {
        let asked = RULED_ARGUMENTS.iter().filter(|rule| calls.contains(rule.call));
        let values = asked
            .flat_map(|rule| {
                rule.names.iter().filter_map(move |name| Some((rule, CallName::find(name.as_bytes())?)))
            })
            .map(|(rule, name)| Values {
                rule: *rule,
                name,
                seen: BTreeSet::new(),
                unread: 0,
                examples: Vec::new(),
            })
            .collect();
        Self { values, ..Self::default() }
    }

    /// Takes in what a trace says.
    pub fn record(&mut self, event: Event<'_>) {
        match event {
            Event::Call(call) => {
                add(&mut self.seen, call.arch, call.name, 1);
                if call.name.as_str() == "clone3" {
                    self.clone3_makes_namespaces |=
                        memchr::memmem::find(call.written(), b"CLONE_NEW").is_some();
                }
                if let Some(values) = self.values.iter_mut().find(|values| values.name == call.name) {
                    values.add(&call);
                }
            }
            Event::Tabled { arch, name, calls } => add(&mut self.tabled, arch, name, calls.unwrap_or(1)),
        }
    }

    /// Takes in that a call was made, of whose arguments nothing is known.
    pub fn add(&mut self, arch: Arch, name: CallName, calls: u64) {
        add(&mut self.tabled, arch, name, calls);
    }

    /// Takes in what another trace of other calls says. Both must have been asked for the same arguments.
    pub fn absorb(&mut self, other: &Self) {
        for (arch, name, calls) in other.calls() {
            add(&mut self.seen, arch, name, calls);
        }
        self.clone3_makes_namespaces |= other.clone3_makes_namespaces;
        for theirs in &other.values {
            let Some(mine) = self.values.iter_mut().find(|mine| mine.name == theirs.name) else { continue };
            theirs.seen.iter().for_each(|&value| mine.insert(value));
            mine.unread += theirs.unread + other.without_arguments(theirs.name);
            let room = MAX_EXAMPLES - mine.examples.len().min(MAX_EXAMPLES);
            mine.examples.extend(theirs.examples.iter().take(room).cloned());
        }
    }

    /// How many calls only a table told of.
    pub(super) fn without_arguments(&self, name: CallName) -> u64 {
        Arch::ALL
            .iter()
            .map(|&arch| get(&self.tabled, arch, name).saturating_sub(get(&self.seen, arch, name)))
            .sum()
    }

    /// Every call that was seen, by architecture and name, and how often.
    pub fn calls(&self) -> impl Iterator<Item = (Arch, CallName, u64)> {
        let here = |arch: &Arch| self.seen[*arch as usize].is_some() || self.tabled[*arch as usize].is_some();
        Arch::ALL.iter().copied().filter(here).flat_map(move |arch| {
            CallName::all().filter_map(move |name| {
                let calls = get(&self.seen, arch, name).max(get(&self.tabled, arch, name));
                (calls > 0).then_some((arch, name, calls))
            })
        })
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls().next().is_none()
    }

    pub(super) const fn clone3_makes_namespaces(&self) -> bool {
        self.clone3_makes_namespaces
    }

    pub(super) fn values(&self) -> &[Values] {
        &self.values
    }
}

fn add(counts: &mut Counts, arch: Arch, name: CallName, calls: u64) {
    let of_arch = counts[arch as usize].get_or_insert_with(|| vec![0; CallName::count()].into_boxed_slice());
    let count = &mut of_arch[name.index()];
    *count = count.saturating_add(calls);
}

fn get(counts: &Counts, arch: Arch, name: CallName) -> u64 {
    counts[arch as usize].as_ref().map_or(0, |counts| counts[name.index()])
}
