//! What can go wrong.

use std::{io, path::PathBuf};

use aya::programs::ProgramError;

use crate::Target;

/// What can go wrong with a probe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No BPF file system.
    #[error("{path} is no BPF file system ({reason}); mount one with: mount -t bpf bpf {path}")]
    NoBpffs {
        /// Where it should be.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// No cgroup file system.
    #[error("/sys/fs/cgroup has no cgroups: {reason}")]
    NoCgroups {
        /// What is there.
        reason: String,
    },
    /// The node's name can't be part of a path.
    #[error("{0:?} is no node name: lower-case letters, digits, '-' and '.' are")]
    NodeName(String),
    /// Another process has the node's pins.
    #[error("another process is recording on node {node}: it holds {path}")]
    Busy {
        /// The node.
        node: String,
        /// The directory that is locked.
        path: PathBuf,
    },
    /// More than the kernel's programs can search.
    #[error("{0} containers at a time are too many or too few: 1 to 1024 are possible")]
    Containers(u32),
    /// A file of the BPF file system.
    #[error("can't {what} {path}: {source}{}", remedy(source))]
    Pin {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The key under which paths are hashed.
    #[error("can't draw a random number: {0}")]
    Random(#[source] io::Error),
    /// The kernel's types.
    #[error(
        "can't read the kernel's types at /sys/kernel/btf/vmlinux: {0}; a kernel with CONFIG_DEBUG_INFO_BTF is needed"
    )]
    Btf(#[source] aya::BtfError),
    /// The programs' maps.
    #[error("can't set up the probe's maps: {0}; CAP_BPF is needed, and Linux 5.15 or later")]
    Load(#[source] Box<aya::EbpfError>),
    /// A program.
    #[error(
        "the kernel refuses the probe's program for {tracepoint}: {}; CAP_BPF and CAP_PERFMON are needed, and Linux 5.15 or later",
        described(refusal)
    )]
    Program {
        /// Where it would run.
        tracepoint: &'static str,
        /// The kernel's answer; no source, because that would be shown with the verifier's whole log.
        refusal: Box<ProgramError>,
    },
    /// A map.
    #[error("can't {what} the probe's map {map}: {source}")]
    Map {
        /// What was tried.
        what: &'static str,
        /// The map.
        map: &'static str,
        /// The kernel's answer.
        source: Box<aya::maps::MapError>,
    },
    /// Denied calls on a kernel that can't show them.
    #[error(
        "the denied calls of {0} can't be seen: this kernel has raw tracepoints only, and those have no task storage"
    )]
    NoDenials(Target),
    /// A container that still counts.
    #[error("the container is still there and still watched, so it can't be forgotten")]
    StillWatched,
}

/// Root owns the BPF file system, so where it is refused something else forbids it.
fn remedy(error: &io::Error) -> &'static str {
    // `PermissionDenied` is both EACCES and EPERM.
    if error.kind() == io::ErrorKind::PermissionDenied {
        "; be root, and check the node's AppArmor or SELinux denials (the chart's values recorder.appArmorProfile and recorder.seLinuxOptions)"
    } else {
        ""
    }
}

/// A refusal without the verifier's whole log, which has a line for each instruction.
fn described(refusal: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = refusal else { return refusal.to_string() };
    match reason(&verifier_log.to_string()) {
        Some(reason) => format!("{io_error}; the verifier says: {reason}"),
        None => io_error.to_string(),
    }
}

/// Why the verifier refused a program: the last line of its log but for statistics.
fn reason(log: &str) -> Option<&str> {
    let is_statistic = |line: &str| {
        ["processed ", "verification time ", "stack depth "].iter().any(|word| line.starts_with(word))
    };
    log.lines().map(str::trim).rfind(|line| !line.is_empty() && !is_statistic(line))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_refused_write_names_what_may_forbid_it() {
        let said = |errno: Errno| {
            let path = PathBuf::from("/sys/fs/bpf/portcullis/node");
            Error::Pin { what: "make", path, source: errno.into() }.to_string()
        };
        for refused in [Errno::ACCESS, Errno::PERM] {
            let said = said(refused);
            assert!(said.starts_with("can't make /sys/fs/bpf/portcullis/node: "), "{said}");
            assert!(said.contains("AppArmor") && said.contains("SELinux"), "{said}");
        }
        assert!(!said(Errno::NOSPC).contains("AppArmor"));
    }

    #[test]
    fn of_the_verifiers_log_the_reason_alone_is_said() {
        let log = "0: R1=ctx() R10=fp0\n188: (18) r1 = 0xffff\n190: (0f) r1 += r9\n\
                   math between map_value pointer and register with unbounded min value is not allowed\n\
                   verification time 120 usec\nstack depth 64+48\nprocessed 192 insns (limit 1000000)\n\n";
        let said = "math between map_value pointer and register with unbounded min value is not allowed";
        assert_eq!(reason(log), Some(said));
        assert_eq!(reason("processed 0 insns\n"), None);
        assert_eq!(reason(""), None);
    }
}
