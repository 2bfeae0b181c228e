//! What the node's status says.

use portcullis_api::{ForeignFile, MAX_NODE_FAILURES, NodeFailure, SeccompNodeStatus};
use portcullis_runtime::VERSION;

use super::Keeper;
use crate::{origin::Origin, path::owner_of};

/// Longest message of a failure in a status, in bytes.
const MAX_MESSAGE: usize = 512;

impl Keeper {
    /// The status, if it differs from the last one and the truth is known: every revision that there is has been taken in, and its
    /// files are on disk or stand among the failures.
    pub(super) fn changed_status(&mut self) -> Option<SeccompNodeStatus> {
        if !self.synced || self.listing || !self.awaited.is_empty() {
            return None;
        }
        let status = self.status();
        if self.reported.as_ref() == Some(&status) {
            return None;
        }
        self.reported = Some(status.clone());
        Some(status)
    }

    fn status(&self) -> SeccompNodeStatus {
        let failed = self.failures.iter().filter_map(|(path, problem)| {
            // One that is to go does not belong to what is served.
            self.files.get(path).filter(|file| file.leaving.is_none())?;
            let owner = owner_of(path)?;
            let mut message = problem.message.clone();
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            Some(NodeFailure {
                kind: owner.kind(),
                namespace: owner.namespace().map(str::to_owned),
                name: owner.name().to_owned(),
                path: path.clone(),
                reason: problem.reason,
                message,
            })
        });
        let mut failures = failed.chain(self.refused.failures());
        let Origin { pod_uid, boot_id, subdirectory } = self.origin.clone();
        SeccompNodeStatus {
            // The controller's.
            conditions: Vec::new(),
            agent_pod_uid: Some(pod_uid),
            agent_version: Some(VERSION.to_owned()),
            boot_id,
            subdirectory: Some(subdirectory),
            digest: Some(self.set.digest()),
            revisions: u32::try_from(self.set.len()).unwrap_or(u32::MAX),
            failures: failures.by_ref().take(MAX_NODE_FAILURES).collect(),
            failures_truncated: failures.next().is_some() || self.refused.has_more(),
            foreign_files: self.foreign.names().map(|path| ForeignFile { path: path.clone() }).collect(),
            foreign_file_count: self.foreign.count(),
        }
    }
}
