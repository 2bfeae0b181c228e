//! What can go wrong, and the words that a node's status has for it.

use std::{io, path::PathBuf};

use portcullis_api::FailureReason;
use rustix::io::Errno;

/// An error that ends the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's directory is not there.
    #[error(
        "can't open {mounted}, where the host's {host} should be mounted: {source}; mount the host directory there \
         (the chart's value kubelet.rootDirectory)"
    )]
    Mount {
        /// The path in this container.
        mounted: PathBuf,
        /// The path on the host.
        host: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The mounted directory is no longer the one that the kubelet reads.
    #[error(
        "the host's {0} was removed or moved away while it was mounted here, so nothing written to it reaches the kubelet; \
         this process ends, and the container that starts next mounts the directory anew"
    )]
    MountGone(PathBuf),
    /// The kernel gives no inotify instance.
    #[error(
        "can't watch the node's files: {0}; raise fs.inotify.max_user_instances or fs.inotify.max_user_watches on the node"
    )]
    Watch(#[source] io::Error),
    /// A metric's name is taken.
    #[error("can't register the agent's metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No client of the API server.
    #[error(transparent)]
    Client(#[from] portcullis_runtime::ClientError),
    /// A task of the agent that should go on for ever has ended.
    #[error("the agent's {0} ended before the process was told to stop")]
    Ended(&'static str),
}

/// Why one file is not as it should be: a word for metrics and status, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: FailureReason,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// What an operation on a file of the node ran into. `shown` is the path on the host.
    pub(crate) fn of_file(operation: &str, shown: &str, error: &io::Error) -> Self {
        let reason = classify(error);
        let remedy = match reason {
            FailureReason::NoSpace => "; free space or inodes on that file system",
            FailureReason::ReadOnly => "; mount that file system writable",
            FailureReason::PermissionDenied => {
                "; let root write there without capabilities, and check the node's SELinux or AppArmor denials"
            }
            FailureReason::Foreign => {
                "; something that Portcullis did not put there stands in the way: remove it"
            }
            _ => "",
        };
        Self::new(reason, format!("can't {operation} {shown}: {error}{remedy}"))
    }
}

/// Which word an error of the file system gets (errno(3), and openat2(2) for the ways in which a path is refused).
fn classify(error: &io::Error) -> FailureReason {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => FailureReason::NoSpace,
        Some(Errno::ROFS) => FailureReason::ReadOnly,
        Some(Errno::ACCESS | Errno::PERM) => FailureReason::PermissionDenied,
        // A symbolic link, a file or a mount point where a directory should be, or the reverse.
        Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::XDEV | Errno::EXIST | Errno::NOTEMPTY) => {
            FailureReason::Foreign
        }
        _ => FailureReason::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_that_heals_differently_has_a_word_of_its_own() {
        for (errno, reason) in [
            (Errno::NOSPC, FailureReason::NoSpace),
            (Errno::DQUOT, FailureReason::NoSpace),
            (Errno::ROFS, FailureReason::ReadOnly),
            (Errno::ACCESS, FailureReason::PermissionDenied),
            (Errno::LOOP, FailureReason::Foreign),
            (Errno::NOTDIR, FailureReason::Foreign),
            (Errno::IO, FailureReason::Io),
        ] {
            let problem =
                Problem::of_file("write", "/var/lib/kubelet/seccomp/profiles/a.json", &errno.into());
            assert_eq!(problem.reason, reason);
            assert!(
                problem.message.starts_with("can't write /var/lib/kubelet/seccomp/profiles/a.json: "),
                "{}",
                problem.message
            );
        }
    }
}
