//! What can be watched.

use std::{fmt, str::FromStr};

use siphasher::sip::SipHasher24;

/// By what a pod's cgroup is named: its UID in the API (a UUID), or, for a static pod, the hash of its manifest (32 digits without
/// dashes). The two are never the same pod, whatever their digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid {
    bytes: [u8; 16],
    is_static: bool,
}

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
    /// Whose containers these are, by any number but 0: a group may take twice as many of [`Capacity::containers`] as it leaves free, so
    /// that however many one has, there is room for the next. 0 is nobody's, who may take all.
    ///
    /// [`Capacity::containers`]: crate::Capacity::containers
    pub group: u64,
    /// Whether calls that the filter denies are wanted. It costs a second program, at the end of each call.
    pub denials: bool,
}

/// The levels that the kernel walks up from a cgroup: `MAX_DEPTH` in `bpf/identity.h`, less one for the root.
pub(crate) const MAX_LEVELS: usize = 15;
/// The bytes of a name that the kernel reads: `NAME_BYTES` in `bpf/identity.h`, less the terminator, and one by which it knows that a
/// name ends.
pub(crate) const MAX_NAME: usize = 126;

impl PodUid {
    pub(crate) const fn from_bytes(bytes: [u8; 16], is_static: bool) -> Self {
        Self { bytes, is_static }
    }

    /// The 128 bits.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.bytes
    }

    /// Whether it is the hash of a static pod's manifest.
    #[must_use]
    pub const fn is_static(self) -> bool {
        self.is_static
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

    /// What the kernel computes for the same path under the same key: `component_hash` in `bpf/identity.h`.
    pub(crate) fn hash(&self, key: [u64; 2]) -> u64 {
        self.0
            .split('/')
            .skip(1)
            .zip(1_u64..)
            .map(|(name, level)| component_hash(name, level, key))
            .fold(0, u64::wrapping_add)
    }
}

fn component_hash(name: &str, level: u64, [low, high]: [u64; 2]) -> u64 {
    let message = [&level.to_le_bytes(), name.as_bytes()].concat();
    SipHasher24::new_with_keys(low, high).hash(&message)
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
        let (plain, is_static) = match text.len() {
            36 if [8, 13, 18, 23].into_iter().all(dashes) => (text.replace('-', ""), false),
            _ => (text.to_owned(), true),
        };
        hex(&plain)
            .map(|bytes| Self { bytes, is_static })
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
        for (at, byte) in self.bytes.iter().enumerate() {
            if !self.is_static && matches!(at, 4 | 6 | 8 | 10) {
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
    fn a_uid_and_a_static_pods_hash_of_the_same_digits_are_two_pods() {
        let text = "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00";
        let uid: PodUid = text.parse().expect("a UUID");
        assert_eq!(uid.to_string(), text);
        let hash: PodUid = text.replace('-', "").parse().expect("a hash");
        assert_eq!(hash.to_string(), text.replace('-', ""));
        assert_ne!(uid, hash);
        assert_eq!((uid.is_static(), hash.is_static()), (false, true));
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
            &format!("/{}", "a".repeat(127)),
        ] {
            assert!(text.parse::<CgroupPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_hashes_by_the_order_of_its_components() {
        let hash = |text: &str| text.parse::<CgroupPath>().expect("a path").hash([1, 2]);
        assert_ne!(hash("/a/b"), hash("/b/a"));
        assert_ne!(hash("/a"), hash("/a/a"));
        assert_ne!(hash("/ab"), hash("/a/b"));
        assert_ne!(hash("/a"), "/a".parse::<CgroupPath>().expect("a path").hash([1, 3]));
    }
}
