//! What this node's recorder knows: pods, recordings, and what follows from the two.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    time::{Duration, SystemTime},
};

use portcullis_api::{SeccompRecording, SeccompRecordingPart};
use portcullis_probe::{ContainerId, ContainerKey, Losses, PodUid, Recorded, Snapshot, Start, Target, Watch};

use crate::{
    pods::Pod,
    requests::Read,
    session::{Key, Session},
    track::Sighting,
};

/// How long a container that has ended waits for its pod's status to say which one it was.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// Pods and recordings.
#[derive(Debug)]
pub(crate) struct Book {
    node: String,
    /// Whether denied calls can be seen on this kernel.
    denials: bool,
    pods: BTreeMap<PodUid, Entry>,
    sessions: BTreeMap<Key, Session>,
    /// The node's own losses, as its counters said last.
    losses: Losses,
}

#[derive(Debug)]
struct Entry {
    pod: Pod,
    /// It is no longer in the API.
    gone: bool,
    watched: bool,
    /// Containers that ran already when the pod was first watched.
    late: BTreeSet<ContainerId>,
    /// The container of it that was seen first: the sandbox, where it was seen from its making.
    first: Option<(u64, ContainerKey)>,
}

impl Book {
    pub(crate) fn new(node: String, denials: bool) -> Self {
        Self { node, denials, pods: BTreeMap::new(), sessions: BTreeMap::new(), losses: Losses::default() }
    }

    /// What the node's counters of losses say now: a recording that begins next begins with that.
    pub(crate) fn note_losses(&mut self, losses: Losses) {
        self.losses = losses;
    }

    pub(crate) fn pod_applied(&mut self, pod: Pod) {
        match self.pods.get_mut(&pod.uid) {
            Some(entry) => {
                entry.pod.update(pod);
                entry.gone = false;
            }
            None => {
                let entry = Entry { gone: false, watched: false, late: BTreeSet::new(), first: None, pod };
                self.pods.insert(entry.pod.uid, entry);
            }
        }
    }

    /// The pod's containers stay known until what they did is told.
    pub(crate) fn pod_gone(&mut self, uid: PodUid) {
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.gone = true;
        }
    }

    /// A list is complete: other pods are gone.
    pub(crate) fn pods_listed(&mut self, there: &BTreeSet<PodUid>) {
        for (uid, entry) in &mut self.pods {
            entry.gone |= !there.contains(uid);
        }
    }

    /// Whether the pod's calls count for another test run or another recording by this.
    pub(crate) fn changes_pod(&self, pod: &Pod) -> bool {
        self.pods.get(&pod.uid).is_some_and(|entry| {
            let moves = |session: &Session| session.wants(&entry.pod) != session.wants(pod);
            entry.pod.run() != pod.run() || self.sessions.values().any(moves)
        })
    }

    /// Whether something new is said of a recording that goes on: a test run among it, or that it is over.
    pub(crate) fn changes_recording(&self, recording: &SeccompRecording) -> bool {
        self.sessions
            .get(&Key::of(recording))
            .is_some_and(|session| session.differs(recording) || session.goes_on() && is_over(recording))
    }

    /// Takes in a recording.
    ///
    /// # Errors
    /// In words, where it can't be recorded.
    pub(crate) fn recording_applied(&mut self, recording: &SeccompRecording) -> Result<(), String> {
        let key = Key::of(recording);
        let over = is_over(recording);
        let session = Session::of(recording, self.losses)?;
        match self.sessions.get_mut(&key) {
            Some(known) if known.uid() == session.uid() => {
                known.update(session);
                if over {
                    known.end();
                }
            }
            _ if over => drop(self.sessions.remove(&key)),
            _ => drop(self.sessions.insert(key, session)),
        }
        Ok(())
    }

    pub(crate) fn recording_gone(&mut self, key: &Key) {
        self.sessions.remove(key);
    }

    /// A list is complete: other recordings are gone.
    pub(crate) fn recordings_listed(&mut self, there: &BTreeSet<Key>) {
        self.sessions.retain(|key, _| there.contains(key));
    }

    /// The recordings whose parts were not read yet, with their UIDs.
    pub(crate) fn unread(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.sessions
            .iter()
            .filter(|(_, session)| !session.is_loaded())
            .map(|(key, session)| (key, session.uid()))
    }

    /// The node's part of a recording was read.
    pub(crate) fn loaded(&mut self, key: &Key, uid: &str, read: Read) {
        if let Some(session) = self.sessions.get_mut(key).filter(|session| session.uid() == uid) {
            session.load(read, self.losses);
        }
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.sessions.contains_key(key)
    }

    /// What is to be watched now.
    pub(crate) fn targets(&mut self) -> BTreeMap<Target, Watch> {
        if self.sessions.is_empty() {
            // Nobody is to be told of them, and nothing else comes by to drop them.
            self.pods.retain(|_, entry| !entry.gone);
        }
        let mut targets = BTreeMap::new();
        for (uid, entry) in &mut self.pods {
            let active = |session: &&Session| session.goes_on() && session.wants(&entry.pod);
            let wanted =
                !entry.gone && !entry.pod.over && self.sessions.values().any(|session| active(&session));
            if wanted && !entry.watched && !entry.pod.filtered {
                let running = entry.pod.containers.iter().filter(|(_, identity)| identity.running);
                entry.late = running.map(|(id, _)| *id).collect();
            }
            entry.watched = wanted;
            if !wanted {
                continue;
            }
            // What a container is forgotten by, once nothing watches it any more.
            let tag = BuildHasherDefault::<DefaultHasher>::default().hash_one(uid);
            let start = if entry.pod.filtered { Start::Filter } else { Start::ContainerExec };
            let watch = Watch { tag, start, denials: self.denials };
            targets.insert(Target::Pod(*uid), watch);
            let late =
                entry.late.iter().map(|id| (Target::Container(*id), Watch { start: Start::Now, ..watch }));
            targets.extend(late);
        }
        targets
    }

    /// Whether anything goes on that needs the kernel's counters.
    pub(crate) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many pods are kept in mind.
    #[cfg(test)]
    pub(crate) fn pods(&self) -> usize {
        self.pods.len()
    }

    pub(crate) fn recordings(&self) -> usize {
        self.sessions.len()
    }

    /// Takes in what the kernel counted until now. Gives the containers that it may forget.
    pub(crate) fn take(&mut self, snapshot: &Snapshot, now: SystemTime) -> Vec<ContainerKey> {
        let mut forget = Vec::new();
        for recorded in &snapshot.containers {
            if self.take_one(recorded, now) {
                forget.push(recorded.container.key);
            }
        }
        let there = snapshot
            .containers
            .iter()
            .filter_map(|recorded| Some((recorded.container.id?.to_string(), recorded.container.instance)));
        let there: BTreeSet<_> = there.collect();
        let keys: BTreeSet<_> = snapshot.containers.iter().map(|recorded| recorded.container.key).collect();
        let counted: BTreeSet<_> =
            snapshot.containers.iter().filter_map(|recorded| recorded.container.pod).collect();
        self.losses = snapshot.losses;
        for session in self.sessions.values_mut() {
            session.settle(&there, &keys);
            let runs = |entry: &Entry| !entry.gone && !entry.pod.over && session.wants(&entry.pod);
            let has_pods = self.pods.values().any(runs);
            let may_lose = has_pods
                || self.pods.iter().any(|(uid, entry)| counted.contains(uid) && session.wants(&entry.pod));
            session.report_losses(snapshot.losses, may_lose);
            if session.is_asked() {
                session.answer(has_pods);
            }
        }
        self.pods.retain(|uid, entry| !entry.gone || counted.contains(uid));
        forget
    }

    /// Whether the kernel may forget the container.
    fn take_one(&mut self, recorded: &Recorded, now: SystemTime) -> bool {
        let container = &recorded.container;
        // Only pods are watched, so one without a pod is nobody's.
        let (Some(uid), Some(id)) = (container.pod, container.id) else { return true };
        let Some(entry) = self.pods.get_mut(&uid) else { return true };
        let here = (container.instance, container.key);
        let first = entry.first.map_or(here, |first| first.min(here));
        entry.first = Some(first);
        let pod = &entry.pod;
        let ended = container.removed.is_some() || entry.gone || pod.over;
        let sessions = self.sessions.values_mut().filter(|session| session.wants(pod));
        let Some(identity) = pod.containers.get(&id) else {
            let waited = container.removed.and_then(|removed| now.duration_since(removed).ok());
            let decided = entry.gone || pod.over || waited.is_some_and(|waited| waited > UNKNOWN_FOR);
            // The sandbox is in no status. One that was not seen from its making ran before, so a status had told of it.
            let sandbox = !container.whole || first.1 == container.key;
            if !decided && !sandbox {
                sessions.for_each(|session| session.note_unnamed(container.key, pod));
                return false;
            }
            if sandbox {
                return decided;
            }
            return sessions.fold(true, |told, session| {
                session.report_unknown(recorded);
                told && session.is_loaded() && !session.has_news()
            });
        };
        let mut done = true;
        for session in sessions {
            if !session.wants_container(&identity.name) {
                session.pass_over(container.key);
                continue;
            }
            session.report(Sighting { recorded, pod, identity, ended, now });
            done &= session.is_done_with(container.key);
        }
        // Nobody wants it, or everybody has it.
        done && (ended || !entry.watched)
    }

    /// The parts that are worth a write, with their versions.
    pub(crate) fn news(&self) -> impl Iterator<Item = (&Key, &Session)> {
        self.sessions.iter().filter(|(_, session)| session.has_news())
    }

    /// What to write of a recording now.
    pub(crate) fn part(&self, key: &Key) -> Option<(SeccompRecordingPart, u64)> {
        self.sessions.get(key)?.part(&self.node)
    }

    /// A part was written in a version.
    pub(crate) fn wrote(&mut self, key: &Key, uid: &str, version: u64) {
        if let Some(session) = self.sessions.get_mut(key).filter(|session| session.uid() == uid) {
            session.wrote(version);
        }
    }

    /// Drops the recordings that have ended and are told.
    pub(crate) fn drop_ended(&mut self) {
        self.sessions.retain(|_, session| !session.is_over());
    }
}

/// Whether it has ended, or is about to go.
fn is_over(recording: &SeccompRecording) -> bool {
    recording.status.as_ref().is_some_and(|status| status.ended_at.is_some())
        || recording.metadata.deletion_timestamp.is_some()
}
