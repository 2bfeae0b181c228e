//! Recordings: what is to be done next, without and with a mock API server.

mod invitations;
mod output;
mod requests;
mod steps;
mod unrecorded;

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{INVITED_ANNOTATION, SeccompRecording, SeccompRecordingPart, SeccompRecordingPartSpec};
use portcullis_profile::{
    Arch,
    recording::{Call, Exit, Ledger, Mark, Observation, Platform, Seen, Signals, Source, Subject},
    syscalls,
};
use serde_json::{Value, json};

use super::Key;
use crate::nodes::AgentPod;

const BEGIN: i64 = 1_795_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + seconds).unwrap()
}

fn key() -> Key {
    Key { namespace: "shop".to_owned(), name: "web".to_owned() }
}

fn recording(spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompRecording",
        "metadata": {"namespace": "shop", "name": "web", "uid": "uid-1", "generation": 1, "resourceVersion": "1"},
        "spec": {"podSelector": {}},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

fn read(object: &Value) -> SeccompRecording {
    serde_json::from_value(object.clone()).unwrap()
}

/// What was seen of one container: each call so often, the first time so many seconds after the beginning.
fn saw(calls: &[(&str, u64)], first_at: u64) -> Observation {
    let call =
        |name: &str| Call { arch: Arch::X86_64, number: syscalls::number(Arch::X86_64, name).unwrap() };
    let first_at = BEGIN.unsigned_abs() + first_at;
    let calls = calls.iter().map(|(name, count)| (call(name), Seen { count: *count, first_at }));
    Observation { containers: 1, calls: calls.collect(), ..Observation::default() }
}

/// The same, of a container that was seen to start, to be steady and to stop.
fn whole(mut observation: Observation) -> Observation {
    observation.marks.extend([Mark::StartSeen, Mark::Steady]);
    observation.handled = Signals::of(&["SIGTERM"]);
    observation.outside = observation.handled;
    observation.ended(Exit::Status(0));
    observation
}

/// The part of a node that is invited.
fn part(node: &str, version: &str, seen: &[(&str, Observation)]) -> SeccompRecordingPart {
    let mut ledger = Ledger::default();
    ledger.on(Platform { kernel: "6.18".to_owned(), runtime: "containerd://2".to_owned() });
    for (index, (run, observation)) in seen.iter().enumerate() {
        let source = Source { container: format!("{node}-{index}"), instance: "1".to_owned() };
        let subject =
            Subject { image: "sha256:1".to_owned(), container: "web".to_owned(), run: (*run).to_owned() };
        ledger.report(source, subject, observation);
    }
    let spec = SeccompRecordingPartSpec::of_node("web", "uid-1", node, &ledger);
    let mut part = object(node, version, spec);
    part.metadata.annotations = Some([(INVITED_ANNOTATION.to_owned(), "uid-1".to_owned())].into());
    part
}

/// The pod of a recorder.
fn recorder(node: &str, ready: bool) -> AgentPod {
    AgentPod { node: Some(node.to_owned()), ready }
}

/// The part by which a node's recorder asks.
fn question(node: &str, version: &str) -> SeccompRecordingPart {
    object(node, version, SeccompRecordingPartSpec::asking("web", "uid-1", node))
}

fn object(node: &str, version: &str, spec: SeccompRecordingPartSpec) -> SeccompRecordingPart {
    let mut part = SeccompRecordingPart::new(&spec.object_name(), spec);
    part.metadata.namespace = Some("shop".to_owned());
    part.metadata.uid = Some(format!("part-{node}"));
    part.metadata.resource_version = Some(version.to_owned());
    part
}
