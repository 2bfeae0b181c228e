//! What a reviewer looks for in a profile: groups of calls, why each matters, and who says so.

/// Calls that matter for one reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// In a few words.
    pub name: &'static str,
    /// Why it matters, in one sentence.
    pub why: &'static str,
    /// Who groups the calls so, or says that they matter.
    pub source: &'static str,
    /// The calls.
    pub calls: &'static [&'static str],
}

/// The groups, the gravest first. A call is in one group at most.
///
/// Sources: the sets of `syscall_filter_sets` in systemd's `src/shared/seccomp-util.c`; "Significant syscalls blocked by the
/// default profile" in <https://docs.docker.com/engine/security/seccomp/>; and what is named at a group.
pub const GROUPS: &[Group] = &[
    Group {
        name: "kernel modules",
        why: "Code that is loaded into the kernel is not confined by anything.",
        source: "systemd @module; Docker's table",
        calls: &[
            "create_module",
            "delete_module",
            "finit_module",
            "get_kernel_syms",
            "init_module",
            "query_module",
        ],
    },
    Group {
        name: "reboot and kexec",
        why: "They stop the node, or start another kernel on it.",
        source: "systemd @reboot; Docker's table",
        calls: &["kexec_file_load", "kexec_load", "reboot"],
    },
    Group {
        name: "BPF",
        why: "A program runs in the kernel and can see every process; its verifier has been got round before.",
        source: "Docker's table; bpf(2)",
        calls: &["bpf"],
    },
    Group {
        name: "mounts",
        why: "A mount can bring the host's files into the container, or cover those that protect it.",
        source: "systemd @mount; Docker's table",
        calls: &[
            "chroot",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "mount",
            "mount_setattr",
            "move_mount",
            "nfsservctl",
            "open_tree",
            "open_tree_attr",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "swapoff",
            "swapon",
            "umount",
            "umount2",
        ],
    },
    Group {
        name: "namespaces",
        why: "A new user namespace gives every capability inside it, and with them much more of the kernel to attack.",
        source: "Docker's table; user_namespaces(7)",
        calls: &["clone", "clone3", "setns", "unshare"],
    },
    Group {
        name: "tracing",
        why: "It reads and writes other processes' memory and takes over their files, and a tracer can change the calls that a filter let through.",
        source: "systemd @debug; Docker's table; seccomp(2), on ptrace before Linux 4.8",
        calls: &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"],
    },
    Group {
        name: "file handles",
        why: "A file is opened by its number, whatever the container's root is: this is how Docker was broken out of (Shocker).",
        source: "Docker's table; open_by_handle_at(2)",
        calls: &["name_to_handle_at", "open_by_handle_at"],
    },
    Group {
        name: "hardware and CPU modes",
        why: "They reach devices past the kernel, or parts of it that nearly nobody uses or tests.",
        source: "systemd @raw-io and @cpu-emulation; Docker's table",
        calls: &[
            "ioperm",
            "iopl",
            "modify_ldt",
            "pciconfig_iobase",
            "pciconfig_read",
            "pciconfig_write",
            "s390_pci_mmio_read",
            "s390_pci_mmio_write",
            "subpage_prot",
            "switch_endian",
            "vm86",
            "vm86old",
        ],
    },
    Group {
        name: "kernel keys",
        why: "Keyrings are not namespaced: containers of one user see each other's keys.",
        source: "systemd @keyring; Docker's table",
        calls: &["add_key", "keyctl", "request_key"],
    },
    Group {
        name: "io_uring",
        why: "It opens files and sockets without asking any filter, and has had many holes; containerd and Docker deny it since 2023.",
        source: "moby#46762; io_uring(7)",
        calls: &["io_uring_enter", "io_uring_register", "io_uring_setup"],
    },
    Group {
        name: "performance events",
        why: "They watch the whole machine, and have been a way into the kernel before.",
        source: "systemd @debug; Docker's table",
        calls: &["lookup_dcookie", "perf_event_open"],
    },
    Group {
        name: "page faults",
        why: "A fault that a process answers itself holds the kernel at a point of the attacker's choice, which makes races reliable.",
        source: "Docker's table; userfaultfd(2)",
        calls: &["userfaultfd"],
    },
    Group {
        name: "clocks",
        why: "The time is the node's: every container and the kubelet get the new one.",
        source: "systemd @clock; Docker's table",
        calls: &[
            "adjtimex",
            "clock_adjtime",
            "clock_adjtime64",
            "clock_settime",
            "clock_settime64",
            "settimeofday",
            "stime",
        ],
    },
    Group {
        name: "logs and accounting",
        why: "They read the kernel's log, which holds addresses, or turn off what the node's operator counts on.",
        source: "Docker's table; systemd @privileged",
        calls: &["acct", "fanotify_init", "syslog", "vhangup"],
    },
    Group {
        name: "memory placement",
        why: "They move other processes' pages, and take the node's memory without its being counted as usual.",
        source: "Docker's table; systemd @resources",
        calls: &[
            "get_mempolicy",
            "mbind",
            "migrate_pages",
            "move_pages",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    },
    Group {
        name: "obsolete calls",
        why: "Nothing needs them, so they are code that nobody tests.",
        source: "systemd @obsolete; Docker's table",
        calls: &[
            "_sysctl",
            "afs_syscall",
            "bdflush",
            "break",
            "ftime",
            "getpmsg",
            "gtty",
            "idle",
            "lock",
            "mpx",
            "prof",
            "profil",
            "putpmsg",
            "security",
            "sgetmask",
            "ssetmask",
            "stty",
            "sysfs",
            "tuxcall",
            "ulimit",
            "uselib",
            "ustat",
            "vserver",
        ],
    },
    Group {
        name: "host name",
        why: "Without a namespace of its own for it, the container renames the node.",
        source: "systemd @privileged; sethostname(2)",
        calls: &["setdomainname", "sethostname"],
    },
    Group {
        name: "personality",
        why: "It turns off address randomisation and makes readable memory executable.",
        source: "Docker's table; personality(2)",
        calls: &["personality"],
    },
    Group {
        name: "devices",
        why: "A device node is the device; requests to open ones (ioctl) are whatever its driver makes of them.",
        source: "systemd @privileged; CVE-2017-5226 on TIOCSTI",
        calls: &["ioctl", "mknod", "mknodat"],
    },
    Group {
        name: "sockets",
        why: "Each address family is a part of the kernel: raw packets, AF_ALG, AF_VSOCK reach further than a network.",
        source: "moby's profiles/seccomp/default.json, its rules for socket; packet(7)",
        calls: &["socket", "socketcall", "socketpair"],
    },
    Group {
        name: "users and capabilities",
        why: "They change who a process is, which set-user-ID programs and entry points need and servers hardly do.",
        source: "systemd @setuid and @privileged",
        calls: &[
            "capset",
            "setfsgid",
            "setfsgid32",
            "setfsuid",
            "setfsuid32",
            "setgid",
            "setgid32",
            "setgroups",
            "setgroups32",
            "setregid",
            "setregid32",
            "setresgid",
            "setresgid32",
            "setresuid",
            "setresuid32",
            "setreuid",
            "setreuid32",
            "setuid",
            "setuid32",
        ],
    },
    Group {
        name: "other processes",
        why: "Signals, priorities and limits of other processes of the container.",
        source: "systemd @process and @resources",
        calls: &[
            "kill",
            "pidfd_open",
            "pidfd_send_signal",
            "prlimit64",
            "process_mrelease",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "sched_setaffinity",
            "sched_setattr",
            "sched_setparam",
            "sched_setscheduler",
            "setpriority",
            "tgkill",
            "tkill",
        ],
    },
    Group {
        name: "new programs",
        why: "An attacker who can start a program has a shell; memfd_create needs no file for it.",
        source: "systemd @process; memfd_create(2)",
        calls: &["execve", "execveat", "memfd_create"],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::syscalls;

    #[test]
    fn every_call_exists_and_stands_once() {
        let mut seen = BTreeSet::new();
        for group in GROUPS {
            assert!(group.calls.is_sorted(), "{}", group.name);
            for call in group.calls {
                assert!(syscalls::is_known_anywhere(call), "{call}");
                assert!(seen.insert(call), "{call} stands twice");
            }
        }
    }
}
