//! One recording, as this node sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};
use portcullis_api::{SeccompRecording, SeccompRecordingPart, SeccompRecordingPartSpec};
use portcullis_probe::{ContainerId, ContainerKey, Losses as NodeLosses, Recorded, observation, seconds};
use portcullis_profile::recording::{
    Absence, Ledger, Losses, MAX_ABSENT_PODS, MAX_OPEN, Mark, OTHERS, Observation, Source, Subject,
};

use crate::{
    pinned::group,
    pods::{Identity, Pod},
    requests::Read,
    track::{Sighting, Track, counters_of, source},
};

/// A recording's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn of(recording: &SeccompRecording) -> Self {
        Self { namespace: recording.namespace().unwrap_or_default(), name: recording.name_any() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeccompRecording {}/{}", self.namespace, self.name)
    }
}

/// That this node's recorder was away, as one recording has to know it.
#[derive(Debug)]
pub(crate) struct Away<'a> {
    pub(crate) node: &'a str,
    /// From when until when: seconds since the epoch.
    pub(crate) since: u64,
    pub(crate) until: u64,
    /// The recording's pods that lived meanwhile, and of which the kernel has counted nothing.
    pub(crate) pods: Vec<&'a str>,
    /// Pods that came and went meanwhile.
    pub(crate) gone: u64,
    /// Whether others may have, and nobody can know: nobody took note, or they were static ones.
    pub(crate) unnoted: bool,
}

/// Whether this node may write for a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The controller has not answered.
    Unknown,
    /// It has seen pods of the recording here.
    Invited,
    /// It has seen none.
    Refused,
}

/// A recording under way.
#[derive(Debug)]
pub(crate) struct Session {
    key: Key,
    uid: String,
    owner: OwnerReference,
    /// Seconds since the epoch.
    created: u64,
    selector: Selector,
    /// The containers that are recorded; all where none is named.
    names: BTreeSet<String>,
    /// The recording's generation that is taken in.
    generation: Option<i64>,
    /// The test run that it says is under way.
    run: Option<String>,
    /// Containers that nothing names yet, each with the run in which it was seen first.
    unnamed: BTreeMap<ContainerKey, String>,
    /// What must be named before the generation is answered; none where it is answered, or nobody asked.
    unanswered: Option<BTreeSet<ContainerKey>>,
    /// The version in which the generation is answered, which is written without waiting.
    answer: u64,
    standing: Standing,
    /// None until the node's part was read.
    ledger: Option<Ledger>,
    tracks: BTreeMap<ContainerKey, Track>,
    /// What the node's counters of losses said when the recording began here, and what of them was lost while it had no pod here: what
    /// they say beyond that is its own.
    losses_before: Losses,
    /// Whether it may have lost something at the last look.
    could_lose: bool,
    /// Grows whenever there is something worth a write.
    version: u64,
    written: u64,
    /// It has ended: what is left is one last write.
    ending: bool,
}

impl Session {
    /// One for a recording that goes on. `losses` are the node's own by now.
    ///
    /// # Errors
    /// In words, where its selector can't be read or the object is not the API server's.
    pub(crate) fn of(recording: &SeccompRecording, losses: &NodeLosses) -> Result<Self, String> {
        let selector = LabelSelector::from(&recording.spec.pod_selector);
        let selector = Selector::try_from(selector).map_err(|error| format!("spec.podSelector: {error}"))?;
        let owner = recording.owner_reference().ok_or("metadata.uid is missing")?;
        let created = recording.metadata.creation_timestamp.as_ref();
        let key = Key::of(recording);
        let losses_before = of_counters(losses, &key.namespace);
        Ok(Self {
            key,
            uid: owner.uid.clone(),
            owner,
            created: created.map_or(0, |time| seconds(time.0.into())),
            selector,
            names: recording.spec.containers.iter().cloned().collect(),
            generation: recording.metadata.generation,
            run: recording.spec.run.clone(),
            unnamed: BTreeMap::new(),
            unanswered: None,
            answer: 0,
            standing: Standing::Unknown,
            ledger: None,
            tracks: BTreeMap::new(),
            losses_before,
            could_lose: false,
            version: 0,
            written: 0,
            ending: false,
        })
    }

    /// Takes over what a newer version of the same recording says. What was counted stays.
    pub(crate) fn update(&mut self, newer: Self) {
        self.selector = newer.selector;
        self.names = newer.names;
        self.run = newer.run;
        if newer.generation != self.generation {
            self.generation = newer.generation;
            self.unanswered = Some(self.unnamed.keys().copied().collect());
        }
    }

    /// Whether this is another generation of the recording than the one that was taken in.
    pub(crate) fn differs(&self, recording: &SeccompRecording) -> bool {
        recording.metadata.generation != self.generation
    }

    /// Whether a new generation is still to be answered.
    pub(crate) const fn is_asked(&self) -> bool {
        self.unanswered.is_some()
    }

    /// Answers a new generation, once all that was done before is in the ledger: whoever made it may wait for that. Where the node has
    /// neither pods of the recording nor anything to tell, nobody does.
    pub(crate) fn answer(&mut self, has_pods: bool) {
        let Some(ledger) = &self.ledger else { return };
        let Some(awaited) = &self.unanswered else { return };
        if awaited.iter().any(|key| self.unnamed.contains_key(key)) {
            return;
        }
        self.unanswered = None;
        if has_pods || !ledger.total().is_empty() {
            self.version += 1;
            self.answer = self.version;
        }
    }

    /// Whether somebody waits for what is to be written.
    pub(crate) fn is_awaited(&self) -> bool {
        self.answer > self.written
    }

    /// The test run that a pod's calls count for now.
    fn run_of<'a>(&'a self, pod: &'a Pod) -> &'a str {
        self.run.as_deref().unwrap_or_else(|| pod.run())
    }

    /// Notes a container that nothing names yet: what it does counts for the present run, whenever its name comes.
    pub(crate) fn note_unnamed(&mut self, key: ContainerKey, pod: &Pod) {
        if !self.unnamed.contains_key(&key) {
            let run = self.run_of(pod).to_owned();
            self.unnamed.insert(key, run);
        }
    }

    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// It has ended: one last write, and it is done.
    pub(crate) fn end(&mut self) {
        let tells = self.ledger.as_ref().is_some_and(|ledger| !ledger.total().is_empty());
        if !self.ending && tells {
            self.version += 1;
        }
        self.ending = true;
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.ending
    }

    /// Whether the pod is one that is recorded.
    pub(crate) fn wants(&self, pod: &Pod) -> bool {
        pod.namespace == self.key.namespace && self.selector.matches(&pod.labels)
    }

    pub(crate) fn wants_container(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.ledger.is_some()
    }

    /// Goes on from what an earlier recorder of this node wrote.
    pub(crate) fn load(&mut self, read: Read, losses: &NodeLosses) {
        let Read { invited, mut ledger, invalid, platform, observed_generation, lost_before, node_uid: _ } =
            read;
        self.standing = if invited { Standing::Invited } else { Standing::Unknown };
        if let Some(before) = lost_before {
            self.could_lose = true;
            let reported = ledger.reported(&of_the_node()).map_or(Losses::default(), |seen| seen.losses);
            let now = of_counters(losses, &self.key.namespace);
            let goes_on = now.calls >= before.calls.saturating_add(reported.calls)
                && now.denials >= before.denials.saturating_add(reported.denials);
            if goes_on {
                // What was lost while no recorder ran is its own.
                self.losses_before = before;
            } else {
                // The node began anew meanwhile, or its counters have another size.
                ledger.settle(&of_the_node());
                self.losses_before = Losses::default();
            }
        }
        if let Some(platform) = platform {
            ledger.on(platform);
        }
        if invalid.is_some() {
            // What the part held is lost, and nobody knows how much that was.
            let seen =
                Observation { losses: Losses { calls: 1, ..Losses::default() }, ..Observation::default() };
            let source = Source { container: String::new(), instance: "part".to_owned() };
            ledger.report(source, nobody(), &seen);
            self.version += 1;
        }
        if observed_generation != self.generation {
            // It came while no recorder ran, or just now.
            self.unanswered.get_or_insert_default();
        }
        self.ledger = Some(ledger);
    }

    /// Takes in what a container was seen to do.
    pub(crate) fn report(&mut self, sighting: Sighting<'_>) {
        let Sighting { recorded, pod, identity, ended, now } = sighting;
        let run = self.run_of(pod).to_owned();
        let Some(ledger) = &mut self.ledger else { return };
        let told = identity.exit.filter(|_| !identity.running);
        let counted = observation(recorded, told);
        let key = recorded.container.key;
        let first_run = self.unnamed.remove(&key);
        let is_known = self.tracks.contains_key(&key);
        let track = self.tracks.entry(key).or_insert_with(|| {
            Track::begin(ledger, self.created, sighting, &counted, first_run.as_deref().unwrap_or(&run))
        });
        // What was not reported yet is the earlier run's; one that has ended does nothing in a later one.
        if track.run != run && is_known && track.ended_in.is_none() {
            track.cut(ledger, &run, now);
        }
        let mut seen = track.seen(&counted);
        let container = &recorded.container;
        let until = container.removed.or(container.exit.map(|exit| exit.at)).unwrap_or(now);
        seen.observed_at(seconds(until));
        let last = ledger.reported(&track.source).cloned();
        if identity.has_commands {
            seen.marks.insert(Mark::ExecExpected);
        }
        let subject = Subject {
            image: identity.image.clone(),
            container: identity.name.clone(),
            run: track.run.clone(),
        };
        ledger.report(track.source.clone(), subject, &seen);
        let news = last.as_ref().is_none_or(|last| seen.is_news_after(last));
        track.counted = counted;
        let just_ended = ended && track.ended_in.is_none();
        if news || just_ended {
            self.version += 1;
        }
        if just_ended {
            track.ended_in = Some(self.version);
        }
    }

    /// It is a container that is not recorded after all.
    pub(crate) fn pass_over(&mut self, key: ContainerKey) {
        self.unnamed.remove(&key);
    }

    /// Takes in that a container runs of which nothing is counted, because its cgroup is deeper than the probe looks.
    pub(crate) fn report_too_deep(&mut self, id: ContainerId, pod: &Pod, identity: &Identity) {
        let run = self.run_of(pod).to_owned();
        let Some(ledger) = &mut self.ledger else { return };
        let source = Source { container: id.to_string(), instance: "deep".to_owned() };
        let subject = Subject { image: identity.image.clone(), container: identity.name.clone(), run };
        ledger.report(
            source,
            subject,
            &Observation { marks: [Mark::TooDeep].into(), ..Observation::default() },
        );
        self.version += 1;
    }

    /// Takes in that a container was there of which nothing can be told: neither its name nor its image.
    pub(crate) fn report_unknown(&mut self, recorded: &Recorded) {
        self.unnamed.remove(&recorded.container.key);
        let Some(ledger) = &mut self.ledger else { return };
        let calls = recorded.calls.values().fold(0_u64, |sum, count| sum.saturating_add(count.count));
        let seen = Observation { losses: Losses { calls, ..Losses::default() }, ..Observation::default() };
        let source = source(recorded, 0);
        if ledger.reported(&source) != Some(&seen) {
            ledger.report(source, nobody(), &seen);
            self.version += 1;
        }
    }

    /// Takes in what the node lost that can be told of no container. That is nothing of a recording that has no pod here (`may_lose`), and
    /// had none at the last look.
    pub(crate) fn report_losses(&mut self, losses: &NodeLosses, may_lose: bool) {
        let Some(ledger) = &mut self.ledger else {
            self.could_lose |= may_lose;
            return;
        };
        let known = ledger.reported(&of_the_node()).map_or(Losses::default(), |seen| seen.losses);
        let now = of_counters(losses, &self.key.namespace);
        let could_lose = std::mem::replace(&mut self.could_lose, may_lose);
        if !may_lose && !could_lose {
            self.losses_before = less(now, known);
        }
        let lost = less(now, self.losses_before);
        if lost == known || lost.is_none() {
            return;
        }
        ledger.report(of_the_node(), nobody(), &Observation { losses: lost, ..Observation::default() });
        if known.is_none() {
            self.version += 1;
        }
    }

    /// Takes in that this node's recorder was away, and which pods of the recording lived meanwhile; and how many pods did that are not in the
    /// API any more, or that nobody can know. Where the recording has nothing on this node, the recorder may not write, and it is the controller
    /// that looks whether pods of it are on a node without a recorder.
    pub(crate) fn missed(&mut self, absence: &Away<'_>) {
        let Some(ledger) = &mut self.ledger else { return };
        let is_invited = self.standing == Standing::Invited;
        let gone = if is_invited { absence.gone } else { 0 };
        let unnoted = is_invited && absence.unnoted;
        if self.created >= absence.until || absence.pods.is_empty() && gone == 0 && !unnoted {
            return;
        }
        let named = absence.pods.iter().take(MAX_ABSENT_PODS).map(|name| (*name).to_owned());
        let unnamed = absence.pods.len().saturating_sub(MAX_ABSENT_PODS);
        ledger.missed(Absence {
            node: absence.node.to_owned(),
            since: absence.since.max(self.created),
            until: Some(absence.until),
            pods: named.collect(),
            others: gone.saturating_add(u64::try_from(unnamed).unwrap_or(u64::MAX)),
            unnoted,
        });
        self.version += 1;
    }

    /// Whether this recording no longer needs what the kernel has of a container that has ended. One for which the node was refused keeps in
    /// mind what it saw, and the kernel's room is for those that can be told.
    pub(crate) fn is_done_with(&self, key: ContainerKey) -> bool {
        let ended_in = self.tracks.get(&key).and_then(|track| track.ended_in);
        let is_told = |version| version <= self.written || self.standing == Standing::Refused;
        self.is_loaded() && ended_in.is_some_and(is_told)
    }

    /// Settles the sources whose counters are gone. `there` are the containers that the kernel still has, by id and instance.
    pub(crate) fn settle(&mut self, there: &BTreeSet<(String, u64)>, keys: &BTreeSet<ContainerKey>) {
        let Some(ledger) = &mut self.ledger else { return };
        self.tracks.retain(|key, _| keys.contains(key));
        self.unnamed.retain(|key, _| keys.contains(key));
        let gone = |source: &Source| {
            !source.container.is_empty()
                && counters_of(source)
                    .is_none_or(|(counters, _)| !there.contains(&(source.container.clone(), counters)))
        };
        let gone: Vec<_> =
            ledger.open().map(|(source, ..)| source).filter(|source| gone(source)).cloned().collect();
        // A part tells of so many open sources how often they called, and of the others only once they are settled.
        if ledger.open().count() > MAX_OPEN && !gone.is_empty() {
            self.version += 1;
        }
        for source in gone {
            ledger.settle(&source);
        }
    }

    /// Whether there is something to write, and it may be written.
    pub(crate) fn has_news(&self) -> bool {
        self.standing == Standing::Invited && self.version > self.written
    }

    /// Whether all is written that can be.
    pub(crate) fn is_told(&self) -> bool {
        self.is_loaded() && (self.version <= self.written || self.standing == Standing::Refused)
    }

    /// Whether there is nothing left to do for it.
    pub(crate) fn is_over(&self) -> bool {
        self.ending && self.is_told()
    }

    /// Whether the controller is to be asked for an invitation, given the pods of the recording that are here. Early, so that it looks while
    /// the pods are there. One that refused is asked again only once there is a pod for it to see.
    pub(crate) fn wants_invitation<'p>(&self, mut pods: impl Iterator<Item = &'p Pod>) -> bool {
        self.is_loaded()
            && match self.standing {
                Standing::Invited => false,
                Standing::Unknown => {
                    self.version > self.written || self.goes_on() && pods.any(|pod| !pod.over)
                }
                Standing::Refused => self.goes_on() && pods.next().is_some(),
            }
    }

    /// By which the controller is asked. Until it answers, the kernel keeps what it has.
    pub(crate) fn ask(&mut self, node: &str) -> SeccompRecordingPart {
        self.standing = Standing::Unknown;
        self.object(SeccompRecordingPartSpec::asking(&self.key.name, &self.uid, node))
    }

    /// The controller has answered.
    pub(crate) fn answered(&mut self, invited: bool) {
        self.standing = if invited { Standing::Invited } else { Standing::Refused };
    }

    /// The part is not there, or may not be written.
    pub(crate) fn lost_invitation(&mut self) {
        self.standing = Standing::Unknown;
    }

    /// What to write now, and which version that is. None while the part was not read.
    pub(crate) fn part(&self, node: &str) -> Option<(SeccompRecordingPart, u64)> {
        // Until a generation is answered, the one before is told.
        let generation = self.generation.filter(|_| self.unanswered.is_none());
        let spec = SeccompRecordingPartSpec::of_node(&self.key.name, &self.uid, node, self.ledger.as_ref()?)
            .observing(generation)
            .beginning_with(self.losses_before);
        Some((self.object(spec), self.version))
    }

    fn object(&self, spec: SeccompRecordingPartSpec) -> SeccompRecordingPart {
        let mut part = SeccompRecordingPart::new(&spec.object_name(), spec);
        part.metadata.namespace = Some(self.key.namespace.clone());
        part.metadata.owner_references = Some(vec![self.owner.clone()]);
        part
    }

    /// A version was written.
    pub(crate) fn wrote(&mut self, version: u64) {
        self.written = self.written.max(version);
    }
}

/// What the node's counters say of what a recording may have lost: of its own namespace's containers, those that had no room. Of a task that
/// is not known as its application's at least one call is missing.
fn of_counters(losses: &NodeLosses, namespace: &str) -> Losses {
    let no_room = losses.no_room_in.get(&group(namespace)).copied().unwrap_or(0);
    Losses { calls: no_room.saturating_add(losses.unmarked), values: 0, denials: losses.unpaired }
}

const fn less(losses: Losses, before: Losses) -> Losses {
    Losses {
        calls: losses.calls.saturating_sub(before.calls),
        values: 0,
        denials: losses.denials.saturating_sub(before.denials),
    }
}

/// The subject of what can be told of no container.
fn nobody() -> Subject {
    Subject { container: OTHERS.to_owned(), ..Subject::default() }
}

/// The source of what can be told of no container.
fn of_the_node() -> Source {
    Source { container: String::new(), instance: "node".to_owned() }
}
