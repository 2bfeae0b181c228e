//! Which nodes may write for a recording: those that the controller invites.
//!
//! A node's recorder asks by making an empty part. The controller looks for pods of the recording on that node, and either invites the node by
//! an annotation on the part, or deletes it. Admission policies let a recorder write into a part that is invited alone, and nobody but the
//! controller set the annotation. So whoever has a recorder's token tells of recordings alone whose pods its node has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{SeccompRecordingPart, SeccompRecordingPartSpec};
use crate::INVITED_ANNOTATION;

/// Whether a part's metadata say that its node is invited to write for the recording of this UID.
#[must_use]
pub fn is_invited(metadata: &ObjectMeta, recording_uid: &str) -> bool {
    let annotations = metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(INVITED_ANNOTATION))
        .is_some_and(|uid| uid == recording_uid)
}

impl SeccompRecordingPart {
    /// Whether what it holds counts: its node is invited, or it is of none, so the controller's own.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.spec.node.is_none() || is_invited(&self.metadata, &self.spec.recording_uid)
    }
}

impl SeccompRecordingPartSpec {
    /// By which a node's recorder asks whether it may write for a recording: it says which one, and nothing else.
    #[must_use]
    pub fn asking(recording: &str, recording_uid: &str, node: &str) -> Self {
        Self {
            recording: recording.to_owned(),
            recording_uid: recording_uid.to_owned(),
            node: Some(node.to_owned()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_counts_once_its_node_is_invited_for_that_very_recording() {
        let mut part =
            SeccompRecordingPart::new("web.n1", SeccompRecordingPartSpec::asking("web", "uid-1", "n1"));
        assert!(!part.counts());
        for (uid, counts) in [("uid-0", false), ("", false), ("uid-1", true)] {
            part.metadata.annotations = Some([(INVITED_ANNOTATION.to_owned(), uid.to_owned())].into());
            assert_eq!(part.counts(), counts, "{uid}");
        }
        part.metadata.annotations = None;
        part.spec.node = None;
        assert!(part.counts(), "what the controller wrote itself needs no invitation");
    }

    /// The admission policy lets a recorder make a part of these fields alone.
    #[test]
    fn who_asks_says_nothing_else() {
        let spec = serde_json::to_value(SeccompRecordingPartSpec::asking("web", "uid-1", "n1")).unwrap();
        assert_eq!(spec, json!({"recording": "web", "recordingUid": "uid-1", "node": "n1"}));
    }
}
