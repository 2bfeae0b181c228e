//! What a filter keeps a container runtime from giving up.
//!
//! Where `no_new_privs` is not set, runc and crun load the filter first and give up privileges under it. A call that the filter answers
//! with success, or with an errno that the runtime goes on after, gives nothing up: the program starts with a uid, capabilities or
//! descriptors that its pod did not ask for. So denying a call can be worse than allowing it. Which answers keep what is measured, for
//! each version of each runtime; `data/privileges.tsv` is the table, `data/README.md` says how it is made.
//!
//! Source: `linuxStandardInit.Init` in runc's `libcontainer/standard_init_linux.go`, `InitSeccomp` before `finalizeNamespace`;
//! `container_init_setup` and `container_init` in crun's `src/libcrun/container.c`.

mod table;

use std::{collections::BTreeSet, fmt};

use crate::{
    Action, Arch,
    compare::{Answer, Budget, Case, Side, meet_arguments},
    evaluate::{Evaluator, Outcome, Passage},
    syscalls,
};
use table::{TABLE, Target};

/// The calls by which a process gives up or takes on privileges. Of these an answer that was not measured is taken for one that keeps
/// something, but for [`USUAL`].
const CALLS: [&str; 13] = [
    "capget",
    "capset",
    "prctl",
    "seccomp",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
];

/// `EPERM` and `ENOSYS`: what profiles deny with, so that no runtime can take it for anything but a failure.
const USUAL: [u16; 2] = [1, 38];

/// An answer with which a container runtime starts a container that has more than its pod asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPrivilege {
    /// The call that the runtime makes.
    pub call: &'static str,
    /// The arguments with which the profile answers so: `option is PR_CAPBSET_DROP`.
    pub condition: String,
    /// The answer.
    pub outcome: Outcome,
    /// What is kept then.
    pub kept: Kept,
    /// The index of the rule that answers; none for the default action.
    pub rule: Option<usize>,
}

/// What a container keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// As it was measured.
    Measured {
        /// What, in words: `bounding, uid`.
        what: String,
        /// The runtime and version that it was seen with first.
        runtime: String,
        /// Whether `allowPrivilegeEscalation: false` doesn't help.
        with_no_new_privs: bool,
    },
    /// A tracer or a supervisor answers in the kernel's place.
    Delegated,
    /// Nobody measured what a runtime does then.
    Unmeasured,
}

impl fmt::Display for KeptPrivilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, condition, outcome, kept, .. } = self;
        write!(f, "{call} with {condition} gets {outcome}, ")?;
        match kept {
            Kept::Measured { what, runtime, with_no_new_privs } => {
                write!(f, "on which {runtime} goes on and keeps {what}")?;
                if *with_no_new_privs {
                    f.write_str(", with allowPrivilegeEscalation: false too")?;
                }
                Ok(())
            }
            Kept::Delegated => {
                f.write_str("so that another process may answer that privileges were given up")
            }
            Kept::Unmeasured => f.write_str("on which a runtime may go on and keep what it should give up"),
        }
    }
}

/// The answers of a profile with which a runtime on nodes of an architecture keeps what the pod gave up, but for those that a baseline
/// gives too. What is too hard to find out counts as one.
///
/// A runtime is a program of the node's own architecture, so that other architectures' rules don't matter.
#[must_use]
pub fn kept_privileges(
    profile: &Evaluator,
    baseline: Option<&Evaluator>,
    native: Arch,
    budget: &Budget,
) -> Vec<KeptPrivilege> {
    let mut found = Vec::new();
    let calls: BTreeSet<&'static str> = TABLE.calls().chain(CALLS).collect();
    for call in calls {
        let Some(number) = syscalls::number(native, call) else { continue };
        let side = profile.side(native, number);
        let answers: Vec<Case<'_>> =
            side.cases().into_iter().filter(|case| case.outcome.passage() != Passage::Permitted).collect();
        if answers.is_empty() {
            continue;
        }
        let theirs = baseline.map(|baseline| baseline.side(native, number));
        let search = Search { profile, native, call, theirs: theirs.as_ref(), budget };
        for case in &answers {
            found.extend(search.kept_by(case));
        }
    }
    found
}

struct Search<'a> {
    profile: &'a Evaluator,
    native: Arch,
    call: &'static str,
    theirs: Option<&'a Side<'a>>,
    budget: &'a Budget,
}

impl Search<'_> {
    /// What one answer keeps, the first of it that is found.
    fn kept_by(&self, case: &Case<'_>) -> Option<KeptPrivilege> {
        let outcome = case.outcome;
        let of_privileges = CALLS.contains(&self.call);
        let whole = Target::whole(self.call);
        if outcome.passage() == Passage::Delegated {
            return if of_privileges { self.found(case, &whole, Kept::Delegated) } else { None };
        }
        if outcome.action() == Action::KillProcess {
            return None;
        }
        for row in TABLE.of_call(self.call).filter(|row| row.keeps(outcome)) {
            if row.given.as_ref().is_some_and(|given| !self.gives(given)) {
                continue;
            }
            let kept = Kept::Measured {
                what: row.kept().to_owned(),
                runtime: row.first_version(),
                with_no_new_privs: row.with_no_new_privs(),
            };
            if let Some(found) = self.found(case, &row.target, kept) {
                return Some(found);
            }
        }
        let usual = outcome.errno().is_none_or(|errno| USUAL.contains(&errno));
        let measured = outcome.errno().is_none() || TABLE.is_measured(self.call, outcome);
        if of_privileges && !usual && !measured {
            return self.found(case, &whole, Kept::Unmeasured);
        }
        None
    }

    /// Whether the profile answers a call in the way that another measurement was made under.
    fn gives(&self, given: &table::Given) -> bool {
        let Some(number) = syscalls::number(self.native, &given.target.call) else { return false };
        self.profile.side(self.native, number).cases().iter().any(|case| {
            given.outcomes.has(case.outcome)
                && !matches!(
                    meet_arguments(&[case], &given.target.arguments, self.native, self.budget),
                    Answer::Nothing
                )
        })
    }

    /// The answer, where the call can have such arguments and the baseline answers otherwise.
    fn found(&self, case: &Case<'_>, target: &Target, kept: Kept) -> Option<KeptPrivilege> {
        let theirs = self.theirs.map(Side::cases).unwrap_or_default();
        let others = theirs.iter().filter(|theirs| theirs.outcome != case.outcome);
        let ways: Vec<Vec<&Case<'_>>> = match self.theirs {
            Some(_) => others.map(|theirs| vec![case, theirs]).collect(),
            None => vec![vec![case]],
        };
        let condition = ways.iter().find_map(|cases| {
            match meet_arguments(cases, &target.arguments, self.native, self.budget) {
                Answer::Nothing => None,
                Answer::Found(region) => Some(
                    region.in_words(self.native, self.call).unwrap_or_else(|| "any arguments".to_owned()),
                ),
                Answer::TooHard => Some("arguments that are too hard to find".to_owned()),
            }
        })?;
        Some(KeptPrivilege { call: self.call, condition, outcome: case.outcome, kept, rule: case.rule })
    }
}

#[cfg(test)]
mod tests;
