//! A profile that allows what was seen and denies the rest.

use std::{collections::BTreeSet, fmt};

use super::{
    CallName, Example, Observed,
    observed::{MAX_VALUES, NAMESPACE_FLAGS, Values},
};
use crate::{
    Action, Arch, Arg, Baseline, Operator, Profile, Rule,
    runtime_base::ALWAYS,
    runtime_default::{Fallback, fall_back},
    syscalls,
};

/// How a profile is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// What happens to calls that were not seen.
    pub default_action: Action,
    /// The errno of that, where the action has one. With `ENOSYS` (38) programs fall back from calls that are too new
    /// for their kernel, as runc does from `openat2`; with `EPERM` they give up.
    pub default_errno: Option<u32>,
    /// Architectures beside those that were seen.
    pub architectures: BTreeSet<Arch>,
    /// Calls to allow beside those that were seen, such as the runtime's own.
    pub base: BTreeSet<&'static str>,
}

impl Default for Generation {
    fn default() -> Self {
        const ENOSYS: u32 = 38;
        Self {
            default_action: Action::Errno,
            default_errno: Some(ENOSYS),
            architectures: BTreeSet::new(),
            base: BTreeSet::new(),
        }
    }
}

/// A profile that was made, and what its reader has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The profile.
    pub profile: Profile,
    /// Where it allows more than was asked for, and why.
    pub notes: Vec<Note>,
}

/// Where a profile allows more than was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The argument of some calls could not be read.
    ArgumentUnread {
        /// The call.
        call: &'static str,
        /// What the argument is.
        what: &'static str,
        /// How many.
        count: u64,
        /// The first of them; none where a table told of the calls.
        examples: Vec<Example>,
    },
    /// The argument has more values than become rules.
    TooManyValues {
        /// The call.
        call: &'static str,
        /// What the argument is.
        what: &'static str,
    },
    /// The base allows the call, and says nothing of arguments.
    InBase {
        /// The call.
        call: &'static str,
    },
    /// Sockets are allowed of every domain, and nobody asked for those alone that were seen.
    OpenDomains {
        /// Whether the arguments of every such call were seen, so that it may be asked for.
        seen: bool,
    },
    /// Programs make namespaces by clone3 as well.
    Clone3,
    /// A call is answered with ENOSYS, so that callers make another one.
    FallsBack(&'static Fallback),
    /// Some architectures take clone's flags in another place than others, and a profile's rules are for all.
    ClonePlaces,
    /// Conditions do not hold where an architecture makes the call through another one.
    Multiplexed {
        /// The call.
        call: &'static str,
        /// The architecture.
        arch: Arch,
        /// The call that it is made through.
        through: &'static str,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArgumentUnread { call, what, count, examples } => {
                write!(
                    f,
                    "{call} is allowed whatever its {what}: of {count} {} it could not be read",
                    plural(*count, "call", "calls")
                )?;
                match examples.first() {
                    Some(first) => write!(f, ", first in line {}: {}", first.line, first.text),
                    None => f.write_str(", because a table has no arguments"),
                }
            }
            Self::TooManyValues { call, what } => {
                write!(f, "{call} is allowed whatever its {what}: it has more than {MAX_VALUES} values")
            }
            Self::InBase { call } => {
                write!(f, "{call} is allowed whatever its arguments: the runtime's own calls are among the base")
            }
            Self::OpenDomains { seen } => {
                let remedy = if *seen {
                    "--args socket allows those that were seen alone"
                } else {
                    "nothing here tells which were used; a trace does (`strace -f`, and import strace --args socket)"
                };
                write!(f, "socket is allowed with every domain, AF_VSOCK among them; {remedy}")
            }
            Self::Clone3 => f.write_str(
                "clone3 is allowed whole, new namespaces included: its flags are in memory, where no filter sees them",
            ),
            Self::FallsBack(Fallback { call, instead, why, .. }) => write!(
                f,
                "{call} is answered with ENOSYS, as by the runtime default: {why}, and callers make {instead} instead, which is allowed as \
                 there"
            ),
            Self::ClonePlaces => f.write_str(
                "clone is allowed whatever its namespace flags: IBM Z has them in another place than the other \
                 architectures, and rules are for all of them",
            ),
            Self::Multiplexed { call, arch, through } => {
                write!(f, "on {arch} {call} is allowed whatever its arguments where it is made through {through}")
            }
        }
    }
}

fn plural<'w>(count: u64, one: &'w str, more: &'w str) -> &'w str {
    if count == 1 { one } else { more }
}

impl Observed {
    /// The profile that allows what was seen.
    ///
    /// Where rules for an argument were asked for, a call is allowed with the values that were seen. A value above
    /// 2^31 is compared by its low word: the C library decides whether a negative int is widened with its sign (glibc
    /// and musl differ for ioctl), and the kernel looks at the low word alone.
    #[must_use]
    pub fn profile(&self, generation: &Generation) -> Generated {
        let mut names: BTreeSet<&str> =
            ALWAYS.iter().copied().chain(generation.base.iter().copied()).collect();
        let mut architectures = generation.architectures.clone();
        for (arch, name, _) in self.calls() {
            architectures.insert(arch);
            names.insert(name.as_str());
        }
        let mut notes = Vec::new();
        let mut rules = Vec::new();
        for values in self.values() {
            let name = values.name.as_str();
            if generation.base.contains(name) {
                notes.push(Note::InBase { call: name });
                continue;
            }
            if !names.contains(name) {
                continue;
            }
            match ruled(values, &architectures, self.without_arguments(values.name)) {
                Ok(mut of_call) => {
                    names.remove(name);
                    rules.append(&mut of_call);
                    multiplexed(name, &architectures, &mut notes);
                }
                Err(note) => notes.push(note),
            }
        }
        let all = Rule {
            names: names.into_iter().map(str::to_owned).collect(),
            action: Action::Allow,
            errno_ret: None,
            args: Vec::new(),
        };
        let mut profile = Profile {
            default_action: generation.default_action,
            default_errno_ret: generation.default_errno,
            architectures: architectures.iter().copied().collect(),
            flags: Vec::new(),
            listener_path: None,
            listener_metadata: None,
            syscalls: [vec![all], rules].concat(),
        };
        if self.clone3_makes_namespaces() {
            notes.push(Note::Clone3);
        } else {
            let changed = fall_back(&mut profile, &Baseline::strictest(), &architectures);
            notes.extend(changed.into_iter().map(Note::FallsBack));
        }
        notes.extend(self.open_domains(&profile));
        Generated { profile, notes }
    }

    /// That sockets of domains are allowed that nobody was seen to use. Where rules for it were asked for, another note says why there are none.
    fn open_domains(&self, profile: &Profile) -> Option<Note> {
        const SOCKET: &str = "socket";
        let is_socket = |name: &CallName| name.as_str() == SOCKET;
        let mut whole = profile.syscalls.iter().filter(|rule| rule.args.is_empty());
        if self.values().iter().any(|values| is_socket(&values.name))
            || !whole.any(|rule| rule.names.iter().any(|name| name == SOCKET))
        {
            return None;
        }
        let name = CallName::find(SOCKET.as_bytes())?;
        let called = self.calls().any(|(_, name, _)| is_socket(&name));
        Some(Note::OpenDomains { seen: called && self.without_arguments(name) == 0 })
    }
}

/// The rules for one call, one for each value.
fn ruled(values: &Values, architectures: &BTreeSet<Arch>, tabled: u64) -> Result<Vec<Rule>, Note> {
    let (call, what) = (values.name.as_str(), values.rule.what);
    let unread = values.unread + tabled;
    if unread > 0 {
        return Err(Note::ArgumentUnread { call, what, count: unread, examples: values.examples.clone() });
    }
    if values.seen.len() > MAX_VALUES {
        return Err(Note::TooManyValues { call, what });
    }
    let places: BTreeSet<u8> =
        architectures.iter().map(|&arch| crate::constants::clone_flags(arch)).collect();
    let index = match values.rule.index {
        Some(index) => index,
        None if places.len() > 1 => return Err(Note::ClonePlaces),
        None => places.first().copied().unwrap_or(0),
    };
    let rule = |&value: &u64| Rule {
        names: vec![call.to_owned()],
        action: Action::Allow,
        errno_ret: None,
        args: vec![condition(index, value, values.rule.index.is_none())],
    };
    Ok(values.seen.iter().map(rule).collect())
}

fn condition(index: u8, value: u64, flags: bool) -> Arg {
    let masked = |mask| Arg { index, value: mask, value_two: value, op: Operator::MaskedEq };
    if flags {
        masked(NAMESPACE_FLAGS)
    } else if value >> 31 != 0 {
        masked(u64::from(u32::MAX))
    } else {
        Arg { index, value, value_two: 0, op: Operator::Equal }
    }
}

fn multiplexed(call: &'static str, architectures: &BTreeSet<Arch>, notes: &mut Vec<Note>) {
    for &arch in architectures {
        if let Some(way) = syscalls::multiplexed(arch, call) {
            notes.push(Note::Multiplexed { call, arch, through: way.through });
        }
    }
}
