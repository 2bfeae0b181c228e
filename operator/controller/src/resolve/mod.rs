//! From a profile's spec and its bases to the content to serve: pure.

mod bases;
mod gate;
mod seccomp;

use std::{collections::BTreeSet, sync::Arc};

use portcullis_api::{MAX_WARNINGS, Mode, Owner, ProfileSpec, ProfileWarning, Reason};
use portcullis_profile::{Arch, Digest, Profile};

pub(crate) use self::{
    bases::{Gathered, Lookup, Part, Source, gather, owner_of_base},
    seccomp::{arch_of_label, prepare},
};
use crate::status::Stall;

/// The content to serve, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) digest: Digest,
    /// The mode that the content was made for; none for a pinned revision, of which nobody wrote it down.
    pub(crate) mode: Option<Mode>,
    pub(crate) warnings: Vec<ProfileWarning>,
    /// The bytes of the file: dropped as soon as the revision that holds them is known to exist.
    pub(crate) content: Option<Arc<str>>,
}

/// What of a spec the controller keeps: everything but the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) mode: Mode,
    pub(crate) pin: Option<String>,
    pub(crate) history_limit: usize,
}

impl Wishes {
    /// Reads them off a spec.
    pub(crate) fn of(spec: &ProfileSpec) -> Self {
        Self {
            mode: spec.mode,
            pin: spec.pin.clone(),
            history_limit: spec
                .revision_history_limit
                .unwrap_or(portcullis_api::DEFAULT_HISTORY_LIMIT)
                .into(),
        }
    }
}

/// Everything that the content follows from, so that it can be made without a lock held.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// Unite, apply the mode, check, render.
    Compose {
        owner: Owner,
        mode: Mode,
        /// The profile's own document and those of its bases, own one first.
        parts: Vec<Part>,
        /// The architectures of the cluster's nodes, for the linter.
        architectures: BTreeSet<Arch>,
        /// Whether the profile may be looser than the runtime default.
        may_be_looser: bool,
    },
    /// Check an earlier revision's content, which is to be served again.
    Pin { owner: Owner, digest: Digest, content: Arc<str>, may_be_looser: bool },
}

impl Job {
    /// Does the work: some milliseconds of processor time for a profile of several hundred names.
    ///
    /// # Errors
    /// Where there is nothing that may be served.
    pub(crate) fn run(self) -> Result<Resolved, Stall> {
        match self {
            Self::Compose { owner, mode, parts, architectures, may_be_looser } => {
                let united = unite(&parts)?;
                let mut warnings = seccomp::check(&parts, &united, &architectures)?;
                warnings.truncate(MAX_WARNINGS);
                let profile = match mode {
                    Mode::Enforce => united,
                    Mode::Audit => seccomp::audit(&united)?,
                };
                if !may_be_looser {
                    gate::check(&owner, &profile)?;
                }
                let content = seccomp::render(&profile)?;
                let digest = Digest::of(content.as_bytes());
                Ok(Resolved { digest, mode: Some(mode), warnings, content: Some(content) })
            }
            Self::Pin { owner, digest, content, may_be_looser } => {
                let profile = pinned(&digest, &content)?;
                if !may_be_looser {
                    gate::check(&owner, &profile)?;
                }
                Ok(Resolved { digest, mode: None, warnings: Vec::new(), content: Some(content) })
            }
        }
    }
}

fn unite(parts: &[Part]) -> Result<Profile, Stall> {
    match parts {
        [only] => Ok(Profile::clone(&only.document)),
        _ => seccomp::unite(parts),
    }
}

fn pinned(digest: &Digest, content: &str) -> Result<Profile, Stall> {
    let actual = Digest::of(content.as_bytes());
    if actual != *digest {
        return Err(Stall {
            reason: Reason::PinNotFound,
            message: format!("spec.pin: the revision {digest} holds other content, of digest {actual}"),
        });
    }
    Profile::parse(content.as_bytes()).map_err(|error| Stall {
        reason: Reason::InvalidProfile,
        message: format!("spec.pin: the revision {digest} can't be read: {error}"),
    })
}

#[cfg(test)]
mod tests;
