//! Audit mode: a profile that logs what it would deny, where a baseline allows it.

use crate::{
    Action, Arch, Profile, Rule,
    combine::{Case, Combination, Failure, Part, names, replace},
    compare::Budget,
    evaluate::{Evaluator, Outcome, Passage, Refusal, Runtime},
};

/// Why a profile has no audit form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// A runtime doesn't start a container with the profile or the baseline.
    #[error("{which}: {refusal}")]
    Refused {
        /// `profile` or `baseline`.
        which: &'static str,
        /// The reason.
        refusal: Refusal,
    },
    /// It is unsure what the profile or the baseline does.
    #[error(
        "{which}: the rules for {call} leave open what happens on {arch}: give it rules that don't overlap, with EQ and \
         MASKED_EQ alone or one condition each"
    )]
    Contested {
        /// `profile` or `baseline`.
        which: &'static str,
        /// The call.
        call: String,
        /// The architecture.
        arch: Arch,
    },
    /// No rules for a call do what they should on an architecture: it isn't the baseline's, or makes the call through
    /// `socketcall` or `ipc`, where conditions on its arguments are lost.
    #[error(
        "profile: no rules for {call} can log on {arch} exactly what the profile denies and the baseline allows: leave {arch} \
         out of architectures, or allow {call} without conditions"
    )]
    Inexpressible {
        /// The call.
        call: String,
        /// The architecture.
        arch: Arch,
    },
    /// Too many rules would be needed.
    #[error(
        "profile: logging what it denies of {call} takes too many rules: allow {call} with simpler conditions"
    )]
    TooMany {
        /// The call.
        call: String,
    },
}

/// The profile with `LOG` for the calls and arguments that it denies and the baseline lets through; what both deny stays
/// denied in the profile's way. The default action stays.
///
/// - What the profile lets through, or leaves to a tracer or supervisor, stays as it is, and so do its rules where
///   nothing is to be added.
/// - Architectures stay: calls of one that the profile doesn't list are killed, as in Enforce mode. One that the
///   baseline doesn't list is an error where a call to be logged exists there.
/// - Rules apply to all architectures alike. Where a rule for a value with a high word (a 64-bit architecture's) would
///   say something else on a 32-bit one, such values are denied as the profile denies them.
/// - Under runc calls newer than any named get `ENOSYS`, and the result names more calls than the profile. So of two
///   calls that stay denied, one may get the profile's denial where it got `ENOSYS`.
///
/// # Errors
/// Where no rules that do this are found; see [`AuditError`].
pub fn audit(profile: &Profile, baseline: &Profile, native: Arch) -> Result<Profile, AuditError> {
    audit_within(profile, baseline, native, &Budget::patient())
}

/// [`audit`], for at most so much work.
///
/// # Errors
/// As [`audit`]; what is too hard to show is not expressible.
pub fn audit_within(
    profile: &Profile,
    baseline: &Profile,
    native: Arch,
    budget: &Budget,
) -> Result<Profile, AuditError> {
    const WHICH: [&str; 2] = ["profile", "baseline"];
    let profiles = [profile, baseline];
    for (which, one) in WHICH.into_iter().zip(profiles) {
        Evaluator::new(one, Runtime::Runc, native)
            .map_err(|refusal| AuditError::Refused { which, refusal })?;
    }
    let mut arches = vec![native];
    arches.extend(profile.architectures.iter().filter(|&&arch| arch != native));
    let parts = profiles.map(Part::new);
    let combination = Combination {
        parts: &parts,
        arches: &arches,
        lists: &|at, arch| arch == native || profiles[at].architectures.contains(&arch),
        combine: &combined,
        tolerates: &|cases, actual| combined(cases) == LOG && actual == cases[0].outcome,
        carriers: &[],
        default: Outcome::of_default(profile),
        budget,
    };
    let failed = |failure| match failure {
        Failure::Contested { profile, call, arch } => {
            AuditError::Contested { which: WHICH[profile], call, arch }
        }
        Failure::Inexpressible { call, arch } => AuditError::Inexpressible { call, arch },
        Failure::TooMany { call } => AuditError::TooMany { call },
    };
    combination.check_inputs(0).map_err(failed)?;
    let mut replaced = Vec::new();
    for name in names(&profiles) {
        if let Some(cases) = combination.constants(name) {
            if combined(&cases) != cases[0].outcome {
                replaced.push((name.to_owned(), logged(&parts[1], name)));
            }
            continue;
        }
        let mine = restricted(&parts[0], name);
        let logged = logged(&parts[1], name);
        let both = [mine.clone(), logged.clone()].concat();
        let rules = combination.rules(name, vec![mine.clone(), both, logged]).map_err(failed)?;
        if rules != mine {
            replaced.push((name.to_owned(), rules));
        }
    }
    let audited = Profile { syscalls: replace(&profile.syscalls, &replaced), ..profile.clone() };
    combination.check_result(&audited).map_err(failed)?;
    Ok(audited)
}

const LOG: Outcome = Outcome::new(Action::Log, None);

fn combined(cases: &[Case]) -> Outcome {
    let (mine, baseline) = (cases[0].outcome, cases[1].outcome);
    match (mine.passage(), baseline.passage()) {
        (Passage::Denied, Passage::Permitted) => LOG,
        _ => mine,
    }
}

/// A profile's rules for one call.
fn restricted(part: &Part<'_>, name: &str) -> Vec<Rule> {
    part.rules(name).map(|(_, rule)| Rule { names: vec![name.to_owned()], ..rule.clone() }).collect()
}

/// The baseline's rules that let a call through, as logging ones.
fn logged(baseline: &Part<'_>, name: &str) -> Vec<Rule> {
    restricted(baseline, name)
        .into_iter()
        .filter(|rule| Outcome::of_rule(rule).passage() == Passage::Permitted)
        .map(|rule| Rule { action: Action::Log, errno_ret: None, ..rule })
        .collect()
}
