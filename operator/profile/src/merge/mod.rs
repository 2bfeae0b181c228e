//! One profile of several by strictness: what any of them allows, or what all of them allow.
//!
//! Each call gets the least strict ([`merge`]) or the strictest ([`intersect`]) of the outcomes that the profiles give it,
//! argument by argument, in one total order of outcomes: first by [`Outcome::strictness`], then by errno, where `ENOSYS`
//! is the least strict because callers take it as a reason to fall back. So both are idempotent, commutative and
//! associative in meaning. KEP-6061 and runtime-spec#1317 define the same intersection except that they keep the first
//! operand's errno, which isn't commutative, and that an absent `architectures` takes the other profile's, which lets calls
//! through that the first profile kills.
//!
//! Rules hold on every architecture and for what a call is made through there, so that at times none say which of two errnos a call
//! gets that is denied anyway. Then it gets one of the two.
//!
//! A result is only given where it is shown to do this, over all arguments and on every architecture that it lists.
//!
//! # What the outcomes are compared under
//! Under crun's reading, where the rules say it all. runc answers `ENOSYS` to calls newer than any that a profile names
//! ([`Reason::EnosysStub`](crate::evaluate::Reason::EnosysStub)), so with it the profiles and the result may deny such a
//! call in different ways; whether it is denied at all is the same, and shown to be. There is one exception, in a union: i386
//! and s390 also make `msgget` and its like through `ipc` and `socketcall`, such names don't move runc's stub, and a rule for one may lie behind the
//! stub of its own profile; another profile's names bring it into effect.

mod calls;
mod proof;
mod provenance;

pub use provenance::{Contribution, Note};

use crate::{
    Arch, Profile,
    compose::{FieldConflict, NamedProfile, unordered},
    docker::arch_name,
    evaluate::{Outcome, Refusal, check_everywhere},
};

/// A profile made of several, and what its makers should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combined {
    /// The profile, in canonical form.
    pub profile: Profile,
    /// What each profile did to the result, in their order.
    pub contributions: Vec<Contribution>,
    /// What the profiles didn't agree in, apart from calls.
    pub notes: Vec<Note>,
}

/// Why profiles can't be combined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Nothing to combine.
    #[error("no profile is given to combine")]
    Nothing,
    /// A profile that no runtime starts a container with.
    #[error("{profile}: {refusal}")]
    Refused {
        /// The profile.
        profile: String,
        /// The reason.
        refusal: Refusal,
    },
    /// Flags or the listener's fields differ, of which none is the stricter.
    #[error(transparent)]
    Field(#[from] Box<FieldConflict>),
    /// It is unsure what a profile does.
    #[error(
        "{profile}: the rules for {call} leave open what happens on {node} nodes, where libseccomp decides between them: give it rules that \
         don't overlap, with EQ and MASKED_EQ alone or one condition each, or one rule without conditions (`args`)",
        node = arch_name(*arch)
    )]
    Contested {
        /// The profile.
        profile: String,
        /// The call.
        call: String,
        /// The architecture.
        arch: Arch,
    },
    /// No rules for a call were found that do what they should on every architecture.
    #[error(
        "{call}: {profiles} can't be combined. {conditional} lets {call} through with some arguments alone, and with that no rules do on {node} \
         nodes what all say together (a result is for amd64 and arm64 nodes alike). Give {call} one rule without conditions (`args`) there, or \
         none if the program does without it, and run this again",
        node = arch_name(*arch)
    )]
    Inexpressible {
        /// The call.
        call: String,
        /// The architecture.
        arch: Arch,
        /// The profiles that have rules for it, in words.
        profiles: String,
        /// Those of them whose rules have conditions, in words.
        conditional: String,
    },
    /// Too many rules would be needed.
    #[error("{call}: {profiles} together take too many rules: simplify their conditions on its arguments")]
    TooMany {
        /// The call.
        call: String,
        /// The profiles that have rules for it, in words.
        profiles: String,
    },
    /// Conditions on the arguments of a call that is in no table.
    #[error(
        "{call}: no architecture is known to have this call, so {profiles} can't be compared in its arguments: correct the \
         name, or leave it out"
    )]
    Unknown {
        /// The name.
        call: String,
        /// The profiles that have rules for it, in words.
        profiles: String,
    },
}

/// Which of several outcomes a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    LeastStrict,
    Strictest,
}

impl Wanted {
    fn of(self, outcomes: impl IntoIterator<Item = Outcome>) -> Option<Outcome> {
        outcomes.into_iter().reduce(|one, other| self.winner(one, other))
    }

    fn winner(self, one: Outcome, other: Outcome) -> Outcome {
        if self.prefers(other, one) { other } else { one }
    }

    /// Whether an outcome wins over another one.
    fn prefers(self, one: Outcome, other: Outcome) -> bool {
        match self {
            Self::LeastStrict => order(one) < order(other),
            Self::Strictest => order(one) > order(other),
        }
    }
}

/// The total order of outcomes.
const fn order(outcome: Outcome) -> (u8, bool, Option<u16>) {
    const ENOSYS: u16 = 38;
    let errno = outcome.errno();
    (outcome.strictness(), !matches!(errno, Some(ENOSYS)), errno)
}

/// What any of some profiles allows: every call gets the least strict of their outcomes.
///
/// The result lists every architecture that one of them lists, and its rules hold on all of them. So where the lists
/// differ, what a profile allows is allowed on the others' architectures too; a [`Note`] says so. Nowhere is it stricter
/// than one of the profiles, but that it may kill the process, as every profile's rules do, where a profile kills the thread
/// for a call of an architecture that it doesn't list.
///
/// # Errors
/// Where a profile is refused or leaves open what it does, where fields without an order differ, and where no rules
/// express the result; see [`MergeError`].
pub fn merge(profiles: &[NamedProfile<'_>]) -> Result<Combined, MergeError> {
    let mut architectures: Vec<Arch> =
        profiles.iter().flat_map(|one| &one.profile.architectures).copied().collect();
    architectures.sort_unstable();
    architectures.dedup();
    combine(profiles, architectures, Wanted::LeastStrict)
}

/// What all of some profiles allow: every call gets the strictest of their outcomes.
///
/// The result lists the architectures that all of them list; calls of others are killed, as at least one of the profiles
/// does. A node's own architecture is always filtered, so an absent list says that there is no other. Nowhere is it looser than one of the
/// profiles, but that it kills the thread where a profile kills the process for a call of an architecture that
/// another one doesn't list.
///
/// # Errors
/// As [`merge`].
pub fn intersect(profiles: &[NamedProfile<'_>]) -> Result<Combined, MergeError> {
    let (first, rest) = profiles.split_first().ok_or(MergeError::Nothing)?;
    let mut architectures = first.profile.architectures.clone();
    architectures.retain(|arch| rest.iter().all(|one| one.profile.architectures.contains(arch)));
    combine(profiles, architectures, Wanted::Strictest)
}

fn combine(
    profiles: &[NamedProfile<'_>],
    architectures: Vec<Arch>,
    wanted: Wanted,
) -> Result<Combined, MergeError> {
    for one in profiles {
        check_everywhere(one.profile)
            .map_err(|refusal| MergeError::Refused { profile: one.name.to_owned(), refusal })?;
    }
    let defaults = profiles.iter().map(|one| Outcome::of_default(one.profile));
    let default = wanted.of(defaults).ok_or(MergeError::Nothing)?;
    let stated = profiles.iter().find(|one| Outcome::of_default(one.profile) == default);
    let result = Profile {
        default_action: default.action(),
        default_errno_ret: stated.and_then(|one| one.profile.default_errno_ret),
        architectures,
        ..unordered(profiles)?
    };
    let distinct = distinct(profiles);
    let profile = match &distinct[..] {
        // Nothing has to be written anew.
        [one] => Profile { syscalls: one.profile.syscalls.clone(), ..result },
        several => calls::with_rules(result, several, wanted)?,
    };
    Ok(Combined {
        profile: profile.canonical(),
        contributions: provenance::contributions(profiles, wanted),
        notes: provenance::notes(profiles, wanted),
    })
}

/// The profiles without repetitions: replicas of a workload often record the same.
fn distinct<'a>(profiles: &[NamedProfile<'a>]) -> Vec<NamedProfile<'a>> {
    let mut seen = std::collections::HashSet::new();
    profiles.iter().filter(|one| seen.insert(one.profile.canonical())).copied().collect()
}
