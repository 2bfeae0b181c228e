//! The filter that a container gets with `type: RuntimeDefault` and no added capability.
//!
//! The documents are in `data/runtime-default`; where each comes from stands in `data/README.md`.

use std::sync::LazyLock;

use crate::{Arch, Profile};

/// How sure a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Read off a container that a kubelet and the runtime started.
    Observed,
    /// Derived from the observed one by the runtime's source.
    Derived,
}

/// The runtime default of one architecture, and its source.
#[derive(Debug)]
pub struct RuntimeDefault {
    /// The node's architecture.
    pub arch: Arch,
    /// The runtime and its version.
    pub source: &'static str,
    /// How sure it is.
    pub evidence: Evidence,
    /// The filter, in canonical form.
    pub profile: Profile,
}

/// The runtime and version that every document here is from.
const SOURCE: &str = "containerd 1.6.20 (Debian 1.6.20~ds1-1+deb12u3)";

static DOCUMENTS: LazyLock<Vec<RuntimeDefault>> = LazyLock::new(|| {
    vec![
        document(
            Arch::X86_64,
            Evidence::Observed,
            include_bytes!("../data/runtime-default/containerd-1.6.20-x86_64.json"),
        ),
        document(
            Arch::Aarch64,
            Evidence::Derived,
            include_bytes!("../data/runtime-default/containerd-1.6.20-aarch64.json"),
        ),
    ]
});

fn document(arch: Arch, evidence: Evidence, bytes: &[u8]) -> RuntimeDefault {
    // The bytes are part of the program, and a test reads them.
    let profile = Profile::parse(bytes).expect("the committed runtime default is a profile");
    RuntimeDefault { arch, source: SOURCE, evidence, profile }
}

/// The runtime default on nodes of an architecture: x86-64 and aarch64 have one here, no other.
///
/// Other versions of containerd, and CRI-O, have other defaults. containerd 1.6.20's still allows `io_uring_*`,
/// which later versions deny, so it is looser than theirs there.
#[must_use]
pub fn runtime_default(arch: Arch) -> Option<&'static RuntimeDefault> {
    DOCUMENTS.iter().find(|default| default.arch == arch)
}

/// The runtime defaults of all architectures that have one here.
#[must_use]
pub fn runtime_defaults() -> &'static [RuntimeDefault] {
    &DOCUMENTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_documents_are_canonical() {
        for (arch, bytes) in [
            (Arch::X86_64, &include_bytes!("../data/runtime-default/containerd-1.6.20-x86_64.json")[..]),
            (Arch::Aarch64, include_bytes!("../data/runtime-default/containerd-1.6.20-aarch64.json")),
        ] {
            let default = runtime_default(arch).expect("it has one");
            assert_eq!(String::from_utf8_lossy(bytes), String::from_utf8_lossy(&default.profile.render()));
        }
        assert_eq!(runtime_defaults().len(), 2);
        assert!(runtime_default(Arch::S390x).is_none());
    }

    fn rules_for<'p>(profile: &'p Profile, name: &str) -> Vec<&'p crate::Rule> {
        profile.syscalls.iter().filter(|rule| rule.names.iter().any(|other| other == name)).collect()
    }

    /// Read off the container: 14 capabilities, CAP_SYS_CHROOT among them, and neither CAP_SYS_ADMIN nor CAP_BPF.
    #[test]
    fn is_that_of_a_container_without_added_capabilities() {
        for default in runtime_defaults() {
            let allowed = |name| !rules_for(&default.profile, name).is_empty();
            assert!(allowed("chroot") && allowed("ptrace") && allowed("openat2"), "{}", default.arch);
            for name in ["bpf", "mount", "setns", "unshare", "perf_event_open", "kexec_load"] {
                assert!(!allowed(name), "{name} on {}", default.arch);
            }
            assert_eq!(default.profile.default_action, crate::Action::Errno);
            let clone = rules_for(&default.profile, "clone");
            // CLONE_NEWNS|NEWCGROUP|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET of sched.h.
            assert_eq!(clone[0].args[0].value, 0x7e02_0000);
            assert_eq!(rules_for(&default.profile, "clone3")[0].errno_ret, Some(38));
        }
    }

    /// containerd 1.6.20's `contrib/seccomp/seccomp_default.go`: the rules "by arch".
    #[test]
    fn has_the_rules_of_its_architecture() {
        let [x86, arm] = runtime_defaults() else { panic!("two documents") };
        assert_eq!(x86.profile.architectures, [Arch::X86, Arch::X86_64, Arch::X32]);
        assert_eq!(arm.profile.architectures, [Arch::Arm, Arch::Aarch64]);
        for (name, arch) in [("arch_prctl", 0), ("modify_ldt", 0), ("set_tls", 1), ("arm_sync_file_range", 1)]
        {
            for (position, default) in [x86, arm].into_iter().enumerate() {
                assert_eq!(!rules_for(&default.profile, name).is_empty(), position == arch, "{name}");
            }
        }
    }
}
