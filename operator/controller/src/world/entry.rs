//! What the controller keeps of a profile. Not its document: at 1,000 profiles of 13 KB that alone would be most of its memory.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_api::{FINALIZER, Owner, ProfileStatus};
use portcullis_profile::Digest;
use tokio::time::Instant;

use crate::{
    resolve::{Resolved, Source, Wishes},
    status::{Since, Stall},
    usage::Users,
};

/// For how long what was just written counts, where the watch has not shown it yet.
const AHEAD: Duration = Duration::from_secs(5);
/// How many resource versions of a profile are remembered, to know that the watch has shown a response's. They are not compared
/// but for equality.
const REMEMBERED: usize = 4;

/// A profile object as a watch or a get shows it, prepared: its document is parsed, or refused with the reason.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) owner: Owner,
    pub(crate) metadata: ObjectMeta,
    pub(crate) status: Seen,
    /// None where this generation was seen before, so that its document need not be parsed again.
    pub(crate) spec: Option<Spec>,
}

/// A status as a watch shows it.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// It can be read, or there is none.
    Status(Option<Box<ProfileStatus>>),
    /// The object can't be read, so nobody knows.
    Unreadable,
}

impl Seen {
    /// What it says, where `before` is what was known until now.
    fn or(self, before: Option<ProfileStatus>) -> Option<ProfileStatus> {
        match self {
            Self::Status(status) => status.map(|status| *status),
            Self::Unreadable => before,
        }
    }
}

/// A spec, its document parsed or refused.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) wishes: Wishes,
    pub(crate) source: Result<Arc<Source>, String>,
}

/// A profile's document in memory.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// Parsed: kept until the revision is written, or while another profile builds on it.
    Here(Arc<Source>),
    /// Not taken, and why.
    Refused(String),
    /// Let go; the object has it.
    LetGo,
}

/// What is known of the pods that name a profile which is being deleted.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    /// Who does; none means that nobody did when it was asked.
    pub(crate) users: Option<Users>,
    pub(crate) asked: Instant,
    /// How often it was asked.
    pub(crate) times: u32,
}

impl InUse {
    /// When to ask again: after 5 s, then ever later, at last every five minutes. A profile that is deleted while a Deployment still names
    /// it stays for weeks, and each time all of the cluster's pods are listed.
    pub(crate) fn ask_again(&self) -> Instant {
        let factor = 1 << self.times.saturating_sub(1).min(6);
        self.asked + (Duration::from_secs(5) * factor).min(Duration::from_secs(300))
    }
}

/// What went wrong with a profile last.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) message: String,
    /// How often in a row.
    pub(crate) times: u32,
    pub(crate) retry_at: Instant,
    /// Whether it was the status itself that could not be written.
    pub(crate) in_status: bool,
}

impl Trouble {
    /// One more failure: the next attempt is after 1 s, then ever later, at last after a minute.
    pub(crate) fn after(before: Option<&Self>, message: String, in_status: bool, now: Instant) -> Self {
        let times = before.map_or(0, |before| before.times) + 1;
        let delay = Duration::from_secs(1 << (times - 1).min(6)).min(Duration::from_secs(60));
        Self { message, times, retry_at: now + delay, in_status }
    }
}

/// What the controller wrote into the object and the watch has not shown yet.
#[derive(Clone, Debug)]
struct Ahead {
    resource_version: String,
    finalizers: Vec<String>,
    status: Option<ProfileStatus>,
    at: Instant,
}

/// A profile.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    pub(crate) wishes: Wishes,
    pub(crate) held: Held,
    /// What was made of the spec; none where that is to be done (again).
    pub(crate) resolution: Option<Result<Resolved, Stall>>,
    /// Raised when what a resolution follows from changes, so that one which was begun before is not taken.
    pub(crate) epoch: u64,
    /// A pinned revision's content, fetched to be judged.
    pub(crate) pinned: Option<(Digest, Arc<str>)>,
    pub(crate) in_use: Option<InUse>,
    pub(crate) trouble: Option<Trouble>,
    /// The last few that the watch has shown, the newest last.
    resource_versions: VecDeque<String>,
    finalizers: Vec<String>,
    status: Option<ProfileStatus>,
    ahead: Option<Ahead>,
    seen: Instant,
    /// Whether this generation was seen to arrive, rather than found in a list.
    arrived: bool,
    written: Option<Instant>,
}

impl Entry {
    /// A profile that is new to the controller. `arrived`: as an event, not in a list.
    pub(crate) fn new(metadata: ObjectMeta, status: Seen, spec: Spec, arrived: bool, now: Instant) -> Self {
        Self {
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            wishes: spec.wishes,
            held: spec.source.map_or_else(Held::Refused, Held::Here),
            resolution: None,
            epoch: 0,
            pinned: None,
            in_use: None,
            trouble: None,
            resource_versions: metadata.resource_version.into_iter().collect(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            status: status.or(None),
            ahead: None,
            seen: now,
            arrived,
            written: None,
        }
    }

    /// Takes in what the watch shows of the same object. Says whether there is anything to look at.
    pub(crate) fn update(
        &mut self,
        metadata: ObjectMeta,
        status: Seen,
        spec: Option<Spec>,
        now: Instant,
    ) -> bool {
        let resource_version = metadata.resource_version.unwrap_or_default();
        if self.resource_versions.back() == Some(&resource_version) {
            return false;
        }
        let ours = self.ahead.as_ref().is_some_and(|ahead| ahead.resource_version == resource_version);
        let before = match self.ahead.take_if(|_| ours) {
            Some(ahead) => ahead.status,
            None => self.status.take(),
        };
        let generation = metadata.generation.unwrap_or_default();
        let deleting = metadata.deletion_timestamp.is_some();
        if deleting && !self.deleting {
            self.trouble = None;
        }
        if let Some(spec) = spec.filter(|_| generation != self.generation) {
            self.generation = generation;
            self.seen = now;
            self.arrived = true;
            self.trouble = None;
            self.wishes = spec.wishes;
            self.held = spec.source.map_or_else(Held::Refused, Held::Here);
            self.invalidate();
        }
        self.deleting = deleting;
        self.resource_versions.push_back(resource_version);
        if self.resource_versions.len() > REMEMBERED {
            self.resource_versions.pop_front();
        }
        self.finalizers = metadata.finalizers.unwrap_or_default();
        self.status = status.or(before);
        !ours
    }

    /// The controller wrote the object itself: what it looks like now.
    pub(crate) fn wrote(&mut self, metadata: ObjectMeta, status: Option<ProfileStatus>, now: Instant) {
        if status.is_some() {
            self.written = Some(now);
        }
        let resource_version = metadata.resource_version.unwrap_or_default();
        if metadata.uid.as_deref() != Some(&self.uid) {
            return;
        }
        // The watch may have been faster than the response, and may even be further.
        if self.resource_versions.contains(&resource_version) {
            self.ahead = None;
            return;
        }
        self.ahead = Some(Ahead {
            resource_version,
            finalizers: metadata.finalizers.unwrap_or_default(),
            status: status.or_else(|| self.status(now).cloned()),
            at: now,
        });
    }

    /// What follows from the spec has to be worked out again.
    pub(crate) fn invalidate(&mut self) {
        self.epoch += 1;
        self.resolution = None;
        self.pinned = None;
    }

    /// The status as it is.
    pub(crate) fn status(&self, now: Instant) -> Option<&ProfileStatus> {
        match self.fresh(now) {
            Some(ahead) => ahead.status.as_ref(),
            None => self.status.as_ref(),
        }
    }

    /// The finalizers as they are.
    pub(crate) fn finalizers(&self, now: Instant) -> &[String] {
        self.fresh(now).map_or(&self.finalizers, |ahead| &ahead.finalizers)
    }

    /// Whether the profile is held until its files may go.
    pub(crate) fn is_held_back(&self, now: Instant) -> bool {
        self.finalizers(now).iter().any(|finalizer| finalizer == FINALIZER)
    }

    /// Forgets what was written so long ago that the watch should have shown it. It may have: a response that comes late is of a
    /// version that was overtaken and is not remembered any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.ahead.take_if(|ahead| now.saturating_duration_since(ahead.at) >= AHEAD);
    }

    /// When to look again whether the watch has shown what was written.
    pub(crate) fn ahead_until(&self) -> Option<Instant> {
        self.ahead.as_ref().map(|ahead| ahead.at + AHEAD)
    }

    /// The ages that the pace of writing depends on.
    pub(crate) fn since(&self, now: Instant) -> Since {
        Since {
            seen: now.saturating_duration_since(self.seen),
            written: self.written.map(|written| now.saturating_duration_since(written)),
        }
    }

    /// How long ago this generation was seen to arrive, if it was; told once.
    pub(crate) fn take_age(&mut self, now: Instant) -> Option<Duration> {
        std::mem::take(&mut self.arrived).then(|| now.saturating_duration_since(self.seen))
    }

    fn fresh(&self, now: Instant) -> Option<&Ahead> {
        self.ahead.as_ref().filter(|ahead| now.saturating_duration_since(ahead.at) < AHEAD)
    }
}
