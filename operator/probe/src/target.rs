//! What can be watched.

use std::{fmt, str::FromStr};

/// A pod's UID, as in its cgroup's name: a UUID, or the 32 digits that the kubelet gives a static pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid([u8; 16]);

/// A container's id: 64 hexadecimal digits, without the runtime's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId([u8; 32]);

/// The path of a cgroup below its hierarchy's root, such as `/kubepods` or `/node2/kubepods`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(String);

/// What is no pod UID, container id or cgroup path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}")]
pub struct InvalidTarget {
    what: &'static str,
    text: String,
}

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One container.
    Container(ContainerId),
    /// Every container of a pod, its sandbox's included.
    Pod(PodUid),
    /// Every container below a cgroup.
    Below(CgroupPath),
    /// A cgroup and all below it, as if it were one container.
    Cgroup(CgroupPath),
}

/// Which tasks of a container count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Those that have a seccomp filter: exactly what a filter sees, the runtime's own calls included.
    Filter,
    /// Also those without a filter, each from its `execve` in the cgroup on, with its children and threads.
    Exec,
    /// Also those without a filter, each from its `execve` in a mount namespace other than the parent process's on, with its children
    /// and threads. That is a container's application, or a command that was run in the container later; the runtime's own programs,
    /// which are in the cgroup as well, share their parent's.
    ContainerExec,
    /// As [`ContainerExec`](Self::ContainerExec) (as [`Exec`](Self::Exec) for a [`Target::Cgroup`]), and also all tasks that are
    /// there already, with the children and threads that they start from now on: for an application whose `execve` will not be seen.
    Now,
}

/// How to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Comes back with each container, so that the caller knows whose it is.
    pub tag: u64,
    /// Which tasks count.
    pub start: Start,
    /// Whether calls that the filter denies are wanted. It costs a second program, at the end of each call.
    pub denials: bool,
}

/// The levels that the kernel walks up from a cgroup: `MAX_DEPTH` in `bpf/identity.h`, less one for the root.
const MAX_LEVELS: usize = 15;
/// The bytes of a name that the kernel reads: `NAME_BYTES` in `bpf/identity.h`, less one for the terminator.
const MAX_NAME: usize = 127;

impl PodUid {
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl ContainerId {
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl CgroupPath {
    /// The path's text, which begins with `/` and does not end with one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the kernel computes for the same path: `component_hash` in `bpf/identity.h`.
    pub(crate) fn hash(&self) -> u64 {
        self.0
            .split('/')
            .skip(1)
            .zip(1_u64..)
            .map(|(name, level)| component_hash(name, level))
            .fold(0, u64::wrapping_add)
    }
}

fn component_hash(name: &str, level: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ level.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Reads hexadecimal digits in lower case, as runtimes and the kubelet write them.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}

impl FromStr for PodUid {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let dashes = |at: usize| text.as_bytes().get(at) == Some(&b'-');
        let plain = match text.len() {
            36 if [8, 13, 18, 23].into_iter().all(dashes) => text.replace('-', ""),
            _ => text.to_owned(),
        };
        hex(&plain)
            .map(Self)
            .ok_or_else(|| InvalidTarget { what: "pod UID (a UUID in lower case)", text: text.to_owned() })
    }
}

impl FromStr for ContainerId {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let what = "container id (64 hexadecimal digits in lower case, without the runtime's prefix)";
        hex(text).map(Self).ok_or_else(|| InvalidTarget { what, text: text.to_owned() })
    }
}

impl FromStr for CgroupPath {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let sound = |name: &str| {
            !name.is_empty() && name != "." && name != ".." && name.len() <= MAX_NAME && !name.contains('\0')
        };
        let below = text.strip_prefix('/');
        if below.is_some_and(|below| below.split('/').count() <= MAX_LEVELS && below.split('/').all(sound)) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidTarget {
            what: "path of a cgroup (like /kubepods, at most 15 levels deep)",
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(id) => write!(f, "container {id}"),
            Self::Pod(uid) => write!(f, "pod {uid}"),
            Self::Below(path) => write!(f, "containers below {path}"),
            Self::Cgroup(path) => write!(f, "cgroup {path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_uid_is_read_with_and_without_dashes_and_written_as_the_api_does() {
        let text = "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00";
        let uid: PodUid = text.parse().expect("a UUID");
        assert_eq!(uid.to_string(), text);
        assert_eq!(text.replace('-', "").parse(), Ok(uid));
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for text in [
            "",
            "0b6f3d2e",
            "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f0g",
            "0B6F3D2E-9C1A-4F7B-8D21-5E9A7C3B1F00",
            "é",
        ] {
            assert!(text.parse::<PodUid>().is_err(), "{text}");
        }
        for text in ["", "abc", "containerd://aa", &"A".repeat(64), &"g".repeat(64)] {
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
        for text in [
            "",
            "/",
            "kubepods",
            "/a//b",
            "/a/../b",
            "/a/",
            &"/a".repeat(16),
            &format!("/{}", "a".repeat(128)),
        ] {
            assert!(text.parse::<CgroupPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_hashes_by_the_order_of_its_components() {
        let hash = |text: &str| text.parse::<CgroupPath>().expect("a path").hash();
        assert_ne!(hash("/a/b"), hash("/b/a"));
        assert_ne!(hash("/a"), hash("/a/a"));
        assert_ne!(hash("/ab"), hash("/a/b"));
    }
}
