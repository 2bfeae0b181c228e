//! A profile of what was recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    Argument, Call, Mark, Observation, Tally, Values,
    bounds::{Bounds, Conditions},
    companions::{Companions, companions},
    recorded_argument,
};
use crate::{
    Action, Arch, Baseline, Profile, Rule,
    compose::{NamedProfile, UnionError, union},
    constants,
    evaluate::{Outcome, Passage, Runtime},
    runtime_base::{self, ALWAYS},
    runtime_default::{Fallback, fall_back},
    syscalls::{self, Lookup},
};

/// On i386 the vDSO returns from handlers that take no `siginfo` by this call: sigreturn(2).
const I386_SIGRETURN: &str = "sigreturn";

/// What profile to make.
#[derive(Clone, Debug)]
pub struct Wishes<'a> {
    /// What becomes of every other call; it must deny.
    pub default_action: Action,
    /// Its errno. 38 (`ENOSYS`) lets programs and runc fall back, as they do on an older kernel; see `docs/lint.md`, SP028.
    pub default_errno_ret: Option<u32>,
    /// The calls to allow with the recorded values of their argument alone; `*` for all that are recorded.
    pub argument_rules: BTreeSet<String>,
    /// Profiles that this one will be united with: what they allow is left out.
    pub bases: Vec<NamedProfile<'a>>,
    /// What the profile should be no looser than.
    pub baseline: &'a Baseline,
}

/// A profile of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The profile.
    pub profile: Profile,
    /// What whoever reviews it has to know.
    pub notes: Vec<Note>,
    /// Calls that the profile does not allow, and that the program may make under another load.
    pub companions: Vec<Companions>,
}

/// Something to know of a profile that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Calls with numbers that have no name yet: the profile denies them.
    Unnamed(Vec<Call>),
    /// Containers without a filter were recorded, so the runtime's own calls were added.
    RuntimeCallsAdded,
    /// Calls that are allowed whatever their argument, although a rule was asked for, and why.
    NoArgumentRule {
        /// The call.
        call: String,
        /// In words.
        why: &'static str,
    },
    /// Calls that are allowed as the runtime's default allows them: with some arguments alone, to which the recording kept.
    BoundedAsByDefault(Vec<String>),
    /// Calls that the profile lets further than the baseline does: `baseline`, in words, and the calls.
    Beyond {
        /// The baseline.
        baseline: String,
        /// The calls.
        calls: Vec<String>,
    },
    /// A call is answered with ENOSYS, so that callers make another one.
    FallsBack(&'static Fallback),
    /// Sockets are allowed of more domains than were seen: whether of all, and those that were seen where they are known.
    OpenDomains {
        /// Whether of every domain.
        all: bool,
        /// Those that were seen, in words.
        seen: Vec<String>,
    },
    /// Calls that the bases allow already.
    LeftToBases(Vec<String>),
    /// A call was made through an architecture that the bases don't list.
    NotInBases(Arch),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed(calls) => {
                let calls: Vec<_> = calls.iter().map(|call| format!("{} {}", call.arch, call.number)).collect();
                write!(f, "the profile denies calls that have no name in this version: {}", calls.join(", "))
            }
            Self::RuntimeCallsAdded => f.write_str(
                "containers without a filter were recorded, in which the runtime's own calls can't be seen: those of runc were added",
            ),
            Self::NoArgumentRule { call, why } => write!(f, "{call} is allowed with every argument: {why}"),
            Self::BoundedAsByDefault(names) => write!(
                f,
                "allowed with the arguments alone that the runtime's default profile allows, to which the recording kept: {}",
                names.join(", ")
            ),
            Self::Beyond { baseline, calls } => write!(
                f,
                "looser than {baseline}, so that a namespace needs a permission for it: {}",
                calls.join(", ")
            ),
            Self::FallsBack(Fallback { call, instead, why, .. }) => write!(
                f,
                "{call} is answered with ENOSYS, as by the runtime default: {why}, and callers make {instead} instead, which is allowed as \
                 there"
            ),
            Self::OpenDomains { all, seen } => {
                let open = if *all { "every domain, AF_VSOCK among them" } else { "the domains that the runtime default allows" };
                write!(f, "socket is allowed with {open}; --args socket (spec.profile.argumentRules) allows those that were seen alone")?;
                if seen.is_empty() { Ok(()) } else { write!(f, ": {}", seen.join(", ")) }
            }
            Self::LeftToBases(names) => write!(f, "left to the bases, which allow them: {}", names.join(", ")),
            Self::NotInBases(arch) => {
                write!(f, "calls were made through {arch}, which the bases' architectures don't list: they would be killed")
            }
        }
    }
}

/// Why no profile can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MakeError {
    /// There is nothing to make it of.
    #[error("nothing was recorded: a profile of it would deny every call")]
    Nothing,
    /// The default lets calls through.
    #[error("defaultAction: {0} doesn't deny, so the profile would confine nothing")]
    PermissiveDefault(Action),
    /// It can't be united with its bases.
    #[error(transparent)]
    Bases(#[from] UnionError),
}

/// Makes the profile that allows what was recorded.
///
/// Every profile allows the calls that no program can do without and that a run may not show ([`ALWAYS`]).
///
/// # Errors
/// Where nothing was recorded, the default does not deny, or the result and its bases contradict each other.
pub fn make(tally: &Tally, wishes: &Wishes<'_>) -> Result<Made, MakeError> {
    let total = tally.total();
    if total.calls.is_empty() {
        return Err(MakeError::Nothing);
    }
    let default = Outcome::new(wishes.default_action, wishes.default_errno_ret);
    if default.passage() != Passage::Denied {
        return Err(MakeError::PermissiveDefault(wishes.default_action));
    }
    let mut notes = Vec::new();
    let arches: BTreeSet<Arch> = total.calls.keys().map(|call| call.arch).collect();
    let mut names = named(&total, &mut notes);
    add_unseen(&mut names, &total, &arches, &mut notes);
    let bounds = Bounds::new(wishes.baseline, &arches);
    let mut conditional = argument_rules(tally, &names, wishes, &bounds, &mut notes);
    names.retain(|name| !conditional.contains_key(name));
    leave_to_bases(&mut names, wishes, &mut notes);
    let bounded = bounds.of_default(tally, &names);
    if !bounded.is_empty() {
        notes.push(Note::BoundedAsByDefault(bounded.keys().cloned().collect()));
        names.retain(|name| !bounded.contains_key(name));
        conditional.extend(bounded);
    }
    let mut profile = Profile {
        default_action: wishes.default_action,
        default_errno_ret: wishes.default_errno_ret,
        architectures: architectures(&arches, wishes, &mut notes),
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls: rules(names, conditional),
    };
    notes.extend(fall_back(&mut profile, wishes.baseline, &arches).into_iter().map(Note::FallsBack));
    notes.extend(open_domains(tally, &profile, wishes));
    let beyond = bounds.beyond(&profile);
    if !beyond.is_empty() {
        let calls = beyond.into_iter().map(str::to_owned).collect();
        notes.push(Note::Beyond { baseline: wishes.baseline.to_string(), calls });
    }
    if !wishes.bases.is_empty() {
        let this = NamedProfile { name: "the recording", profile: &profile };
        union(&[&[this], wishes.bases.as_slice()].concat())?;
    }
    let allowed = profile.syscalls.iter().chain(wishes.bases.iter().flat_map(|base| &base.profile.syscalls));
    let recorded = total.calls.keys().filter_map(|call| call.name());
    let known = allowed.flat_map(|rule| &rule.names).map(String::as_str).chain(recorded).collect();
    let companions = companions(&known, &bounds, &arches);
    Ok(Made { profile, notes, companions })
}

fn named(total: &Observation, notes: &mut Vec<Note>) -> BTreeSet<String> {
    let unnamed: Vec<Call> = total.calls.keys().copied().filter(|call| call.name().is_none()).collect();
    if !unnamed.is_empty() {
        notes.push(Note::Unnamed(unnamed));
    }
    total.calls.keys().filter_map(|call| call.name()).map(str::to_owned).collect()
}

/// That sockets of domains are allowed that nobody was seen to use.
fn open_domains(tally: &Tally, profile: &Profile, wishes: &Wishes<'_>) -> Option<Note> {
    const SOCKET: &str = "socket";
    if wishes.argument_rules.contains(SOCKET) || wishes.argument_rules.contains("*") {
        return None;
    }
    let mut rules =
        profile.syscalls.iter().filter(|rule| rule.names.iter().any(|name| name == SOCKET)).peekable();
    rules.peek()?;
    let all = rules.any(|rule| rule.args.is_empty());
    let name =
        |value: u64| constants::names(Arch::X86_64, SOCKET, 0, value).unwrap_or_else(|| value.to_string());
    let seen = values_of(tally, SOCKET, 0).unwrap_or_default().into_iter().map(name).collect();
    Some(Note::OpenDomains { all, seen })
}

/// Adds what is needed and could not be seen.
fn add_unseen(
    names: &mut BTreeSet<String>,
    total: &Observation,
    arches: &BTreeSet<Arch>,
    notes: &mut Vec<Note>,
) {
    names.extend(ALWAYS.iter().map(|name| (*name).to_owned()));
    if arches.contains(&Arch::X86) {
        names.insert(I386_SIGRETURN.to_owned());
    }
    if total.marks.contains(&Mark::Unfiltered) {
        let exists = |name: &str| {
            arches.iter().any(|arch| matches!(syscalls::lookup(*arch, name), Lookup::Known { .. }))
        };
        names.extend(
            [Runtime::Runc, Runtime::Crun]
                .into_iter()
                .flat_map(|runtime| runtime_base::names(runtime, false))
                .filter(|name| exists(name))
                .map(str::to_owned),
        );
        notes.push(Note::RuntimeCallsAdded);
    }
}

/// The calls that are allowed with some values of one argument alone, and the conditions.
fn argument_rules(
    tally: &Tally,
    names: &BTreeSet<String>,
    wishes: &Wishes<'_>,
    bounds: &Bounds<'_>,
    notes: &mut Vec<Note>,
) -> BTreeMap<String, Conditions> {
    let all = wishes.argument_rules.contains("*");
    let mut rules = BTreeMap::new();
    for name in names.iter().filter(|name| all || wishes.argument_rules.contains(*name)) {
        match recorded_argument(name) {
            None if all => {}
            None => {
                notes.push(Note::NoArgumentRule { call: name.clone(), why: "no argument of it is recorded" })
            }
            Some(argument) => match values_of(tally, name, argument.index) {
                Ok(values) => {
                    let of_value = |value| bounds.of_value(name, argument, value);
                    rules.insert(name.clone(), values.into_iter().flat_map(of_value).collect());
                }
                Err(why) => notes.push(Note::NoArgumentRule { call: name.clone(), why }),
            },
        }
    }
    rules
}

/// The values of a call's argument, if every one of them is known wherever the call was seen.
pub(super) fn values_of(tally: &Tally, name: &str, index: u8) -> Result<BTreeSet<u64>, &'static str> {
    let mut all = BTreeSet::new();
    for observation in tally.subjects.values() {
        for call in observation.calls.keys().filter(|call| call.name() == Some(name)) {
            if observation.losses.values > 0 {
                return Err("values were lost");
            }
            match observation.values.get(&Argument { call: *call, index }) {
                Some(Values::These(values)) => all.extend(values),
                Some(Values::TooMany) => return Err("it was called with too many different values"),
                None => return Err("it was also called where its values can't be seen"),
            }
        }
    }
    if all.len() > super::MAX_VALUES {
        return Err("it was called with too many different values");
    }
    if all.is_empty() { Err("the recording did not see it called") } else { Ok(all) }
}

/// Takes out the calls that a base allows in any case: of several rules for a call the first without conditions decides.
fn leave_to_bases(names: &mut BTreeSet<String>, wishes: &Wishes<'_>, notes: &mut Vec<Note>) {
    let allows = |base: &NamedProfile<'_>, name: &String| {
        let mut rules = base.profile.syscalls.iter();
        rules
            .find(|rule| rule.args.is_empty() && rule.names.contains(name))
            .is_some_and(|rule| rule.action == Action::Allow)
    };
    let left: Vec<String> =
        names.iter().filter(|name| wishes.bases.iter().any(|base| allows(base, name))).cloned().collect();
    if !left.is_empty() {
        names.retain(|name| !left.contains(name));
        notes.push(Note::LeftToBases(left));
    }
}

/// The architectures that were seen. Where a base states some, they are left to it, because those that state any must agree.
fn architectures(arches: &BTreeSet<Arch>, wishes: &Wishes<'_>, notes: &mut Vec<Note>) -> Vec<Arch> {
    let stated: Vec<&Vec<Arch>> =
        wishes.bases.iter().map(|base| &base.profile.architectures).filter(|list| !list.is_empty()).collect();
    let Some(stated) = stated.first() else { return arches.iter().copied().collect() };
    notes.extend(arches.iter().copied().filter(|arch| !stated.contains(arch)).map(Note::NotInBases));
    Vec::new()
}

fn rules(names: BTreeSet<String>, conditional: BTreeMap<String, Conditions>) -> Vec<Rule> {
    let allow = |names: Vec<String>, args| Rule { names, action: Action::Allow, errno_ret: None, args };
    let mut rules = Vec::new();
    if !names.is_empty() {
        rules.push(allow(names.into_iter().collect(), Vec::new()));
    }
    for (name, conditions) in conditional {
        rules.extend(conditions.into_iter().map(|args| allow(vec![name.clone()], args)));
    }
    rules
}
