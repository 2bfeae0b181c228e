//! Nodes without a recorder, and the pods of the recording that are there.

use portcullis_api::RecordingStatus;

use super::{
    steps::{Scene, words},
    *,
};
use crate::recordings::{picture::Step, unrecorded::FoundPod};

fn found(name: &str, node: &str, created: i64) -> FoundPod {
    let text = name.to_owned();
    FoundPod { uid: text.clone(), name: text, node: node.to_owned(), created: at(created), over: false }
}

impl Scene {
    /// The recorder of n1 goes, or is back.
    fn recorder(&mut self, ready: bool) {
        self.picture.recorder_applied("recorder-n1".to_owned(), recorder("n1", ready));
    }

    /// It is looked for pods, and these are found.
    fn finds(&mut self, pods: &[FoundPod]) {
        let step = self.step();
        assert!(matches!(step, Step::Look { .. }), "{step:?}");
        let now = (self.now(), at(i64::try_from(self.now).unwrap()));
        self.picture.looked(&key(), "uid-1", pods, &self.here.clone(), now);
    }
}

/// One that has seen everything on n1 and n2.
fn complete() -> Scene {
    let mut scene = Scene::new(&json!({}));
    scene.picture.part_applied(part("n1", "1", &[("", whole(saw(&[("read", 1)], 0)))]));
    assert_eq!(words(&scene.status(), "Complete"), ["True", "AllSeen"]);
    scene
}

fn pods(status: &RecordingStatus) -> Vec<&str> {
    status.unrecorded.iter().flat_map(|node| &node.pods).map(|pod| pod.name.as_str()).collect()
}

#[test]
fn a_node_whose_recorder_never_comes_back_leaves_no_complete_recording() {
    let mut scene = complete();
    scene.now = 10;
    scene.recorder(false);
    scene.finds(&[found("web-1", "n1", 0), found("web-2", "n2", 0)]);
    // A restart takes a moment, and loses nothing of pods that are still there.
    assert_eq!(scene.waits(), Some(std::time::Duration::from_secs(5)));
    scene.now = 40;
    scene.finds(&[found("web-1", "n1", 0), found("web-2", "n2", 0)]);
    let status = scene.status();
    assert_eq!(words(&status, "Complete"), ["False", "RecorderAway"]);
    let said = &status.missing[0];
    for words in ["no recorder runs on node n1 since 2026-11-18T11:06:50Z", "web-1", "portcullis-recorder"] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
    assert!(!said.contains("web-2"), "{said}");
}

#[test]
fn a_recorder_that_is_back_in_time_tells_of_the_pods_itself() {
    let mut scene = complete();
    scene.recorder(false);
    scene.finds(&[found("web-1", "n1", 0)]);
    scene.now = 60;
    scene.finds(&[found("web-1", "n1", 0)]);
    assert_eq!(words(&scene.status(), "Complete"), ["False", "RecorderAway"]);
    scene.now = 65;
    scene.recorder(true);
    scene.finds(&[found("web-1", "n1", 0)]);
    let status = scene.status();
    assert_eq!(words(&status, "Complete"), ["True", "AllSeen"]);
    assert_eq!((status.unrecorded.len(), scene.waits()), (0, None), "and nothing more is looked for");
}

/// Regression: a pod that was deleted while the recorder of its node was away was known to nobody.
#[test]
fn a_pod_that_is_gone_before_its_recorder_is_back_is_named() {
    let mut scene = complete();
    scene.recorder(false);
    scene.finds(&[found("web-1", "n1", 0)]);
    scene.now = 5;
    scene.finds(&[]);
    assert_eq!(pods(&scene.status()), ["web-1"], "at once");
    scene.now = 9;
    scene.recorder(true);
    // Another pod of the same name, as a StatefulSet's.
    scene.finds(&[FoundPod { uid: "another".to_owned(), ..found("web-1", "n1", 7) }]);
    scene.now = 20;
    let status = scene.status();
    assert_eq!(words(&status, "Complete"), ["False", "RecorderAway"]);
    let said = &status.missing[0];
    assert!(said.contains("was away from 2026-11-18T11:06:40Z to 2026-11-18T11:06:49Z: pod web-1"), "{said}");
    assert_eq!(scene.waits(), None);
    // The next controller takes it from the status.
    let mut object = recording(&json!({}));
    object["status"] = json!(status);
    let mut next = Scene::new(&json!({}));
    next.picture.recording_removed(&key());
    next.picture.recording_applied(key(), read(&object));
    next.picture.part_applied(part("n1", "1", &[("", whole(saw(&[("read", 1)], 0)))]));
    next.now = 30;
    assert_eq!(next.waits(), None, "it says what is there already");
}

#[test]
fn a_node_that_goes_without_its_recorder_takes_its_pods_with_it() {
    let mut scene = complete();
    scene.recorder(false);
    scene.finds(&[found("web-1", "n1", 0)]);
    scene.now = 5;
    scene.here.remove("n1");
    scene.finds(&[found("web-1", "n1", 0)]);
    assert_eq!(pods(&scene.status()), ["web-1"]);
}

#[test]
fn pods_that_had_ended_before_were_told_of() {
    let mut scene = complete();
    scene.now = 10;
    scene.recorder(false);
    let ended = |name, created| FoundPod { over: true, ..found(name, "n1", created) };
    scene.finds(&[ended("before", 9), ended("meanwhile", 11)]);
    scene.now = 50;
    scene.finds(&[ended("before", 9), ended("meanwhile", 11)]);
    assert_eq!(pods(&scene.status()), ["meanwhile"]);
}

#[test]
fn a_recording_that_has_ended_is_not_looked_after() {
    let mut object = recording(&json!({}));
    object["status"] = json!({"startedAt": at(0).to_string(), "endedAt": at(1).to_string()});
    let mut scene = Scene::new(&json!({}));
    scene.picture.recording_applied(key(), read(&object));
    scene.recorder(false);
    assert!(matches!(scene.step(), Step::Status(_)));
}
