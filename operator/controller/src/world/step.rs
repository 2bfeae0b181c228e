//! The next thing to do for a profile: decided here without I/O, done by the reconciler.

use std::sync::Arc;

use portcullis_api::{Owner, ProfileStatus, RevisionMeta};
use portcullis_profile::Digest;
use tokio::time::Instant;

use crate::{resolve::Job, revisions::Doomed, status::Announcement};

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Nothing, until something changes or (if given) this time.
    Wait(Option<Instant>),
    /// Read these profiles, whose documents are needed and not held.
    Fetch(Vec<Owner>),
    /// Read a revision's content, which `spec.pin` names.
    FetchRevision {
        /// Its digest.
        digest: Digest,
    },
    /// Work out the content; the epoch goes back with the result.
    Resolve {
        /// What from.
        job: Box<Job>,
        /// Of which state of things.
        epoch: u64,
    },
    /// Write, at the same time where both: each may be there without the other.
    Publish {
        /// The finalizer, where it is missing.
        finalizer: bool,
        /// The revision, where it is to be created or made the current one.
        revision: Option<(RevisionMeta, Arc<str>)>,
    },
    /// Write the status, and say what is worth an Event.
    Status(Box<ProfileStatus>, Option<Announcement>),
    /// Ask which pods name the profile's paths.
    AskUsage,
    /// Delete the revisions, then let the profile go.
    Release {
        /// All of its revisions.
        revisions: Vec<Doomed>,
        /// The finalizers as they are.
        finalizers: Vec<String>,
    },
}
