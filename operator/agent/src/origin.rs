//! Who reports, and of what: the same for as long as the agent runs.

use std::{fs, io};

/// The boot of the machine, under the name that the kubelet gives it in its Node too:
/// <https://github.com/google/cadvisor/blob/v0.52.1/machine/info.go>. Every container may read it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where a status comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// UID of the agent's pod.
    pub(crate) pod_uid: String,
    /// The boot of the machine; none where it can't be read.
    pub(crate) boot_id: Option<String>,
    /// The directory below the kubelet's seccomp directory that the files are in.
    pub(crate) subdirectory: String,
}

/// The boot of this machine: what was reported in another one may be of another machine.
pub(crate) fn boot_id() -> io::Result<String> {
    fs::read_to_string(BOOT_ID).map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_id() {
        let id = boot_id().unwrap();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
        assert_eq!(boot_id().unwrap(), id);
    }
}
