//! Filters beside profiles.

use super::Reading;
use crate::{
    Profile,
    compare::{Changes, changes_from_evaluators},
    evaluate::{Budget, Evaluator, Refusal, Runtime},
};

/// How what a kernel enforces stands to a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Every call and argument gets the same.
    Equal,
    /// Some get further, and none less far.
    Looser,
    /// Some get less far, and none further.
    Stricter,
    /// Some get further and others less far, or all as far by other actions or with other errnos.
    Incomparable,
}

impl Standing {
    /// That of what changes from a profile to a filter.
    #[must_use]
    pub fn of(changes: &Changes) -> Self {
        match (changes.is_looser(), changes.is_stricter(), changes.is_empty()) {
            (_, _, true) => Self::Equal,
            (true, false, _) => Self::Looser,
            (false, true, _) => Self::Stricter,
            _ => Self::Incomparable,
        }
    }
}

impl Reading {
    /// What changes from a profile (A) to the filters (B), on machines of the filters' architecture, through every architecture that can
    /// be reached there: decided over all calls and arguments. Flags and the listener are no part of a program.
    ///
    /// # Errors
    /// Where the runtime doesn't start a container with the profile.
    pub fn changes_from(
        &self,
        profile: &Profile,
        runtime: Runtime,
        budget: &Budget,
    ) -> Result<Changes, Refusal> {
        let committed = Evaluator::new(profile, runtime, self.native())?;
        Ok(changes_from_evaluators(&committed, self.evaluator(), self.native(), budget))
    }
}
