//! Nodes that ask whether they may write for a recording.

use std::time::Duration;

use portcullis_api::RecordingStatus;

use super::{requests::Scenario, steps::Scene, *};
use crate::recordings::{invitations::Asking, picture::Step};

fn asking(node: &str, version: &str) -> Asking {
    Asking {
        name: format!("web.{node}"),
        node: node.to_owned(),
        uid: format!("part-{node}"),
        version: version.to_owned(),
    }
}

/// The nodes that are to be answered now.
fn asked(scene: &mut Scene) -> Vec<Asking> {
    match scene.step() {
        Step::Answer { uid, asking, .. } => {
            assert_eq!(uid, "uid-1");
            asking
        }
        step => panic!("nobody is answered: {step:?}"),
    }
}

#[test]
fn what_a_node_wrote_counts_once_it_is_invited() {
    let mut scene = Scene::new(&json!({}));
    let mut written = part("n1", "1", &[("", saw(&[("read", 5)], 0))]);
    written.metadata.annotations = None;
    scene.picture.part_applied(written.clone());
    assert_eq!(asked(&mut scene), [asking("n1", "1")], "one of before the update asks as well");
    assert!(scene.picture.merged(&key()).is_empty());
    scene.picture.invited(&key(), &asking("n1", "1"), "2".to_owned());
    assert_eq!(scene.status().calls, 1);
    // The watch is behind, and shows it as it was.
    scene.picture.part_applied(written);
    assert_eq!(scene.waits(), None);
    assert_eq!(scene.picture.merged(&key()).total().calls.len(), 1);
}

#[test]
fn an_invitation_for_an_earlier_recording_is_none() {
    let mut scene = Scene::new(&json!({}));
    let mut question = question("n1", "1");
    question.metadata.annotations = Some([(INVITED_ANNOTATION.to_owned(), "uid-0".to_owned())].into());
    scene.picture.part_applied(question);
    assert_eq!(asked(&mut scene), [asking("n1", "1")]);
    let mut earlier = super::question("n2", "1");
    earlier.spec.recording_uid = "uid-0".to_owned();
    scene.picture.part_applied(earlier);
    scene.picture.invited(&key(), &asking("n1", "1"), "2".to_owned());
    scene.status();
    assert_eq!(
        scene.waits(),
        None,
        "a part of an earlier recording goes with it, and asks nothing of this one"
    );
}

#[test]
fn a_node_that_was_refused_is_named_until_it_may_write() {
    let mut scene = Scene::new(&json!({}));
    scene.picture.part_applied(question("n1", "1"));
    asked(&mut scene);
    let now = scene.now();
    scene.picture.refused(&key(), &asking("n1", "1"), now);
    assert_eq!(scene.status().refused_nodes, ["n1"]);
    // A controller that starts anew reads it from the status.
    let mut next = Scene::new(&json!({}));
    let mut shown = read(&recording(&json!({})));
    shown.status =
        Some(RecordingStatus { refused_nodes: vec!["n1".to_owned()], ..RecordingStatus::default() });
    next.picture.recording_applied(key(), shown);
    assert_eq!(next.status().refused_nodes, ["n1"]);
    next.now = 100;
    next.picture.part_applied(question("n1", "2"));
    asked(&mut next);
    next.picture.invited(&key(), &asking("n1", "2"), "3".to_owned());
    assert_eq!(next.status().refused_nodes, [""; 0]);
}

#[test]
fn a_node_that_asks_without_end_is_answered_ever_slower_and_holds_up_nobody() {
    let mut scene = Scene::new(&json!({}));
    let mut answers = 0;
    for second in 0..100 {
        scene.now = second;
        scene.picture.part_applied(question("n1", "1"));
        if matches!(scene.step(), Step::Answer { .. }) {
            answers += 1;
            let now = scene.now();
            scene.picture.refused(&key(), &asking("n1", "1"), now);
        }
    }
    assert!((12..=13).contains(&answers), "{answers} answers in 100 s");
    scene.picture.part_applied(question("n1", "1"));
    scene.picture.part_applied(question("n2", "1"));
    assert_eq!(asked(&mut scene), [asking("n2", "1")], "another node's is answered at once");
    scene.picture.invited(&key(), &asking("n2", "1"), "2".to_owned());
    scene.picture.part_applied(part("n2", "3", &[("", saw(&[("read", 5)], 0))]));
    assert_eq!(scene.status().calls, 1, "and what it sees counts");
    assert!(scene.waits().is_some_and(|wait| wait <= Duration::from_secs(10)), "the other's turn comes");
}

#[test]
fn many_nodes_are_answered_some_at_a_time() {
    let mut scene = Scene::new(&json!({}));
    for number in 0..20 {
        scene.picture.part_applied(question(&format!("n{number:02}"), "1"));
    }
    let first = asked(&mut scene);
    assert_eq!(first.len(), 16);
    for asking in &first {
        scene.picture.invited(&key(), asking, "2".to_owned());
    }
    assert_eq!(asked(&mut scene).len(), 4);
}

const PODS: &str = "GET /api/v1/namespaces/shop/pods";
const PARTS: &str = "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccomprecordingparts";

fn pods(names: &[&str]) -> Value {
    let pod = |name: &&str| json!({"metadata": {"namespace": "shop", "name": name}});
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "items": names.iter().map(pod).collect::<Vec<_>>(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_pods_is_invited() {
    let selector = json!({"podSelector": {"matchLabels": {"app": "web"}}});
    let mut scenario = Scenario::new(&selector);
    scenario.status().await;
    scenario.recordings.change(|picture| picture.part_applied(question("n2", "7")));
    let list = scenario.asked(PODS).await;
    for parameter in ["labelSelector=app%3Dweb", "fieldSelector=spec.nodeName%3Dn2", "limit=1"] {
        assert!(list.query.contains(parameter), "{:?}", list.query);
    }
    list.answer(&pods(&["web-1"]));
    let invite = scenario.asked(&format!("PATCH {PARTS}/web.n2")).await;
    assert!(invite.query.contains("fieldManager=portcullis-controller"), "{:?}", invite.query);
    assert_eq!(
        invite.body["metadata"],
        json!({"uid": "part-n2", "resourceVersion": "7", "annotations": {"portcullis.dev/invited": "uid-1"}})
    );
    invite.answer(&json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"namespace": "shop", "name": "web.n2", "resourceVersion": "8"},
    }));
    scenario.rests(Duration::from_secs(300)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_pods_is_refused_and_that_is_said() {
    let mut scenario = Scenario::new(&json!({}));
    scenario.status().await;
    scenario.recordings.change(|picture| picture.part_applied(question("n2", "7")));
    scenario.asked(PODS).await.answer(&pods(&[]));
    let delete = scenario.asked(&format!("DELETE {PARTS}/web.n2")).await;
    assert_eq!(delete.body["preconditions"], json!({"uid": "part-n2", "resourceVersion": "7"}));
    delete.answer(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
    let status = scenario.status().await;
    assert_eq!(status["refusedNodes"], json!(["n2"]));
    assert_eq!(status["callNames"], json!(["read", "write"]), "the other node's part counts");
    assert_eq!(scenario.recordings.shared.metrics.parts_refused.get(), 1);
    scenario.rests(Duration::from_secs(300)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_can_tell_the_pods_of_is_asked_about_again() {
    let mut scenario = Scenario::new(&json!({}));
    scenario.status().await;
    scenario.recordings.change(|picture| picture.part_applied(question("n2", "7")));
    scenario.asked(PODS).await.refuse(500, "etcd is away");
    scenario.asked(PODS).await.answer(&pods(&["web-1"]));
    scenario.asked(&format!("PATCH {PARTS}/web.n2")).await.refuse(409, "the object has been modified");
    // The watch shows what it was overtaken by.
    scenario.recordings.change(|picture| picture.part_applied(part("n2", "8", &[])));
    scenario.rests(Duration::from_secs(300)).await;
}
