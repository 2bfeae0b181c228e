//! What this node's recorder knows: pods, recordings, and what follows from the two.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    time::{Duration, SystemTime},
};

use portcullis_api::{SeccompRecording, SeccompRecordingPart};
use portcullis_probe::{
    Absence, ContainerId, ContainerKey, Losses, PodUid, Recorded, Snapshot, Start, Target, Watch, seconds,
};

use crate::{
    pinned::{group, tag},
    pods::Pod,
    requests::Read,
    session::{Away, Key, Session},
    track::Sighting,
};

/// How long a container that has ended waits for its pod's status to say which one it was.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// How long a container may run without a call's being counted before it is taken for one whose cgroup is too deep, where there are such
/// cgroups: its making would have been seen at once.
const UNSEEN_FOR: Duration = Duration::from_secs(10);

/// Pods and recordings.
///
/// # Whose a container is
/// The kernel says by which UID a container's cgroup is named, and that is its pod: the API server gives UIDs, and nobody chooses one.
/// The cgroup of a static pod has a hash for a name, and the pod in the API that mirrors it says which. Anybody may say that who may
/// create pods. So such a pod is believed of those containers alone that its status names, which a kubelet wrote, and nothing is told
/// of others before one of them was seen.
#[derive(Debug)]
pub(crate) struct Book {
    node: String,
    /// The UID of the Node, once it was read.
    node_uid: Option<String>,
    /// Whether denied calls can be seen on this kernel.
    denials: bool,
    pods: BTreeMap<PodUid, Entry>,
    sessions: BTreeMap<Key, Session>,
    /// The node's own losses, as its counters said last.
    losses: Losses,
    /// That no recorder was here before this one, until when, and which recordings were told of it.
    away: Option<(Absence, SystemTime, BTreeSet<Key>)>,
}

#[derive(Debug)]
struct Entry {
    pod: Pod,
    /// It is no longer in the API.
    gone: bool,
    /// There was a cgroup by its own UID: it mirrors nothing.
    runs_itself: bool,
    /// Its status names a container of the static pod that it says to mirror.
    is_mirror: bool,
    watched: bool,
    /// Containers that ran already when the pod was first watched.
    late: BTreeSet<ContainerId>,
    /// Containers that ran already when the pod was first watched, with a filter or without.
    before: BTreeSet<ContainerId>,
    /// Containers that run and of which nothing was counted, since when; none once that is told.
    unseen: BTreeMap<ContainerId, Option<SystemTime>>,
    /// The container of it that was seen first: the sandbox, where it was seen from its making.
    first: Option<(u64, ContainerKey)>,
}

/// What is known of a container's pod.
enum Whose {
    /// It is none of the API's.
    Nobodys,
    /// Of the pod with this UID in the API.
    Of(PodUid),
    /// These say to mirror the static pod, and nothing shows that one of them does.
    Claimed(Vec<PodUid>),
}

impl Entry {
    fn new(pod: Pod) -> Self {
        Self {
            pod,
            gone: false,
            runs_itself: false,
            is_mirror: false,
            watched: false,
            late: BTreeSet::new(),
            before: BTreeSet::new(),
            unseen: BTreeMap::new(),
            first: None,
        }
    }

    /// The static pod that it says to mirror, where it may.
    fn mirrors(&self, node_uid: Option<&str>) -> Option<PodUid> {
        let mirror = self.pod.mirror.as_ref().filter(|mirror| Some(mirror.node_uid.as_str()) == node_uid)?;
        (!self.runs_itself).then_some(mirror.hash)
    }

    /// Notes which of its containers was seen first.
    fn note_first(&mut self, recorded: &Recorded) {
        let here = (recorded.container.instance, recorded.container.key);
        self.first = Some(self.first.map_or(here, |first| first.min(here)));
    }

    /// Whether a container that no status names is the sandbox, or one that ran before: of those a status had told.
    fn is_sandbox(&self, recorded: &Recorded) -> bool {
        let container = &recorded.container;
        !container.whole || self.first.is_some_and(|(_, key)| key == container.key)
    }
}

impl Book {
    pub(crate) fn new(node: String, denials: bool) -> Self {
        Self {
            node,
            node_uid: None,
            denials,
            pods: BTreeMap::new(),
            sessions: BTreeMap::new(),
            losses: Losses::default(),
            away: None,
        }
    }

    /// Takes in that no recorder was here until now, once the pods and recordings are known that there are. Those that come later are told
    /// nothing of it.
    pub(crate) fn back_after(&mut self, absence: Absence, now: SystemTime) {
        self.away = Some((absence, now, BTreeSet::new()));
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
            None => drop(self.pods.insert(pod.uid, Entry::new(pod))),
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
        let session = Session::of(recording, &self.losses)?;
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
        self.node_uid = read.node_uid.clone().or(self.node_uid.take());
        if let Some(session) = self.sessions.get_mut(key).filter(|session| session.uid() == uid) {
            session.load(read, &self.losses);
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
            if wanted && !entry.watched {
                let running = entry.pod.containers.iter().filter(|(_, identity)| identity.running);
                entry.before = running.map(|(id, _)| *id).collect();
                if !entry.pod.filtered {
                    entry.late.clone_from(&entry.before);
                }
            }
            entry.watched = wanted;
            if !wanted {
                continue;
            }
            let start = if entry.pod.filtered { Start::Filter } else { Start::ContainerExec };
            let watch =
                Watch { tag: tag(*uid), start, group: group(&entry.pod.namespace), denials: self.denials };
            targets.insert(Target::Pod(*uid), watch);
            let mirrored = entry.mirrors(self.node_uid.as_deref());
            if let Some(hash) = mirrored {
                let watch = Watch { tag: tag(hash), ..watch };
                match targets.entry(Target::Pod(hash)) {
                    btree_map::Entry::Vacant(free) => drop(free.insert(watch)),
                    btree_map::Entry::Occupied(mut taken) if entry.is_mirror => drop(taken.insert(watch)),
                    btree_map::Entry::Occupied(_) => {}
                }
            }
            let tag = tag(mirrored.unwrap_or(*uid));
            let late = entry.late.iter();
            targets
                .extend(late.map(|id| (Target::Container(*id), Watch { tag, start: Start::Now, ..watch })));
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
        self.tell_of_absence(&counted);
        if snapshot.losses.too_deep > 0 {
            let ids = snapshot.containers.iter().filter_map(|recorded| recorded.container.id);
            self.tell_of_depth(&ids.collect(), now);
        }
        let node_uid = self.node_uid.as_deref();
        let has_counters = |entry: &Entry| {
            let mirrored = entry.mirrors(node_uid);
            counted.contains(&entry.pod.uid) || mirrored.is_some_and(|hash| counted.contains(&hash))
        };
        self.losses.clone_from(&snapshot.losses);
        for session in self.sessions.values_mut() {
            session.settle(&there, &keys);
            let runs = |entry: &Entry| !entry.gone && !entry.pod.over && session.wants(&entry.pod);
            let has_pods = self.pods.values().any(runs);
            let may_lose =
                has_pods || self.pods.values().any(|entry| has_counters(entry) && session.wants(&entry.pod));
            session.report_losses(&snapshot.losses, may_lose);
            if session.is_asked() {
                session.answer(has_pods);
            }
        }
        self.pods.retain(|_, entry| !entry.gone || has_counters(entry));
        forget
    }

    /// Tells each recording whose part was read of the pods that came and went while no recorder was here. `counted` are those that the kernel
    /// knows: what of them was missed, their containers say themselves.
    fn tell_of_absence(&mut self, counted: &BTreeSet<PodUid>) {
        let Some((absence, until, told)) = &mut self.away else { return };
        let (since, until) = (seconds(absence.since), seconds(*until));
        let unknown = absence.strangers.keys().filter(|uid| !self.pods.contains_key(uid)).count();
        let node_uid = self.node_uid.as_deref();
        // While nothing was watched, nobody noted which pods came. The API says of those that it still has when they began.
        let lived = |entry: &&Entry| {
            let began = entry.pod.started.is_some_and(|started| (since..=until).contains(&started));
            let own = entry.mirrors(node_uid).unwrap_or(entry.pod.uid);
            entry.pod.over
                && !counted.contains(&own)
                && (began || absence.strangers.contains_key(&entry.pod.uid))
        };
        for (key, session) in self.sessions.iter_mut().filter(|(_, session)| session.is_loaded()) {
            if !told.insert(key.clone()) {
                continue;
            }
            let wanted = || self.pods.values().filter(|entry| session.wants(&entry.pod));
            // The kernel takes no note of static pods, whose cgroups' names say nothing of when they came.
            let has_static = wanted().any(|entry| entry.mirrors(node_uid).is_some());
            let mine = wanted().filter(lived);
            session.missed(&Away {
                node: &self.node,
                since,
                until,
                unnoted: has_static || !absence.noted,
                pods: mine.map(|entry| entry.pod.name.as_str()).collect(),
                gone: u64::try_from(unknown).unwrap_or(u64::MAX),
            });
        }
        if self.sessions.keys().all(|key| told.contains(key)) {
            self.away = None;
        }
    }

    /// Tells recordings of containers that run, began under the kernel's eyes and were not seen by it: their cgroups are too deep. What else is
    /// too deep, a user's session for example, is no recording's.
    fn tell_of_depth(&mut self, counted: &BTreeSet<ContainerId>, now: SystemTime) {
        for entry in self.pods.values_mut().filter(|entry| entry.watched && !entry.gone) {
            let Entry { pod, before, unseen, .. } = entry;
            let runs = |id: &ContainerId| pod.containers.get(id).is_some_and(|identity| identity.running);
            unseen.retain(|id, _| runs(id) && !counted.contains(id));
            for (id, identity) in pod.containers.iter().filter(|(_, identity)| identity.running) {
                if before.contains(id) || counted.contains(id) {
                    continue;
                }
                let Some(since) = unseen.entry(*id).or_insert(Some(now)) else { continue };
                if now.duration_since(*since).is_ok_and(|unseen| unseen >= UNSEEN_FOR) {
                    unseen.insert(*id, None);
                    let wants = |session: &&mut Session| {
                        session.wants(pod) && session.wants_container(&identity.name)
                    };
                    self.sessions
                        .values_mut()
                        .filter(wants)
                        .for_each(|session| session.report_too_deep(*id, pod, identity));
                }
            }
        }
    }

    /// Whether the kernel may forget the container.
    fn take_one(&mut self, recorded: &Recorded, now: SystemTime) -> bool {
        let container = &recorded.container;
        // Only pods are watched, so one without a pod is nobody's.
        let (Some(uid), Some(id)) = (container.pod, container.id) else { return true };
        let waited = container.removed.and_then(|removed| now.duration_since(removed).ok());
        let waited = waited.is_some_and(|waited| waited > UNKNOWN_FOR);
        let uid = match self.whose(uid, id, recorded) {
            Whose::Of(uid) => uid,
            Whose::Nobodys => return true,
            Whose::Claimed(claimants) => {
                let claimants = claimants.iter().filter_map(|uid| self.pods.get(uid));
                let mut may_be_named = false;
                for entry in claimants.filter(|entry| !entry.gone && !entry.pod.over) {
                    may_be_named = true;
                    if !entry.is_sandbox(recorded) {
                        let sessions = self.sessions.values_mut().filter(|session| session.wants(&entry.pod));
                        sessions.for_each(|session| session.note_unnamed(container.key, &entry.pod));
                    }
                }
                return waited || !may_be_named;
            }
        };
        let Some(entry) = self.pods.get(&uid) else { return true };
        let pod = &entry.pod;
        let ended = container.removed.is_some() || entry.gone || pod.over;
        let sessions = self.sessions.values_mut().filter(|session| session.wants(pod));
        let Some(identity) = pod.containers.get(&id) else {
            let decided = entry.gone || pod.over || waited;
            let sandbox = entry.is_sandbox(recorded);
            if !decided && !sandbox {
                sessions.for_each(|session| session.note_unnamed(container.key, pod));
                return false;
            }
            if sandbox {
                return decided;
            }
            return sessions.fold(true, |told, session| {
                session.report_unknown(recorded);
                told && session.is_told()
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

    /// Which pod a container is of, whose cgroup is named by this.
    fn whose(&mut self, uid: PodUid, id: ContainerId, recorded: &Recorded) -> Whose {
        if !uid.is_static() {
            let Some(entry) = self.pods.get_mut(&uid) else { return Whose::Nobodys };
            entry.runs_itself = true;
            entry.note_first(recorded);
            return Whose::Of(uid);
        }
        let node_uid = self.node_uid.as_deref();
        let mut claimants = Vec::new();
        for (own, entry) in &mut self.pods {
            if entry.mirrors(node_uid) == Some(uid) {
                entry.note_first(recorded);
                entry.is_mirror |= entry.pod.containers.contains_key(&id);
                claimants.push((*own, entry.is_mirror));
            }
        }
        match claimants.iter().find(|(_, is_mirror)| *is_mirror) {
            Some((own, _)) => Whose::Of(*own),
            None if claimants.is_empty() => Whose::Nobodys,
            None => Whose::Claimed(claimants.into_iter().map(|(own, _)| own).collect()),
        }
    }

    /// The recordings for which this node needs an invitation, with their UIDs.
    pub(crate) fn uninvited(&self) -> impl Iterator<Item = (&Key, &str)> {
        let mut here: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for entry in self.pods.values().filter(|entry| !entry.gone) {
            here.entry(&entry.pod.namespace).or_default().push(&entry.pod);
        }
        let wants = move |(key, session): &(&Key, &Session)| {
            let pods = here.get(key.namespace.as_str()).into_iter().flatten();
            session.wants_invitation(pods.copied().filter(|pod| session.wants(pod)))
        };
        self.sessions.iter().filter(wants).map(|(key, session)| (key, session.uid()))
    }

    /// By which the controller is asked for an invitation.
    pub(crate) fn ask(&mut self, key: &Key) -> Option<SeccompRecordingPart> {
        self.sessions.get_mut(key).map(|session| session.ask(&self.node))
    }

    /// The controller has invited this node to write for a recording, or has refused it.
    pub(crate) fn answered(&mut self, key: &Key, uid: &str, invited: bool) {
        if let Some(session) = self.sessions.get_mut(key).filter(|session| session.uid() == uid) {
            session.answered(invited);
        }
    }

    /// A part is not there, or may not be written.
    pub(crate) fn lost_invitation(&mut self, key: &Key, uid: &str) {
        if let Some(session) = self.sessions.get_mut(key).filter(|session| session.uid() == uid) {
            session.lost_invitation();
        }
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
