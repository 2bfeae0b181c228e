//! Names that the roles, the chart and users share.

/// API group of every custom resource.
pub const GROUP: &str = "portcullis.dev";
/// API version of every custom resource.
pub const VERSION: &str = "v1alpha1";
/// Server-side apply field manager of the controller.
pub const CONTROLLER_MANAGER: &str = "portcullis-controller";
/// Server-side apply field manager of the agents.
pub const AGENT_MANAGER: &str = "portcullis-agent";
/// The one finalizer of a profile: its files stay while pods name them.
pub const FINALIZER: &str = "portcullis.dev/in-use";
/// Namespace label by which an administrator permits profiles that are looser than the runtime default.
/// Its presence with the value `true` counts.
pub const ALLOW_LOOSER_LABEL: &str = "portcullis.dev/allow-looser-profiles";

/// Revision label: the owner's kind, `SeccompProfile` or `ClusterSeccompProfile`.
pub const OWNER_KIND_LABEL: &str = "portcullis.dev/owner-kind";
/// Revision label: the owner's namespace; absent for a cluster profile.
pub const OWNER_NAMESPACE_LABEL: &str = "portcullis.dev/owner-namespace";
/// Revision label: the owner's name, at most 63 characters, so that it fits a label.
pub const OWNER_NAME_LABEL: &str = "portcullis.dev/owner-name";
/// Revision annotation: the content's digest, `sha256:<hex>`.
pub const DIGEST_ANNOTATION: &str = "portcullis.dev/digest";
/// Revision annotation: the sequence, a decimal integer.
pub const SEQUENCE_ANNOTATION: &str = "portcullis.dev/sequence";
/// Revision annotation: how many bytes its content has, so that who reads the metadata alone knows it.
pub const BYTES_ANNOTATION: &str = "portcullis.dev/bytes";
/// Revision annotation: the owner's UID, so that a profile created anew does not take over its namesake's history.
pub const OWNER_UID_ANNOTATION: &str = "portcullis.dev/owner-uid";

/// Revision annotation by which an administrator revokes a revision: its files go from every node although pods name them, and stay away
/// until it is taken off again. Its presence counts; the value is the reason.
pub const REVOKED_ANNOTATION: &str = "portcullis.dev/revoked";

/// Pod label: the test run that a recording counts the pod's calls to.
pub const RUN_LABEL: &str = "portcullis.dev/run";
/// Profile annotation: the UID of the recording that created it, and that alone updates it.
pub const RECORDING_UID_ANNOTATION: &str = "portcullis.dev/recording-uid";
/// Profile annotation: the digest of what its recording had seen when it was made, `sha256:<hex>`. Once the recording has ended, a profile of
/// the same is made no second time, so that what became of it since stays.
pub const RECORDED_DIGEST_ANNOTATION: &str = "portcullis.dev/recorded-digest";
/// Annotation of a node's part of a recording: the UID of the recording that the controller invites the node to write for. Only the
/// controller sets it.
pub const INVITED_ANNOTATION: &str = "portcullis.dev/invited";
/// Server-side apply field manager of the recorders.
pub const RECORDER_MANAGER: &str = "portcullis-recorder";

/// Default of the kubelet's `--root-dir`.
pub const DEFAULT_KUBELET_ROOT: &str = "/var/lib/kubelet";
/// Default sub-directory of `<kubelet root>/seccomp` that Portcullis owns.
pub const DEFAULT_SUBDIRECTORY: &str = "profiles";

/// Longest name of a profile, so that it fits a label and a file name.
pub const MAX_NAME_LENGTH: usize = 63;
/// Most failing nodes that a profile's status names.
pub const MAX_FAILING_NODES: usize = 10;
/// Most failures that a node's status names; more set `failuresTruncated`.
pub const MAX_NODE_FAILURES: usize = 100;
/// Most foreign files that a node's status names.
pub const MAX_FOREIGN_FILES: usize = 20;
/// Most lint warnings that a profile's status holds.
pub const MAX_WARNINGS: usize = 20;
/// Deepest chain of bases.
pub const MAX_BASE_DEPTH: usize = 8;
/// Revisions kept where `spec.revisionHistoryLimit` is not set.
pub const DEFAULT_HISTORY_LIMIT: u16 = 3;

/// Largest rendered profile, in bytes: what a client-side `kubectl apply` can carry in its annotation.
pub const MAX_CONTENT_BYTES: usize = 256 * 1024;
/// Most rules of a document. With [`MAX_NAMES`] it keeps the API server's cost of the schema's rules within bounds.
pub const MAX_RULES: usize = 1024;
/// Most names of a rule; no architecture has more system calls.
pub const MAX_NAMES: usize = 512;
/// Most bases of a profile.
pub const MAX_BASES: usize = 16;
/// Largest `spec.revisionHistoryLimit`.
pub const MAX_HISTORY_LIMIT: u16 = 20;
/// Most revisions that a profile's status lists.
pub const MAX_LISTED_REVISIONS: usize = 32;
/// Longest message of a failure or a warning in a status, in characters; see [`crate::bounded_message`].
pub const MAX_MESSAGE_LENGTH: usize = 2048;
/// Longest reason of a revocation that is told, in characters.
pub const MAX_REVOCATION_LENGTH: usize = 256;
/// Longest ID of a machine or of one of its boots.
pub const MAX_MACHINE_ID_LENGTH: usize = 128;
/// Most calls that a recording's status names.
pub const MAX_LISTED_CALLS: usize = 1024;
/// Most denied calls that a recording's status names.
pub const MAX_LISTED_DENIED: usize = 64;
/// Most refused nodes that a recording's status names.
pub const MAX_REFUSED_NODES: usize = 10;
/// Most test runs that a recording's status lists.
pub const MAX_LISTED_RUNS: usize = 32;
/// Most containers that a recording's status lists.
pub const MAX_LISTED_CONTAINERS: usize = 32;
/// Most images that a recording's status lists of one container.
pub const MAX_LISTED_IMAGES: usize = 8;
/// Most images, and most runs, that a profile's `recordedFrom` names.
pub const MAX_ORIGINS: usize = 32;
/// Most kernels and runtimes that are named.
pub const MAX_PLATFORMS: usize = 16;
/// Most entries of a part: what is settled, and what is open or pending.
pub const MAX_PART_ENTRIES: usize =
    portcullis_profile::recording::MAX_SUBJECTS + portcullis_profile::recording::MAX_OPEN;
/// Longest name of a node that can have a part: `<recording>.<node>` is a name of at most 253 characters.
pub const MAX_RECORDED_NODE_LENGTH: usize = 189;
/// Longest digest of an image: `sha256:` and 64 digits, with some room for another algorithm.
pub(crate) const MAX_IMAGE_LENGTH: usize = 96;
/// Longest release of a kernel or version of a runtime.
pub(crate) const MAX_PLATFORM_LENGTH: usize = 64;
/// The kernel's MAX_ERRNO: <https://github.com/torvalds/linux/blob/v6.18/include/linux/err.h>.
pub(crate) const MAX_ERRNO: u32 = 4095;
/// Longest name of a system call; the longest of libseccomp's has 28 characters.
pub(crate) const MAX_SYSCALL_NAME_LENGTH: usize = 40;
