//! The numbers by which the kernel knows pods and namespaces. They outlive a recorder in its pins, and the next one, of another version
//! perhaps, must come to the same.

use portcullis_probe::PodUid;
use portcullis_profile::Digest;

/// A pod's: what its containers are forgotten by, once nothing watches them any more. The two halves of its UID, each read from its first
/// byte on, one over the other.
pub(crate) fn tag(uid: PodUid) -> u64 {
    let bytes = uid.bytes();
    let halves = bytes.as_chunks::<8>().0.iter().map(|half| u64::from_be_bytes(*half));
    halves.fold(0, |tag, half| tag ^ half)
}

/// A namespace's, whose pods share a part of the kernel's room: the first eight bytes of its name's SHA-256, so that nobody finds a name
/// with another one's number. 0 means no namespace.
pub(crate) fn group(namespace: &str) -> u64 {
    let digest = Digest::of(namespace.as_bytes());
    let first = digest.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    first.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_in_every_version() {
        let uid: PodUid = "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00".parse().unwrap();
        assert_eq!(tag(uid), 0x0b6f_3d2e_9c1a_4f7b ^ 0x8d21_5e9a_7c3b_1f00);
        // printf shop | sha256sum
        assert_eq!(group("shop"), 0x8d90_01d3_2c6a_703d);
    }
}
