//! What profiles are held against: the runtime default, or a ClusterSeccompProfile that an administrator put in its place.

use std::sync::Arc;

use portcullis_api::{Mode, Owner, Reason};
use portcullis_profile::{Digest, Profile};

use super::World;
use crate::{
    nodes::Affected,
    resolve::{Compiled, Resolved},
    status::Stall,
};

/// The profile in the runtime default's place.
#[derive(Debug)]
pub(super) struct Chosen {
    owner: Owner,
    state: State,
    /// Whether it became another one, and who is held against it doesn't know yet.
    changed: bool,
}

#[derive(Debug)]
enum State {
    /// It was not worked out yet, or there is none.
    Awaited,
    /// Why nothing can be held against it.
    Unusable(String),
    Usable {
        digest: Digest,
        compiled: Arc<Compiled>,
    },
}

impl State {
    fn of(owner: &Owner, resolution: &Result<Resolved, Stall>) -> Self {
        let resolved = match resolution {
            Ok(resolved) => resolved,
            Err(stall) => return Self::Unusable(format!("is refused itself: {}", stall.message)),
        };
        if resolved.mode == Some(Mode::Audit) {
            return Self::Unusable("is in mode Audit, in which it denies nothing of its own".to_owned());
        }
        let Some(content) = &resolved.content else {
            return Self::Unusable("has no content".to_owned());
        };
        let compiled =
            Profile::parse(content.as_bytes()).map_err(|error| error.to_string()).and_then(|profile| {
                Compiled::chosen(owner.to_string(), profile).map_err(|error| error.to_string())
            });
        match compiled {
            Ok(compiled) => Self::Usable { digest: resolved.digest, compiled: Arc::new(compiled) },
            Err(error) => Self::Unusable(format!("can't be compared with: {error}")),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Awaited, Self::Awaited) => true,
            (Self::Unusable(one), Self::Unusable(other)) => one == other,
            (Self::Usable { digest: one, .. }, Self::Usable { digest: other, .. }) => one == other,
            _ => false,
        }
    }
}

impl World {
    /// Puts a profile in the runtime default's place.
    #[must_use]
    pub(crate) fn with_baseline(mut self, owner: Option<Owner>) -> Self {
        self.baseline = owner.map(|owner| Chosen { owner, state: State::Awaited, changed: false });
        self
    }

    /// What a profile is held against; none where that is to be worked out first. The profile in the runtime default's place is held
    /// against the runtime default itself, and so is for form's sake what may do anything.
    pub(super) fn baseline_of(&self, owner: &Owner, mode: Mode) -> Result<Option<Arc<Compiled>>, Stall> {
        let may_do_anything = mode == Mode::Enforce && self.may_be_looser(owner);
        self.usable(self.baseline.as_ref().filter(|chosen| chosen.owner != *owner && !may_do_anything))
    }

    /// What the profile is held against that a recording creates; none where that is to be worked out first.
    pub(crate) fn baseline_of_recordings(&self) -> Result<Option<Arc<Compiled>>, Stall> {
        self.usable(self.baseline.as_ref())
    }

    /// What stands in the runtime default's place, where something does.
    fn usable(&self, chosen: Option<&Chosen>) -> Result<Option<Arc<Compiled>>, Stall> {
        let Some(chosen) = chosen else { return Ok(Some(Compiled::strictest())) };
        let reason = match &chosen.state {
            State::Usable { compiled, .. } => return Ok(Some(Arc::clone(compiled))),
            State::Unusable(reason) => reason,
            State::Awaited => match self.profiles.get(&chosen.owner) {
                _ if !self.synced => return Ok(None),
                None => "does not exist",
                Some(entry) if entry.deleting => "is being deleted",
                Some(_) => return Ok(None),
            },
        };
        Err(Stall {
            reason: Reason::BaselineInvalid,
            message: format!(
                "{}, which the controller was told to hold profiles against in the runtime default's place (--baseline), {reason}. \
                 Have an administrator mend it, or name another",
                chosen.owner
            ),
        })
    }

    /// A profile was worked out: if others are held against it, they have to be worked out anew.
    pub(super) fn note_baseline(&mut self, owner: &Owner) {
        let resolution = self.profiles.get(owner).map(|entry| entry.resolution.as_ref());
        let Some(chosen) = self.baseline.as_mut().filter(|chosen| chosen.owner == *owner) else { return };
        let state = match resolution {
            Some(Some(resolution)) => State::of(owner, resolution),
            Some(None) => return,
            None => State::Awaited,
        };
        if chosen.state.is_same(&state) {
            return;
        }
        chosen.state = state;
        chosen.changed = true;
        for (other, entry) in &mut self.profiles {
            if other != owner {
                entry.invalidate();
            }
        }
    }

    /// Whom it concerns that what they are held against became another.
    pub(super) fn spread_baseline(&mut self) -> Affected {
        let changed = self.baseline.as_mut().is_some_and(|chosen| std::mem::take(&mut chosen.changed));
        if changed { Affected::Everything } else { Affected::Nothing }
    }
}
