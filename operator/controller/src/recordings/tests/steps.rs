//! What is to be done next.

use std::{collections::HashSet, time::Duration};

use portcullis_api::{PhaseName, RecordedAbsence, RecordingStatus, RunSummary};
use tokio::time::Instant;

use super::*;
use crate::recordings::{
    output::Made,
    parts::GONE_FOR,
    picture::{Picture, STATUS_PACE, Step},
};

pub(super) struct Scene {
    pub(super) picture: Picture,
    pub(super) here: HashSet<String>,
    begun: Instant,
    /// Seconds since then.
    pub(super) now: u64,
}

impl Scene {
    pub(super) fn new(spec: &Value) -> Self {
        let mut picture = Picture::new(2);
        picture.recording_applied(key(), read(&recording(spec)));
        for node in ["n1", "n2"] {
            picture.recorder_applied(format!("recorder-{node}"), recorder(node, true));
        }
        picture.all_synced();
        let here = ["n1", "n2"].map(str::to_owned).into();
        Self { picture, here, begun: Instant::now(), now: 0 }
    }

    pub(super) fn now(&self) -> Instant {
        self.begun + Duration::from_secs(self.now)
    }

    pub(super) fn step(&mut self) -> Step {
        let now = self.now();
        self.picture.step(&key(), &self.here, now, at(i64::try_from(self.now).unwrap()))
    }

    /// The status that is to be written; it is, and the watch shows it.
    pub(super) fn status(&mut self) -> RecordingStatus {
        let step = self.step();
        let Step::Status(status) = step else { panic!("no status is to be written: {step:?}") };
        let now = self.now();
        self.picture.wrote_status(&key(), "uid-1", (*status).clone(), now);
        // As it comes back from the API server.
        serde_json::from_value(serde_json::to_value(&*status).unwrap()).unwrap()
    }

    pub(super) fn waits(&mut self) -> Option<Duration> {
        match self.step() {
            Step::Wait(at) => at.map(|at| at - self.now()),
            other => panic!("there is something to do: {other:?}"),
        }
    }
}

fn said(status: &RecordingStatus, kind: &str) -> (String, String, String) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind).expect(kind);
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

pub(super) fn words(status: &RecordingStatus, kind: &str) -> [String; 2] {
    let (status, reason, _) = said(status, kind);
    [status, reason]
}

#[test]
fn nothing_is_said_before_everything_is_known() {
    let mut picture = Picture::new(2);
    picture.recording_applied(key(), read(&recording(&json!({}))));
    let step = picture.step(&key(), &HashSet::new(), Instant::now(), at(0));
    assert_eq!(step, Step::Wait(None));
}

#[test]
fn a_recording_whose_pods_never_come_says_so() {
    let mut scene = Scene::new(&json!({"end": {"duration": "10m"}}));
    let status = scene.status();
    assert_eq!(words(&status, "Recording"), ["True", "WaitingForPods"]);
    assert_eq!(words(&status, "Complete"), ["False", "NothingRecorded"]);
    assert_eq!((status.calls, status.started_at.map(|time| time.0)), (0, Some(at(0))));
    assert_eq!(scene.waits(), Some(Duration::from_millis(600_100)));
    scene.now = 601;
    let status = scene.status();
    assert_eq!(words(&status, "Recording"), ["False", "DurationOver"]);
    assert_eq!(words(&status, "Complete"), ["False", "NothingRecorded"]);
    assert_eq!(status.ended_at.map(|time| time.0), Some(at(600)));
    assert_eq!(scene.waits(), None, "it has ended for good");
}

#[test]
fn parts_are_merged_over_nodes_and_runs() {
    let mut scene = Scene::new(&json!({}));
    scene.picture.part_applied(part("n1", "1", &[("smoke", saw(&[("read", 1), ("write", 1)], 0))]));
    scene.picture.part_applied(part("n2", "1", &[("rotate", whole(saw(&[("read", 1), ("rename", 1)], 30)))]));
    let status = scene.status();
    assert_eq!(status.call_names, ["read", "rename", "write"]);
    assert_eq!((status.calls, status.nodes), (3, 2));
    let run = |name: &str| RunSummary { name: name.to_owned(), calls: 2, only_here: 1 };
    assert_eq!(status.runs, [run("rotate"), run("smoke")]);
    assert_eq!(status.last_new_call_time.as_ref().map(|time| time.0), Some(at(30)));
    let web = &status.containers[0];
    assert_eq!(
        web.seen,
        [PhaseName::Start, PhaseName::Steady, PhaseName::SignalHandled, PhaseName::GracefulStop]
    );
    assert_eq!(web.not_seen, [PhaseName::Exec, PhaseName::LogReopened, PhaseName::NonZeroExit]);
    assert_eq!(
        (web.signals.as_slice(), web.images.as_slice()),
        (&["SIGTERM".to_owned()][..], &["sha256:1".to_owned()][..])
    );
    let (state, reason, message) = said(&status, "Complete");
    assert_eq!([state.as_str(), reason.as_str()], ["True", "AllSeen"]);
    assert!(
        message.ends_with(
            "web: not seen: Exec, LogReopened, NonZeroExit; cause those that it has while recording"
        ),
        "{message}"
    );
    assert_eq!(
        status.missing,
        ["web: not seen: Exec, LogReopened, NonZeroExit; cause those that it has while recording"]
    );
}

#[test]
fn a_recording_of_the_happy_path_is_not_complete() {
    let mut scene = Scene::new(&json!({}));
    let mut seen = saw(&[("read", 1)], 0);
    seen.marks.extend([Mark::StartSeen, Mark::Steady]);
    scene.picture.part_applied(part("n1", "1", &[("", seen)]));
    let status = scene.status();
    let (state, reason, message) = said(&status, "Complete");
    assert_eq!([state.as_str(), reason.as_str()], ["False", "GracefulStopNotSeen"]);
    assert_eq!(message, status.missing.join(". "));
    assert_eq!(
        status.missing,
        [
            "web: no graceful stop was seen; delete its pod while recording",
            "web: not seen: Exec, SignalHandled, LogReopened, NonZeroExit; cause those that it has while recording",
        ]
    );
}

#[test]
fn what_only_grows_in_number_causes_no_write() {
    let mut scene = Scene::new(&json!({}));
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 1)], 0))]));
    scene.status();
    assert_eq!(scene.waits(), None);
    scene.now = 100;
    scene.picture.part_applied(part("n1", "2", &[("", saw(&[("read", 1_000_000)], 0))]));
    assert_eq!(scene.waits(), None);
}

#[test]
fn a_status_without_news_waits_for_more() {
    let mut scene = Scene::new(&json!({}));
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 1)], 0))]));
    scene.status();
    scene.now = 1;
    scene.picture.part_applied(part("n1", "2", &[("", saw(&[("read", 1), ("write", 1)], 0))]));
    assert_eq!(scene.waits(), Some(STATUS_PACE - Duration::from_secs(1)));
    scene.now = 2;
    scene.picture.part_applied(part("n1", "3", &[("", whole(saw(&[("read", 1), ("write", 1)], 0)))]));
    assert_eq!(words(&scene.status(), "Complete"), ["True", "AllSeen"], "that does not wait");
}

#[test]
fn ends_when_no_new_call_came_for_so_long() {
    let mut scene = Scene::new(&json!({"end": {"noNewCallFor": "5m", "duration": "1h"}}));
    scene.status();
    assert_eq!(scene.waits(), Some(Duration::from_millis(3_600_100)), "nothing was recorded yet");
    scene.now = 60;
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 1)], 50))]));
    scene.status();
    assert_eq!(scene.waits(), Some(Duration::from_millis(290_100)));
    scene.now = 340;
    scene.picture.part_applied(part(
        "n1",
        "2",
        &[("", {
            let mut more = saw(&[("read", 2)], 50);
            more.join(&saw(&[("write", 1)], 330));
            more
        })],
    ));
    scene.status();
    scene.now = 631;
    let status = scene.status();
    assert_eq!(words(&status, "Recording"), ["False", "NoNewCalls"]);
    assert_eq!(status.ended_at.map(|time| time.0), Some(at(630)));
    // What a recorder still had to tell comes in, and the recording stays ended.
    scene.now = 700;
    scene.picture.part_applied(part("n1", "3", &[("", saw(&[("read", 2), ("rename", 1)], 629))]));
    let status = scene.status();
    assert_eq!(words(&status, "Recording"), ["False", "NoNewCalls"]);
    assert_eq!(status.ended_at.map(|time| time.0), Some(at(630)));
}

#[test]
fn a_part_of_a_node_that_is_gone_is_taken_over_and_counts_once() {
    let mut scene = Scene::new(&json!({}));
    for node in ["n1", "n2"] {
        scene.picture.part_applied(part(node, "1", &[("", saw(&[("read", 5)], 0))]));
    }
    let before = scene.status();
    assert_eq!(before.nodes, 2);
    scene.here.remove("n1");
    let absent = scene.picture.with_absent_nodes(&scene.here);
    assert_eq!(absent, [key()]);
    scene.now = 20;
    assert_eq!(scene.status().nodes, 1, "it is gone, and what it saw still counts");
    assert_eq!(scene.waits(), Some(GONE_FOR), "it may come back");
    assert_eq!(scene.picture.with_absent_nodes(&scene.here), [], "that is known");
    scene.now += GONE_FOR.as_secs();
    let Step::TakeOver { spec, owner, over, taken } = scene.step() else { panic!("{:?}", scene.step()) };
    assert_eq!(over, None, "there is none yet");
    assert_eq!((owner.name.as_str(), owner.uid.as_str()), ("web", "uid-1"));
    assert_eq!((spec.object_name().as_str(), spec.entries[0].part.as_deref()), ("web", Some("part-n1")));
    // The controller stops before it hears of its own write, and the next one does it again.
    let mut written = SeccompRecordingPart::new("web", *spec.clone());
    written.metadata.namespace = Some("shop".to_owned());
    written.metadata.uid = Some("archive".to_owned());
    written.metadata.resource_version = Some("20".to_owned());
    scene.picture.part_applied(written.clone());
    let over = Some("20".to_owned());
    assert_eq!(scene.step(), Step::TakeOver { spec, owner, over, taken: taken.clone() });
    scene.picture.took_over(&key(), written, taken);
    let step = scene.step();
    let expected =
        Step::Delete { name: "web.n1".to_owned(), uid: "part-n1".to_owned(), version: "1".to_owned() };
    assert_eq!(step, expected);
    scene.picture.deleted(&key(), "web.n1", "part-n1");
    // The watch is behind, and still shows a change of what is deleted: it must not be taken for one that is there.
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 5)], 0))]));
    let counted = scene.picture.merged(&key()).total();
    assert_eq!(counted.containers, 2);
    assert!(counted.calls.values().all(|seen| seen.count == 10), "{counted:?}");
    assert_eq!(scene.waits(), None);
}

#[test]
fn a_part_that_changed_meanwhile_is_taken_over_again() {
    let mut scene = Scene::new(&json!({}));
    scene.here.clear();
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 5)], 0))]));
    scene.status();
    scene.now = GONE_FOR.as_secs();
    let Step::TakeOver { spec, taken, .. } = scene.step() else { panic!() };
    let mut written = SeccompRecordingPart::new("web", *spec);
    written.metadata.namespace = Some("shop".to_owned());
    scene.picture.took_over(&key(), written, taken);
    scene.picture.part_applied(part("n1", "2", &[("", saw(&[("read", 6)], 0))]));
    let Step::TakeOver { spec, taken, .. } = scene.step() else {
        panic!("an earlier version must not be deleted")
    };
    assert_eq!(taken.1, "2");
    assert_eq!(spec.entries[0].calls, "SCMP_ARCH_X86_64=0:6:0");
}

#[test]
fn a_node_that_comes_back_keeps_its_part() {
    let mut scene = Scene::new(&json!({}));
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 5)], 0))]));
    scene.here.remove("n1");
    scene.status();
    scene.now = GONE_FOR.as_secs() - 1;
    scene.here.insert("n1".to_owned());
    assert_eq!(scene.picture.with_absent_nodes(&scene.here), [key()]);
    assert_eq!(scene.status().nodes, 1);
    scene.now = GONE_FOR.as_secs() * 2;
    assert_eq!(scene.waits(), None);
}

#[test]
fn what_is_of_another_recording_counts_for_nothing() {
    let mut scene = Scene::new(&json!({}));
    let mut earlier = part("n1", "1", &[("", saw(&[("read", 5)], 0))]);
    earlier.spec.recording_uid = "uid-0".to_owned();
    scene.picture.part_applied(earlier);
    let mut elsewhere = part("n2", "1", &[("", saw(&[("read", 5)], 0))]);
    elsewhere.metadata.namespace = Some("other".to_owned());
    scene.picture.part_applied(elsewhere);
    assert_eq!(scene.status().calls, 0);
    scene.here.clear();
    scene.now = GONE_FOR.as_secs() * 2;
    assert_eq!(scene.waits(), None, "and is not taken over");
}

#[test]
fn a_part_that_can_not_be_read_is_named_and_stops_no_other() {
    let mut scene = Scene::new(&json!({}));
    scene.picture.part_applied(part("n1", "1", &[("", whole(saw(&[("read", 5)], 0)))]));
    let mut broken = part("n2", "1", &[("", saw(&[("write", 5)], 0))]);
    broken.spec.entries[0].calls = "nonsense".to_owned();
    scene.picture.part_applied(broken);
    let status = scene.status();
    assert_eq!(status.call_names, ["read"]);
    let (state, reason, message) = said(&status, "Complete");
    assert_eq!([state.as_str(), reason.as_str()], ["False", "InvalidPart"]);
    assert!(message.contains("web.n2: spec.entries[0].calls: \"nonsense\" is not"), "{message}");
}

#[test]
fn a_recording_that_is_being_deleted_is_left_alone() {
    let mut scene = Scene::new(&json!({"output": {"create": true}}));
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 5)], 0))]));
    let mut going = recording(&json!({"output": {"create": true}}));
    going["metadata"]["deletionTimestamp"] = json!("2026-11-24T22:00:00Z");
    going["metadata"]["finalizers"] = json!(["someone/else"]);
    scene.picture.recording_applied(key(), read(&going));
    assert_eq!(scene.waits(), None);
}

#[test]
fn the_profile_is_made_again_when_there_is_something_new() {
    let mut scene = Scene::new(&json!({"output": {"create": true}}));
    assert_eq!(words(&scene.status(), "Recording"), ["True", "WaitingForPods"], "of nothing there is none");
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 5)], 0))]));
    let Step::Make(basis) = scene.step() else { panic!() };
    let made = || Made::Created { name: "web".to_owned(), notes: vec!["a note".to_owned()] };
    let now = scene.now();
    scene.picture.made(&key(), *basis, made(), now);
    let status = scene.status();
    assert_eq!(words(&status, "ProfileCreated"), ["True", "Created"]);
    assert_eq!(status.notes, ["a note"]);
    scene.picture.part_applied(part("n1", "2", &[("", saw(&[("read", 99)], 0))]));
    assert_eq!(scene.waits(), None, "how often makes no other profile");
    scene.now = 30;
    scene.picture.part_applied(part("n1", "3", &[("", saw(&[("read", 99), ("write", 1)], 0))]));
    scene.status();
    assert_eq!(scene.waits(), Some(Duration::from_secs(30)), "a profile is not rewritten at every call");
    scene.now = 60;
    assert!(matches!(scene.step(), Step::Make(_)));
}

#[test]
fn a_spec_that_was_corrected_does_not_wait() {
    let mut scene = Scene::new(&json!({"output": {"create": true}}));
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 5)], 0))]));
    let Step::Make(basis) = scene.step() else { panic!() };
    let now = scene.now();
    scene.picture.made(&key(), *basis, Made::NameTaken { name: "web".to_owned() }, now);
    assert_eq!(words(&scene.status(), "ProfileCreated"), ["False", "NameTaken"]);
    let mut corrected = recording(&json!({"output": {"create": true}, "profile": {"name": "other"}}));
    corrected["metadata"]["generation"] = json!(2);
    scene.picture.recording_applied(key(), read(&corrected));
    assert!(matches!(scene.step(), Step::Make(_)));
}

#[test]
fn a_profile_loses_no_call_because_a_part_can_not_be_read() {
    let mut scene = Scene::new(&json!({"output": {"create": true}}));
    scene.picture.part_applied(part("n1", "1", &[("", saw(&[("read", 5)], 0))]));
    let mut broken = part("n2", "1", &[("", saw(&[("write", 5)], 0))]);
    broken.spec.entries[0].calls = "nonsense".to_owned();
    scene.picture.part_applied(broken);
    assert_eq!(words(&scene.status(), "Complete"), ["False", "InvalidPart"]);
    assert_eq!(scene.waits(), None, "no profile is made of what is left");
    scene.picture.part_applied(part("n2", "2", &[("", saw(&[("write", 5)], 0))]));
    assert!(matches!(scene.step(), Step::Make(_)));
}

#[test]
fn the_newest_recordings_beyond_the_number_are_told_so_and_take_the_place_of_one_that_goes() {
    let mut picture = Picture::new(2);
    let named = |name: &str| Key { namespace: "shop".to_owned(), name: name.to_owned() };
    for (name, second) in [("b", 2), ("c", 3), ("a", 1), ("far-1", 8), ("far-0", 7)] {
        let mut object = recording(&json!({}));
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(name);
        object["metadata"]["creationTimestamp"] = json!(at(second).to_string());
        picture.recording_applied(named(name), read(&object));
    }
    picture.all_synced();
    let said = |picture: &mut Picture, name: &str| match picture.step(
        &named(name),
        &HashSet::new(),
        Instant::now(),
        at(10),
    ) {
        Step::Status(status) => status.conditions[0].reason.clone(),
        step => format!("{step:?}"),
    };
    assert_eq!(
        ["a", "b", "c", "far-0"].map(|name| said(&mut picture, name)),
        ["WaitingForPods", "WaitingForPods", "NamespaceLimit", "NamespaceLimit",]
    );
    assert_eq!(said(&mut picture, "far-1"), "Wait(None)", "of far too many nothing is kept");
    let woken = picture.recording_removed(&named("a"));
    assert!(woken.contains(&named("c")), "{woken:?}");
    assert_eq!(said(&mut picture, "c"), "WaitingForPods");
}

/// The recorder of a node was away while a pod of the recording lived there wholly.
#[test]
fn a_recording_whose_recorder_was_away_is_not_complete() {
    let mut scene = Scene::new(&json!({}));
    scene.picture.part_applied(part("n1", "1", &[("", whole(saw(&[("read", 1)], 0)))]));
    assert_eq!(words(&scene.status(), "Complete"), ["True", "AllSeen"]);
    let mut away = part("n1", "2", &[("", whole(saw(&[("read", 1)], 0)))]);
    away.spec.absences = vec![RecordedAbsence {
        node: "n1".to_owned(),
        since: 1_795_000_000,
        until: 1_795_000_030,
        pods: vec!["web-9".to_owned()],
        ..RecordedAbsence::default()
    }];
    scene.picture.part_applied(away);
    let status = scene.status();
    assert_eq!(words(&status, "Complete"), ["False", "RecorderAway"]);
    let said = &status.missing[0];
    for words in ["node n1", "2026-11-18T11:06:40Z", "2026-11-18T11:07:10Z", "web-9"] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
}
