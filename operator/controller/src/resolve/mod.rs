//! From a profile's spec and its bases to the content to serve: pure.

mod baseline;
mod bases;
mod document;
mod gate;
mod seccomp;

use std::{collections::BTreeSet, sync::Arc};

use portcullis_api::{MAX_WARNINGS, Mode, Owner, ProfileWarning, Reason};
use portcullis_profile::{Arch, Digest, Profile, compare::Budget};

pub(crate) use self::{
    baseline::Compiled,
    bases::{Gathered, Lookup, MAX_GATHERED_BYTES, Part, Source, gather, owner_of_base},
    document::{Document, Outline},
};
use crate::status::Stall;

/// The content to serve, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) digest: Digest,
    /// The mode that the content was made for; none for a pinned revision, of which nobody wrote it down.
    pub(crate) mode: Option<Mode>,
    pub(crate) warnings: Vec<ProfileWarning>,
    /// The bytes of the file: dropped as soon as the revision that holds them is known to exist, or has to wait.
    pub(crate) content: Option<Arc<str>>,
    /// How many there are.
    pub(crate) bytes: usize,
    /// The architectures of which nothing else would have come of it, whether nodes have them or not.
    pub(crate) indifferent_to: BTreeSet<Arch>,
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
    pub(crate) fn of(spec: &Outline) -> Self {
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
        parts: Vec<Part<Document>>,
        /// The architectures of the cluster's nodes, for the linter.
        architectures: BTreeSet<Arch>,
        /// Whether the profile may be looser than the baseline.
        may_be_looser: bool,
        /// What it is held against.
        baseline: Arc<Compiled>,
    },
    /// Check an earlier revision's content, which is to be served again.
    Pin {
        owner: Owner,
        digest: Digest,
        content: Arc<str>,
        /// The architectures of the cluster's nodes.
        architectures: BTreeSet<Arch>,
        may_be_looser: bool,
        /// What it is held against.
        baseline: Arc<Compiled>,
    },
}

impl Job {
    /// Does the work: some milliseconds of processor time for a profile of several hundred names, and a bounded amount for any other
    /// ([`Budget`]).
    ///
    /// # Errors
    /// Where there is nothing that may be served.
    pub(crate) fn run(self) -> Result<Resolved, Stall> {
        let budget = Budget::default();
        match self {
            Self::Compose { owner, mode, parts, architectures, may_be_looser, baseline } => {
                let parts = read(parts)?;
                let is_listed =
                    |arch: &Arch| parts.iter().all(|part| part.document.architectures.contains(arch));
                let listed = Arch::ALL.iter().copied().filter(is_listed).collect();
                let united = unite(&parts, &budget)?;
                let mut warnings = seccomp::check(&parts, &united, mode, &architectures, &budget)?;
                warnings.truncate(MAX_WARNINGS);
                let profile = match mode {
                    Mode::Enforce => united,
                    Mode::Audit => seccomp::audit(&united, &baseline, &budget)?,
                };
                if !may_be_looser {
                    gate::check(&owner, &profile, &architectures, &baseline, &budget)?;
                }
                let content = seccomp::render(&profile)?;
                let digest = Digest::of(content.as_bytes());
                let bytes = content.len();
                let indifferent_to = indifferent(listed, may_be_looser, &baseline);
                Ok(Resolved {
                    digest,
                    mode: Some(mode),
                    warnings,
                    content: Some(content),
                    bytes,
                    indifferent_to,
                })
            }
            Self::Pin { owner, digest, content, architectures, may_be_looser, baseline } => {
                let profile = pinned(&digest, &content)?;
                seccomp::refuse_faked_success(&profile, "spec.pin", &budget)?;
                if !may_be_looser {
                    gate::check(&owner, &profile, &architectures, &baseline, &budget)?;
                }
                let bytes = content.len();
                let indifferent_to =
                    indifferent(Arch::ALL.iter().copied().collect(), may_be_looser, &baseline);
                Ok(Resolved {
                    digest,
                    mode: None,
                    warnings: Vec::new(),
                    content: Some(content),
                    bytes,
                    indifferent_to,
                })
            }
        }
    }
}

/// Of the architectures of which the linter has nothing to say, those of which the gate has nothing to say either.
fn indifferent(unsaid: BTreeSet<Arch>, may_be_looser: bool, baseline: &Compiled) -> BTreeSet<Arch> {
    let unknown: BTreeSet<Arch> =
        if may_be_looser { BTreeSet::new() } else { baseline.unknown_on(&unsaid).copied().collect() };
    &unsaid - &unknown
}

/// Reads every document: what is wrong with one of them stalls the profile.
fn read(parts: Vec<Part<Document>>) -> Result<Vec<Part>, Stall> {
    let read = |Part { at, is_own, document }: Part<Document>| match document.read() {
        Ok(profile) => Ok(Part { at, is_own, document: Arc::new(profile) }),
        Err(message) if is_own => Err(Stall { reason: Reason::InvalidProfile, message }),
        Err(problem) => {
            let message = format!("{at} is refused itself: {problem}");
            Err(Stall { reason: Reason::BaseInvalid, message })
        }
    };
    parts.into_iter().map(read).collect()
}

fn unite(parts: &[Part], budget: &Budget) -> Result<Profile, Stall> {
    match parts {
        [only] => Ok(Profile::clone(&only.document)),
        _ => seccomp::unite(parts, budget),
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
