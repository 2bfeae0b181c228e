//! What the controller keeps of a profile. Not its document: at 1,000 profiles of 13 KB that alone would be most of its memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use portcullis_api::{FINALIZER, Owner, ProfileStatus, created_at};
use portcullis_profile::Digest;
use tokio::time::Instant;

use super::shelf::Kept;
use crate::{
    resolve::{Resolved, Source, Wishes},
    status::{Change, Stall, Times, content, is_ready, share_of},
    usage::Users,
};

/// For how long what was just written counts, where the watch has not shown it yet.
const AHEAD: Duration = Duration::from_secs(5);
/// How many resource versions of a profile are remembered, to know that the watch has shown a response's. They are not compared
/// but for equality.
const REMEMBERED: usize = 4;

/// A profile object as a watch or a get shows it: its document is left as it came.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) owner: Owner,
    pub(crate) metadata: ObjectMeta,
    pub(crate) status: Seen,
    /// None where this generation was seen before.
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

/// A spec, its document as it came, or why it can't be read.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) wishes: Wishes,
    pub(crate) source: Result<Arc<Source>, String>,
}

/// A profile's document in memory.
#[derive(Debug)]
pub(crate) enum Held {
    /// Kept until the revision is written, or while another profile builds on it, as far as there is room.
    Here(Kept),
    /// Not taken, and why.
    Refused(String),
    /// Let go; the object has it.
    LetGo,
}

/// What is taken of a spec.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) wishes: Wishes,
    /// Of the document, in bytes.
    pub(crate) size: usize,
    pub(crate) held: Held,
}

/// A document that was read for one piece of work, of this UID and generation.
#[derive(Debug)]
pub(crate) struct Lent {
    uid: String,
    generation: i64,
    source: Arc<Source>,
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
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) uid: String,
    pub(crate) created: Timestamp,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    pub(crate) wishes: Wishes,
    /// Of its document, in bytes; as much as one may have where it can't be read.
    pub(crate) size: usize,
    pub(crate) held: Held,
    /// Documents, its own and its bases', that were read for the work on it that is under way.
    lent: HashMap<Owner, Lent>,
    /// What was made of the spec; none where that is to be done (again).
    pub(crate) resolution: Option<Result<Resolved, Stall>>,
    /// Why there is to be nothing new of it, however it was resolved: a bound of its namespace.
    pub(crate) refusal: Option<Stall>,
    /// When it may be worked out again after a profile that it builds on changed.
    pub(crate) turn: Option<Instant>,
    /// When to work it out again although nothing has changed.
    pub(crate) try_again: Option<Instant>,
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
    /// The content, and its generation, that it was Ready with last.
    was_ready: Option<(i64, Digest)>,
    /// Since when its status differs by counts alone, for nodes came or went.
    set_changed: Option<Instant>,
    /// Whether what is to be written next is what nodes alone changed.
    by_nodes: bool,
}

impl Entry {
    /// A profile that is new to the controller. `arrived`: as an event, not in a list.
    pub(crate) fn new(metadata: ObjectMeta, status: Seen, spec: Taken, arrived: bool, now: Instant) -> Self {
        let Taken { wishes, size, held } = spec;
        Self {
            created: created_at(&metadata),
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            wishes,
            size,
            held,
            lent: HashMap::new(),
            resolution: None,
            refusal: None,
            turn: None,
            try_again: None,
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
            was_ready: None,
            set_changed: None,
            by_nodes: false,
        }
    }

    /// Takes in what the watch shows of the same object. Says whether there is anything to look at.
    pub(crate) fn update(
        &mut self,
        metadata: ObjectMeta,
        status: Seen,
        spec: Option<Taken>,
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
        if let Some(Taken { wishes, size, held }) = spec.filter(|_| generation != self.generation) {
            self.generation = generation;
            self.seen = now;
            self.arrived = true;
            self.trouble = None;
            self.turn = None;
            self.wishes = wishes;
            self.size = size;
            self.held = held;
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

    /// A document was read for the work on this profile.
    pub(crate) fn lend(&mut self, owner: Owner, uid: String, generation: i64, source: Arc<Source>) {
        self.lent.insert(owner, Lent { uid, generation, source });
    }

    /// The document of a profile that is known to be this, where it was read for the work on this one.
    pub(crate) fn lent(&self, owner: &Owner, known: &Self) -> Option<Arc<Source>> {
        let lent = self.lent.get(owner)?;
        (lent.uid == known.uid && lent.generation == known.generation).then(|| lent.source.clone())
    }

    /// How many bytes were read for the work on this profile.
    pub(crate) fn lent_bytes(&self) -> usize {
        self.lent.values().map(|lent| lent.source.bytes()).sum()
    }

    /// The work on this profile has come to an end, or to where it waits.
    pub(crate) fn give_back(&mut self) {
        self.lent = HashMap::new();
    }

    /// What follows from the spec has to be worked out again.
    pub(crate) fn invalidate(&mut self) {
        self.epoch += 1;
        self.resolution = None;
        self.try_again = None;
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

    /// Whether it has, or had, files, as far as the watch has shown.
    pub(crate) fn has_files(&self) -> bool {
        self.ahead.is_some() || self.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    }

    /// There is to be nothing new of it: what could be made of it goes.
    pub(crate) fn refuse(&mut self, stall: Stall) {
        self.refusal = Some(stall);
        if let Held::Here(_) = self.held {
            self.held = Held::LetGo;
        }
        self.let_go_of_content();
    }

    /// The content is made again when it may be written.
    pub(crate) fn let_go_of_content(&mut self) {
        if let Some(Ok(resolved)) = &mut self.resolution {
            resolved.content = None;
        }
    }

    /// Forgets what was written so long ago that the watch should have shown it. It may have: a response that comes late is of a
    /// version that was overtaken and is not remembered any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.ahead.take_if(|ahead| now.saturating_duration_since(ahead.at) >= AHEAD);
        if self.try_again.is_some_and(|at| at <= now) {
            self.invalidate();
        }
    }

    /// When to look again whether the watch has shown what was written.
    pub(crate) fn ahead_until(&self) -> Option<Instant> {
        self.ahead.as_ref().map(|ahead| ahead.at + AHEAD)
    }

    /// When the status is to be as given; none where it is. What nodes alone change may be written from a time on, if it is given.
    pub(crate) fn due(
        &mut self,
        next: &ProfileStatus,
        by_nodes: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let ready = self.status(now).filter(|status| is_ready(status)).and_then(content);
        self.was_ready = ready.or(self.was_ready);
        let change = Change::between(self.status(now), next, self.was_ready);
        self.by_nodes = matches!(change, Change::ByNodes | Change::CountsByNodes);
        let set_changed = self.set_changed.unwrap_or(now);
        self.set_changed = (change == Change::NodeSet).then_some(set_changed);
        let share = share_of(&self.uid);
        change.due(&Times { seen: self.seen, written: self.written, set_changed, by_nodes, share }, now)
    }

    /// How long ago the status was written, if this process did it.
    pub(crate) fn since_written(&self, now: Instant) -> Option<Duration> {
        self.written.map(|written| now.saturating_duration_since(written))
    }

    /// Whether what was written is what nodes alone changed; told once.
    pub(crate) fn take_by_nodes(&mut self) -> bool {
        std::mem::take(&mut self.by_nodes)
    }

    /// How long ago this generation was seen to arrive, if it was; told once.
    pub(crate) fn take_age(&mut self, now: Instant) -> Option<Duration> {
        std::mem::take(&mut self.arrived).then(|| now.saturating_duration_since(self.seen))
    }

    fn fresh(&self, now: Instant) -> Option<&Ahead> {
        self.ahead.as_ref().filter(|ahead| now.saturating_duration_since(ahead.at) < AHEAD)
    }
}
