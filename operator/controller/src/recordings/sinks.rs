//! What the watches of recordings and parts change in what is known.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt, core::DeserializeGuard};
use portcullis_api::{SeccompRecording, SeccompRecordingPart};
use portcullis_runtime::{Level, Report, watch::Change};

use super::{Key, Recordings};
use crate::{nodes::AgentPod, sinks::Synced};

fn named<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Reports an object that can't be read. It stops no other.
fn unreadable<K: Resource<DynamicType = ()>>(recordings: &Recordings, object: &K, error: &str) {
    let (namespace, name) = named(object);
    recordings.shared.reporter.report(Report {
        level: Level::Warning,
        reason: "InvalidRecording",
        action: "Record",
        message: format!(
            "{} {namespace}/{name} can't be read: {error}. Correct it, or delete it",
            K::kind(&())
        ),
        object: Some(object.object_ref(&())),
    });
}

/// Recordings.
pub(super) fn recordings(
    recordings: Arc<Recordings>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<DeserializeGuard<SeccompRecording>>) + use<> {
    let synced = synced.clone();
    let mut listed = HashSet::new();
    let take = |recordings: &Recordings, object: DeserializeGuard<SeccompRecording>| {
        let (namespace, name) = named(&object);
        let key = Key { namespace, name };
        match object.0 {
            Ok(recording) => recordings.change(|picture| picture.recording_applied(key.clone(), recording)),
            Err(error) => {
                unreadable(
                    recordings,
                    &DeserializeGuard::<SeccompRecording>(Err(error.clone())),
                    &error.error,
                );
                recordings.change(|picture| picture.recording_removed(&key));
            }
        }
        key
    };
    move |change| match change {
        Change::ListBegins => listed.clear(),
        Change::Listed(object) => drop(listed.insert(take(&recordings, object))),
        Change::Applied(object) => drop(take(&recordings, object)),
        Change::Deleted(object) => {
            let (namespace, name) = named(&object);
            recordings.change(|picture| picture.recording_removed(&Key { namespace, name }));
        }
        Change::ListEnds => {
            let listed = std::mem::take(&mut listed);
            recordings.change(|picture| picture.recordings_listed(&listed));
            synced.send_if_modified(|synced| synced.insert(resource));
        }
    }
}

/// Parts of recordings.
pub(super) fn parts(
    recordings: Arc<Recordings>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<DeserializeGuard<SeccompRecordingPart>>) + use<> {
    let synced = synced.clone();
    let mut listed = HashSet::new();
    let take = |recordings: &Recordings, object: DeserializeGuard<SeccompRecordingPart>| {
        let key = named(&object);
        match object.0 {
            Ok(part) => recordings.change(|picture| picture.part_applied(part)),
            Err(error) => {
                let guard = DeserializeGuard::<SeccompRecordingPart>(Err(error.clone()));
                unreadable(recordings, &guard, &error.error);
                recordings.change(|picture| picture.part_removed(&key.0, &key.1));
            }
        }
        key
    };
    move |change| match change {
        Change::ListBegins => listed.clear(),
        Change::Listed(object) => drop(listed.insert(take(&recordings, object))),
        Change::Applied(object) => drop(take(&recordings, object)),
        Change::Deleted(object) => {
            let (namespace, name) = named(&object);
            recordings.change(|picture| picture.part_removed(&namespace, &name));
        }
        Change::ListEnds => {
            let listed = std::mem::take(&mut listed);
            recordings.change(|picture| picture.parts_listed(&listed));
            synced.send_if_modified(|synced| synced.insert(resource));
        }
    }
}

/// The recorders' pods.
pub(super) fn recorders(
    recordings: Arc<Recordings>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<Pod>) + use<> {
    let synced = synced.clone();
    let mut listed = HashSet::new();
    let take = |recordings: &Recordings, pod: Pod| {
        let uid = pod.uid().unwrap_or_default();
        // One that is told to stop names no new pods to the kernel.
        let stops = pod.metadata.deletion_timestamp.is_some();
        let pod = AgentPod::of(pod);
        let pod = AgentPod { ready: pod.ready && !stops, ..pod };
        recordings.change(|picture| picture.recorder_applied(uid.clone(), pod));
        uid
    };
    move |change| match change {
        Change::ListBegins => listed.clear(),
        Change::Listed(pod) => drop(listed.insert(take(&recordings, pod))),
        Change::Applied(pod) => drop(take(&recordings, pod)),
        Change::Deleted(pod) => {
            let uid = pod.uid().unwrap_or_default();
            recordings.change(|picture| picture.recorder_removed(&uid));
        }
        Change::ListEnds => {
            let listed = std::mem::take(&mut listed);
            recordings.change(|picture| picture.recorders_listed(&listed));
            synced.send_if_modified(|synced| synced.insert(resource));
        }
    }
}
