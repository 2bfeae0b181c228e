//! The linter's codes: what each means, what a runtime does, what to do, and who says so.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The profile works, but hardly as meant; shown in status.
    Warning,
    /// No container starts with the profile, or it doesn't confine; refused.
    Error,
}

impl Severity {
    /// The name, in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $code:literal $severity:ident {
        title: $title:literal, consequence: $consequence:literal, remedy: $remedy:literal, source: $source:literal $(,)?
    })+) => {
        /// A stable code of one thing that can be wrong with a profile. Codes are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $variant),+ }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code itself, for example `SP001`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }

            /// What is wrong, in general.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// What a runtime or the kernel does with it.
            #[must_use]
            pub const fn consequence(self) -> &'static str {
                match self { $(Self::$variant => $consequence),+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),+ }
            }

            /// Who says so: a manual page, a project's file, an advisory.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self { $(Self::$variant => $source),+ }
            }
        }
    };
}

codes! {
    RepeatedArgument = "SP001" Error {
        title: "A rule has two conditions on one argument",
        consequence: "Runtimes split the rule: each condition becomes a rule of its own, so any one of them, on whatever argument, is enough.",
        remedy: "Write one condition for each argument in a rule, and a rule for each alternative. A range isn't expressible in one rule.",
        source: "runc libcontainer/seccomp/seccomp_linux.go, matchCall, hasMultipleArgs; crun src/libcrun/seccomp.c, multiple_args",
    }
    RepeatedNotEqual = "SP002" Error {
        title: "A rule asks one argument to differ from two values",
        consequence: "Runtimes split the rule into `not A` or `not B`, which every value satisfies: the rule matches every call.",
        remedy: "Name the values that the rule is for with SCMP_CMP_EQ, in a rule each.",
        source: "runc libcontainer/seccomp/seccomp_linux.go, matchCall, hasMultipleArgs; crun src/libcrun/seccomp.c, multiple_args",
    }
    MaskedBitsDropped = "SP003" Warning {
        title: "A masked comparison asks for bits that its mask removes",
        consequence: "By its words, `argument & value == valueTwo` can't hold. libseccomp drops the bits of valueTwo that value lacks and compares the rest: with a value of 0 nothing is left to compare, so the rule matches every call.",
        remedy: "With SCMP_CMP_MASKED_EQ, `value` is the mask and `valueTwo` the value wanted of the bits in the mask. Put every bit of `valueTwo` into `value`.",
        source: "libseccomp src/db.c, _db_node_mask_fixup, tried with libseccomp 2.5.4 on Linux 6.18; seccomp_rule_add(3), SCMP_CMP_MASKED_EQ",
    }
    NeverMatches = "SP004" Warning {
        title: "A condition never holds",
        consequence: "Nothing is less than 0 or greater than the largest 64-bit number, so the rule never matches.",
        remedy: "Remove the rule, or compare with another value.",
        source: "seccomp_rule_add(3), comparisons are unsigned over 64 bits",
    }
    AlwaysMatches = "SP005" Warning {
        title: "A condition always holds",
        consequence: "The condition restricts nothing: the rule matches as if it weren't there.",
        remedy: "Remove the condition, or compare with another value.",
        source: "seccomp_rule_add(3), comparisons are unsigned over 64 bits",
    }
    ValueTwoIgnored = "SP006" Warning {
        title: "valueTwo on an operator that ignores it",
        consequence: "Only SCMP_CMP_MASKED_EQ reads valueTwo; the comparison is with value alone.",
        remedy: "Remove valueTwo, or use SCMP_CMP_MASKED_EQ with `value` as the mask.",
        source: "runtime-spec config-linux.md, seccomp, args; libseccomp src/api.c, seccomp_rule_add",
    }
    ValueTooWide = "SP007" Warning {
        title: "A 32-bit argument is compared with a wider value",
        consequence: "The kernel takes 32 bits of this argument, but the filter compares all 64: programs hardly ever pass such a value, so the comparison doesn't say what was meant (a negative int is most often passed as its 32 bits).",
        remedy: "Compare with the 32-bit value: 4294967295 for -1.",
        source: "Linux include/linux/syscalls.h, the calls' prototypes; seccomp(2), seccomp_data.args",
    }
    UpperBitsEscape = "SP008" Warning {
        title: "A denial of a 32-bit argument can be escaped by its upper bits",
        consequence: "The kernel takes 32 bits of this argument, but the filter compares all 64: a caller that sets any upper bit isn't matched by the denial (or is matched by the permission), and the kernel makes the call all the same.",
        remedy: "To deny a value, use SCMP_CMP_MASKED_EQ with value 4294967295 and the value in valueTwo. To permit all but a value, permit the others with SCMP_CMP_EQ.",
        source: "CVE-2019-10063 and CVE-2019-7303, ioctl(TIOCSTI) with upper bits set; seccomp(2), seccomp_data.args",
    }
    MergedComparisons = "SP009" Info {
        title: "Several comparisons of one call's arguments have to be merged",
        consequence: "libseccomp before 2.6.1 can merge 64-bit comparisons of several rules wrongly, which weakens the filter.",
        remedy: "Use SCMP_CMP_EQ where possible, or make sure that the nodes have libseccomp 2.6.1 or later.",
        source: "GHSA-4q85-33p6-j5g6",
    }
    UnknownCall = "SP010" Warning {
        title: "No architecture is known to have this system call",
        consequence: "runc skips an unknown name without a word and crun with a warning: what the rule denies stays as it was, and what it allows does too.",
        remedy: "Correct the name. If it is right and newer than Linux 6.18, nodes need a libseccomp that knows it.",
        source: "runc libcontainer/seccomp/seccomp_linux.go, matchCall, 'unknown seccomp syscall ignored'; crun src/libcrun/seccomp.c",
    }
    CallElsewhere = "SP011" Info {
        title: "None of the profile's architectures has this system call",
        consequence: "The name does nothing on the architectures that the profile lists.",
        remedy: "Leave it for a profile of several architectures, else remove it.",
        source: "seccomp_syscall_resolve_name(3), pseudo system call numbers",
    }
    ShadowedRule = "SP012" Warning {
        title: "A rule never takes effect, because another one has no conditions",
        consequence: "For each call the first rule without conditions decides, wherever it stands: it beats later ones and every rule with conditions.",
        remedy: "Remove the name from one of the two rules.",
        source: "libseccomp src/db.c, db_rule_add; tried with libseccomp 2.5.4",
    }
    SameAsDefault = "SP013" Info {
        title: "A rule does what the default does",
        consequence: "Runtimes drop it before the filter is built: it neither protects its calls from other rules, nor makes an exception from them.",
        remedy: "Remove the rule; where another rule allows more than meant, narrow that one.",
        source: "runc libcontainer/seccomp/seccomp_linux.go, matchCall, 'This rule is redundant, silently skip it'; crun src/libcrun/seccomp.c, action == default_action",
    }
    CarrierEscape = "SP014" Warning {
        title: "socketcall or ipc lets calls by that are restricted by name",
        consequence: "A 32-bit program can make the restricted calls through socketcall or ipc, whose arguments a filter can't see.",
        remedy: "Remove socketcall and ipc from the rule: libseccomp allows the ways through them that the calls' own rules permit.",
        source: "socketcall(2), ipc(2); libseccomp src/syscalls.c, abi_rule_add",
    }
    Clone3Escape = "SP015" Warning {
        title: "clone3 lets flags by that are restricted for clone",
        consequence: "clone3 takes its flags from memory, which a filter can't read: what is refused of clone, such as new user namespaces, goes through clone3.",
        remedy: "Give clone3 SCMP_ACT_ERRNO with errnoRet 38: C libraries then fall back on clone.",
        source: "moby pull request 42681; containerd contrib/seccomp/seccomp_default.go, clone3",
    }
    WrongMerge = "SP016" Error {
        title: "libseccomp can't merge a call's conditional rules faithfully",
        consequence: "libseccomp merges a call's conditional rules into one tree, which was built and compared with the rules here: it does what none of them says, or libseccomp loops for ever over it and the runtime with it, also where a later rule without conditions takes their place.",
        remedy: "Write rules of SCMP_CMP_EQ and SCMP_CMP_MASKED_EQ alone, or with one condition each; remove those that a rule without conditions makes needless.",
        source: "libseccomp src/db.c, _db_tree_prune and _db_tree_add, v2.5.4 to v2.6.1, tried with libseccomp 2.5.4; GHSA-4q85-33p6-j5g6",
    }
    Overlap = "SP017" Error {
        title: "Rules with different actions match the same arguments",
        consequence: "libseccomp takes one of them by the order of its own tree, whatever the document's, or refuses the profile (EEXIST) and no container starts. It refuses equal conditions though a later rule without any takes their place.",
        remedy: "Change the conditions so that no arguments match both rules, give both the same action, or remove one.",
        source: "libseccomp src/db.c, _db_tree_add (EEXIST), tried with libseccomp 2.5.4",
    }
    TooHard = "SP018" Error {
        title: "The rules are too many, or too hard, to judge",
        consequence: "What the filter does can't be said with a bounded amount of work, and libseccomp's own work grows in the same way: a profile that nobody can judge isn't served.",
        remedy: "Name each call in one rule, and give a call few conditions, with SCMP_CMP_EQ where that says enough.",
        source: "Linux include/uapi/linux/bpf_common.h, BPF_MAXINSNS; libseccomp src/db.c, _db_tree_add",
    }
    DeadCondition = "SP019" Warning {
        title: "A condition does nothing, because another rule of the same action has none",
        consequence: "The call gets the action whatever its arguments: the rule without conditions decides, wherever it stands. What the condition was meant to keep out comes in.",
        remedy: "Remove the name from the rule without conditions, or remove the rule with conditions.",
        source: "libseccomp src/db.c, db_rule_add; tried with libseccomp 2.5.4",
    }
    DeniesNothing = "SP020" Warning {
        title: "The profile denies nothing",
        consequence: "Every call is let through. A container with it is less confined than with the runtime default.",
        remedy: "Write the calls that the application needs, and SCMP_ACT_ERRNO as the default; for an audit use the Audit mode.",
        source: "seccomp(2), SECCOMP_RET_ALLOW and SECCOMP_RET_LOG",
    }
    NotifyByDefault = "SP021" Error {
        title: "SCMP_ACT_NOTIFY is the default action",
        consequence: "runc refuses it: 'SCMP_ACT_NOTIFY cannot be used as default action', and no container starts.",
        remedy: "Give the calls to be decided by a supervisor a rule each.",
        source: "runc libcontainer/seccomp/seccomp_linux.go, InitSeccomp",
    }
    NotifyOnWrite = "SP022" Error {
        title: "SCMP_ACT_NOTIFY for write",
        consequence: "runc refuses it: 'SCMP_ACT_NOTIFY cannot be used for the write syscall', and no container starts.",
        remedy: "Leave write out of the rule.",
        source: "runc libcontainer/seccomp/seccomp_linux.go, InitSeccomp",
    }
    NotifyWithoutListener = "SP023" Error {
        title: "SCMP_ACT_NOTIFY without a listenerPath",
        consequence: "runc has nobody to send the listener to: 'seccomp listenerPath is not set', and no container starts.",
        remedy: "Name the supervisor's socket in listenerPath, or use another action.",
        source: "runc libcontainer/process_linux.go, procSeccomp; runtime-spec config-linux.md, seccomp, listenerPath",
    }
    ListenerWithoutNotify = "SP024" Warning {
        title: "A listener is named, and no rule notifies it",
        consequence: "Runtimes ignore listenerPath where nothing is notified, and listenerMetadata with it.",
        remedy: "Remove listenerPath and listenerMetadata.",
        source: "runtime-spec config-linux.md, seccomp, listenerPath and listenerMetadata",
    }
    ErrnoOnOtherAction = "SP025" Warning {
        title: "An errno on an action that returns none",
        consequence: "crun refuses it ('errno value specified for action'), and no container starts; runc ignores it.",
        remedy: "Remove the errno, or use SCMP_ACT_ERRNO or SCMP_ACT_TRACE.",
        source: "crun src/libcrun/seccomp.c, seccomp_action_supports_errno; runc libcontainer/seccomp/seccomp_linux.go, getAction",
    }
    ErrnoTooLarge = "SP026" Error {
        title: "An errno over 4095",
        consequence: "libseccomp refuses the action (EINVAL), and no container starts.",
        remedy: "Write an errno of errno(3): 1 for EPERM, 38 for ENOSYS.",
        source: "libseccomp src/db.c, db_action_valid, MAX_ERRNO; seccomp(2), SECCOMP_RET_ERRNO",
    }
    ErrnoZero = "SP027" Error {
        title: "An errno of 0",
        consequence: "The call isn't made, and its caller is told that it succeeded. Container runtimes give up privileges under the filter where `allowPrivilegeEscalation` isn't false: with setuid or capset answered so, the container keeps privileges that the pod gave up, and runs as root.",
        remedy: "Write the errno that the program should see: 1 for EPERM, 38 for ENOSYS.",
        source: "seccomp(2), SECCOMP_RET_ERRNO; runc libcontainer/standard_init_linux.go, finalizeNamespace after seccomp.InitSeccomp, tried with runc 1.1.5 and crun 1.8.1",
    }
    NoDefaultErrno = "SP028" Warning {
        title: "The default denies without saying which errno",
        consequence: "Runtimes use EPERM. C libraries and runc fall back on older calls after ENOSYS only, so calls newer than the profile fail instead.",
        remedy: "Write defaultErrnoRet: 38 (ENOSYS), or 1 if EPERM is meant.",
        source: "runc libcontainer/seccomp/seccomp_linux.go, actErrno; runc issue 2151, 'seccomp filter should return ENOSYS for unknown syscalls'",
    }
    NumberNotLoaded = "SP029" Error {
        title: "The filter never looks at the number of the call",
        consequence: "libseccomp lets the first call in its order load the number. A call that the architecture doesn't have can come first, and then nothing loads it: on that architecture no rule with conditions ever matches, and what a deny list means to deny is allowed.",
        remedy: "Remove the name that the architecture doesn't have, or put it into a profile for the architectures that have it. Or give a call that the architecture has a rule without conditions, of another action than the default: it comes first then, and loads the number.",
        source: "libseccomp src/gen_bpf.c, _gen_bpf_syscalls and _sys_priority_sort, and src/syscalls.c, abi_rule_add, tried with libseccomp 2.5.4",
    }
    NoArchitectures = "SP030" Warning {
        title: "No architecture is listed",
        consequence: "The filter knows the node's own architecture only: programs of its 32-bit companions are killed.",
        remedy: "List the architectures of the nodes and those whose programs may run there, for example SCMP_ARCH_X86_64, SCMP_ARCH_X86 and SCMP_ARCH_X32.",
        source: "seccomp_init(3), SCMP_FLTATR_ACT_BADARCH in seccomp_attr_set(3)",
    }
    NodeArchitectureMissing = "SP031" Warning {
        title: "The architecture of some nodes isn't listed",
        consequence: "libseccomp adds the node's own architecture to the filter, but a reader of the profile, and a runtime that follows the list to the letter, take its calls to be killed.",
        remedy: "Add the architecture.",
        source: "seccomp_init(3); runtime-spec config-linux.md, seccomp, architectures",
    }
    CompanionMissing = "SP032" Info {
        title: "Programs of a 32-bit companion architecture are killed",
        consequence: "A call through an architecture that isn't listed kills the thread, even when the default action is SCMP_ACT_LOG.",
        remedy: "Nothing, if no such program runs in the container; else list the architecture.",
        source: "seccomp_attr_set(3), SCMP_FLTATR_ACT_BADARCH; tried on Linux 6.18",
    }
    FlagNeedsRunc = "SP033" Warning {
        title: "A flag that older versions of runc refuse",
        consequence: "runc before 1.2 fails the container on any flag, and before 1.5 on SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.",
        remedy: "Remove the flag, or make sure that every node has the version. Without flags, runc from 1.2 sets SECCOMP_FILTER_FLAG_SPEC_ALLOW itself.",
        source: "runc libcontainer/seccomp/seccomp_linux.go, setFlag, of 1.2 and 1.5; libcontainer/specconv/spec_linux.go, SetupSeccomp",
    }
    MixedByteOrder = "SP034" Error {
        title: "Architectures of both byte orders are listed",
        consequence: "libseccomp refuses to put them into one filter (EDOM), and no container starts.",
        remedy: "Write a profile for each byte order.",
        source: "libseccomp src/db.c, db_col_db_add; seccomp_arch_add(3)",
    }
    NoTable = "SP035" Info {
        title: "The system calls of an architecture aren't known here",
        consequence: "Nothing can be said of the profile on it; names aren't checked.",
        remedy: "Nothing, if its nodes have a libseccomp that knows it (2.6 for M68k and SuperH); else remove it.",
        source: "seccomp_arch_add(3); libseccomp 2.5.4 has no such architectures",
    }
    SiblingPasses = "SP036" Warning {
        title: "A call is denied, and another that does the same is let through",
        consequence: "C libraries choose among such calls by architecture and version, and an attacker as he likes: what the rule means to deny is done all the same.",
        remedy: "Deny the calls named too, or allow by name what the application needs and deny the rest.",
        source: "operator/profile/src/syscalls/siblings.rs, FAMILIES, by Linux' fs/namei.c, fs/open.c, kernel/fork.c, kernel/signal.c and kernel/sys.c",
    }
    ReplacementDenied = "SP037" Warning {
        title: "An architecture has another call in place of one that is allowed",
        consequence: "Newer architectures don't have the older of two calls. Programs make the newer one there, which the profile denies, so what works on x86-64 fails there.",
        remedy: "Allow the calls named too. On the architectures that have both it makes no difference to what a program can do.",
        source: "Linux include/uapi/asm-generic/unistd.h, v4.19, __ARCH_WANT_SYSCALL_NO_AT, __ARCH_WANT_SYSCALL_NO_FLAGS and __ARCH_WANT_SYSCALL_DEPRECATED",
    }
    AlwaysNeeded = "SP040" Warning {
        title: "Calls that every program needs are denied",
        consequence: "Programs can't return from a signal handler, go on after being stopped, or exit. A recording often doesn't show these calls.",
        remedy: "Allow rt_sigreturn, restart_syscall, exit and exit_group.",
        source: "sigreturn(2), restart_syscall(2), exit_group(2)",
    }
    RuntimeCalls = "SP041" Warning {
        title: "Calls that runc makes under the filter are denied",
        consequence: "runc loads the filter, then finds and closes files, waits for the start and executes the program, all under it: the container may fail with StartError, and kubectl exec too.",
        remedy: "Allow the calls named. crun needs far fewer of them.",
        source: "runc libcontainer/standard_init_linux.go, after seccomp.InitSeccomp; runc issue 2097",
    }
    EscalationCalls = "SP042" Info {
        title: "Calls that runc makes where privilege escalation is allowed are denied",
        consequence: "Without `allowPrivilegeEscalation: false` runc loads the filter earlier and makes these calls under it: such a container fails with StartError.",
        remedy: "Set `allowPrivilegeEscalation: false` in the pod, or allow the calls named.",
        source: "runc libcontainer/standard_init_linux.go, 'Without NoNewPrivileges seccomp is a privileged operation'",
    }
    KillsRuntime = "SP043" Warning {
        title: "The default kills, and calls that runc makes under the filter are not allowed",
        consequence: "runc is killed while it starts the container, without a message that says why.",
        remedy: "Allow the calls named, or take SCMP_ACT_ERRNO with defaultErrnoRet 38 as the default.",
        source: "runc libcontainer/standard_init_linux.go, after seccomp.InitSeccomp; seccomp(2), SECCOMP_RET_KILL_PROCESS",
    }
    KeepsPrivileges = "SP044" Warning {
        title: "A denial on which a container runtime goes on with privileges",
        consequence: "Where `allowPrivilegeEscalation` isn't false, runc and crun load the filter before they give up privileges. On this answer one of them goes on, so the container keeps privileges that the pod gave up. A namespaced profile is refused for it.",
        remedy: "Allow the call, deny it with errnoRet 1 (EPERM) or 38 (ENOSYS), or end the process with SCMP_ACT_KILL_PROCESS.",
        source: "measured, operator/profile/data/privileges.tsv; runc libcontainer/standard_init_linux.go, finalizeNamespace after seccomp.InitSeccomp",
    }
    NothingStarts = "SP045" Error {
        title: "What no container does without is denied",
        consequence: "Under the filter a runtime executes the program (execve), runc says by a message that it is ready (write), and a program ends (exit_group; where that fails it takes exit, where it is killed for it every end is a crash). Without them no container starts, or none ends well.",
        remedy: "Allow the calls named. To keep a container from starting other programs, leave them out of its image: a filter can't tell the first execve from the next.",
        source: "measured with runc 1.1.5 and crun 1.8.1, operator/profile/src/runtime_base.rs, INDISPENSABLE; runc libcontainer/standard_init_linux.go, after seccomp.InitSeccomp",
    }
    ProgramTooLong = "SP050" Warning {
        title: "The filter may be longer than the kernel takes",
        consequence: "A filter has at most 4096 instructions. With more, loading fails and no container starts.",
        remedy: "Use fewer conditions, architectures or names.",
        source: "Linux include/uapi/linux/bpf_common.h, BPF_MAXINSNS; seccomp(2), EINVAL",
    }
    DocumentTooLong = "SP051" Warning {
        title: "The rendered document is over 256 KiB",
        consequence: "A custom resource can't hold it, so a cluster refuses it. As a file or an OCI artifact it may have 1 MiB.",
        remedy: "Name fewer calls, or use fewer rules.",
        source: "Kubernetes apimachinery/pkg/api/validation/objectmeta.go, TotalAnnotationSizeLimitB",
    }
    NoArtifact = "SP052" Info {
        title: "The profile can't be an OCI seccomp artifact",
        consequence: "KEP-6061 refuses SCMP_ACT_NOTIFY, listener fields, and more than 128 entries for one call.",
        remedy: "Change what is named here, or don't share the profile through a registry: a file or a custom resource may have it.",
        source: "KEP-6061",
    }
    NotJson = "SP060" Error {
        title: "No runtime loads the file, because it is not strict JSON",
        consequence: "Runtimes read a profile as JSON and refuse anything else: no container starts with this file. YAML, comments, single quotes and a byte order mark are not JSON.",
        remedy: "Save it as JSON in UTF-8 without a byte order mark: `kubectl seccomp convert FILE` writes it so. Or make it a SeccompProfile, which may be YAML.",
        source: "RFC 8259, section 8.1; Go encoding/json, which containerd, CRI-O and Podman read profiles with",
    }
    UnknownKey = "SP061" Warning {
        title: "The format has no such key",
        consequence: "A runtime drops the key without a word, and does all else that the profile says.",
        remedy: "Remove the key, or keep what it says outside of the profile.",
        source: "runtime-spec config-linux.md, seccomp; Go encoding/json, Unmarshal",
    }
}
