use super::*;
use crate::{
    Rule,
    compare::{Relation, looser, reachable},
    compose::NamedProfile,
    evaluate::{Evaluator, Passage, Runtime},
    merge::intersect,
    syscalls,
};

fn evaluator(profile: &Profile, arch: Arch) -> Evaluator {
    Evaluator::new(profile, Runtime::Runc, arch).expect("a runtime loads it")
}

fn supported_on(arch: Arch) -> Vec<&'static RuntimeDefault> {
    supported_runtime_defaults().filter(|one| one.arch == arch).collect()
}

fn is_allowed(evaluator: &Evaluator, arch: Arch, name: &str, arguments: [u64; 6]) -> bool {
    let decision = evaluator.evaluate_name(arch, name, arguments).expect("the architecture has it");
    decision.outcome.passage() == Passage::Permitted
}

fn rules_for<'p>(profile: &'p Profile, name: &str) -> Vec<&'p Rule> {
    profile.syscalls.iter().filter(|rule| rule.names.iter().any(|other| other == name)).collect()
}

#[test]
fn the_committed_documents_are_canonical() {
    for document in documents::DOCUMENTS.iter().chain(&OBSOLETE) {
        let read = document.read(String::new());
        assert_eq!(String::from_utf8_lossy(document.bytes), String::from_utf8_lossy(&read.profile.render()));
    }
    assert_eq!(runtime_defaults().len(), 2);
    assert!(runtime_default(Arch::S390x).is_none());
}

#[test]
fn every_supported_runtime_is_there_by_its_version() {
    let names: Vec<&str> = supported_on(Arch::X86_64).iter().map(|one| one.name).collect();
    assert_eq!(
        names,
        [
            "containerd@1.7",
            "containerd@2.0",
            "containerd@2.1",
            "containerd@2.2",
            "containerd@2.3",
            "containerd@2.4",
            "cri-o@1.37"
        ]
    );
    assert_eq!(supported_on(Arch::Aarch64).iter().map(|one| one.name).collect::<Vec<_>>(), names);
    for one in supported_on(Arch::X86_64).iter().filter(|one| one.name.starts_with("containerd@")) {
        let branch = one.name.replace('@', " ");
        assert!(one.source.starts_with(&format!("{branch}.")), "{}: a patch of {branch}", one.source);
    }
    let source = &runtime_default(Arch::X86_64).unwrap().source;
    let words = source.strip_prefix("the strictest of containerd 1.7.").expect(source);
    assert!(words.contains(", 2.3.") && words.ends_with(" and CRI-O 1.37"), "{source}");
    assert!(Baseline::names().eq([STRICTEST].into_iter().chain(names).chain(["containerd@1.6"])));
}

#[test]
fn a_baseline_says_which_it_is() {
    let named = |name| Baseline::named(name).unwrap().to_string();
    assert!(named("strictest").starts_with("the runtime default (the strictest of containerd "));
    assert_eq!(named("containerd@1.6"), "the runtime default of containerd 1.6.20");
    assert!(Baseline::named("containerd@0.1").is_none());
    let chosen =
        Baseline::chosen("web.json".to_owned(), runtime_default(Arch::X86_64).unwrap().profile.clone());
    assert_eq!(chosen.to_string(), "the baseline web.json");
    assert!(chosen.on(Arch::S390x).is_some() && Baseline::strictest().on(Arch::S390x).is_none());
}

/// A strictest one that is out of date is made anew by `cargo run -p xtask -- runtime-defaults`.
#[test]
fn the_strictest_is_the_intersection_of_all() {
    for strictest in runtime_defaults() {
        let alike: Vec<Profile> = supported_on(strictest.arch)
            .iter()
            .map(|one| Profile { default_errno_ret: None, ..one.profile.clone() })
            .collect();
        let named: Vec<NamedProfile<'_>> =
            alike.iter().map(|profile| NamedProfile { name: "one", profile }).collect();
        let made = intersect(&named).expect("they can be intersected").profile;
        assert_eq!(made.canonical(), strictest.profile.canonical());
    }
}

#[test]
fn the_strictest_is_nowhere_looser_than_any() {
    for strictest in runtime_defaults() {
        for one in supported_on(strictest.arch) {
            let found = looser(&strictest.profile, &one.profile, Runtime::Runc, one.arch, Relation::Passage);
            assert_eq!(found, Ok(Vec::new()), "{}", one.source);
        }
    }
}

/// Argument by argument, on every architecture that a node can run: what conditions of the defaults tell apart.
#[test]
fn the_strictest_allows_exactly_what_all_allow() {
    const FLAGS: [u64; 4] = [0x7e02_0000, 0x1000_0000, 0x0120_0011, 0x003d_0f00];
    let high = |value: u64| [value, value | 1 << 32, value | 1 << 63];
    let first: Vec<u64> =
        (0..64).chain([0x2_0000, 0x2_0008, 0xffff_ffff]).chain(FLAGS).flat_map(high).collect();
    let third: Vec<u64> = (0..34).chain([0x8000_0000, 0xffff_ffff]).collect();
    for strictest in runtime_defaults() {
        let node = strictest.arch;
        let made = evaluator(&strictest.profile, node);
        let all: Vec<Evaluator> =
            supported_on(node).iter().map(|one| evaluator(&one.profile, node)).collect();
        for &arch in reachable(node) {
            for (name, _) in syscalls::calls(arch).into_iter().flatten() {
                let conditional = ["socket", "clone", "personality"].contains(&name);
                let ranges = if conditional { (&first[..], &third[..]) } else { (&[0][..], &[0][..]) };
                for (&one, &other) in
                    ranges.0.iter().flat_map(|one| ranges.1.iter().map(move |other| (one, other)))
                {
                    let arguments = [one, 0, other, 0, 0, 0];
                    let expected = all.iter().all(|each| is_allowed(each, arch, name, arguments));
                    assert_eq!(
                        is_allowed(&made, arch, name, arguments),
                        expected,
                        "{name}({one:#x}, 0, {other:#x}) on {arch}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_strictest_denies_what_supported_runtimes_closed() {
    for strictest in runtime_defaults() {
        let arch = strictest.arch;
        let made = evaluator(&strictest.profile, arch);
        let socket = |domain, protocol| is_allowed(&made, arch, "socket", [domain, 0, protocol, 0, 0, 0]);
        let (af_unix, af_inet, netlink, af_alg, af_inet6, vsock) = (1, 2, 16, 38, 10, 40);
        assert!(!socket(vsock, 0) && !socket(af_alg, 0), "{arch}");
        assert!(
            socket(af_unix, 0) && socket(af_inet, 0) && socket(af_inet6, 6) && socket(netlink, 0),
            "{arch}"
        );
        for name in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
            assert!(!is_allowed(&made, arch, name, [0; 6]), "{name} on {arch}");
        }
    }
}

/// containerd gives 14 capabilities, CRI-O 9 of them: without SYS_CHROOT and AUDIT_WRITE.
#[test]
fn defaults_are_those_of_a_container_without_added_capabilities() {
    for one in known_runtime_defaults() {
        let made = evaluator(&one.profile, one.arch);
        let allowed = |name| is_allowed(&made, one.arch, name, [0; 6]);
        let crio = one.name.starts_with("cri-o@");
        assert_eq!(allowed("chroot"), !crio, "{}", one.source);
        assert!(allowed("ptrace") && allowed("openat2"), "{}", one.source);
        for name in ["bpf", "unshare", "perf_event_open", "kexec_load"] {
            assert!(!allowed(name), "{name} by {}", one.source);
        }
        let audit = is_allowed(&made, one.arch, "socket", [16, 0, 9, 0, 0, 0]);
        assert_eq!(audit, !crio, "NETLINK_AUDIT by {}", one.source);
        assert_eq!(one.profile.default_action, crate::Action::Errno);
        let clone = rules_for(&one.profile, "clone");
        // CLONE_NEWNS|NEWCGROUP|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET of sched.h.
        assert_eq!(clone[0].args[0].value, 0x7e02_0000);
        assert_eq!(rules_for(&one.profile, "clone3")[0].errno_ret, Some(38));
    }
}

/// The rules "by arch" of containerd's `contrib/seccomp/seccomp_default.go`.
#[test]
fn defaults_have_the_rules_of_their_architecture() {
    for one in known_runtime_defaults().iter().chain(runtime_defaults()) {
        let is_x86 = one.arch == Arch::X86_64;
        let mut expected = match is_x86 {
            true => vec![Arch::X86, Arch::X86_64, Arch::X32],
            false => vec![Arch::Arm, Arch::Aarch64],
        };
        let mut listed = one.profile.architectures.clone();
        expected.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, expected, "{}", one.source);
        for (name, of_x86) in
            [("arch_prctl", true), ("modify_ldt", true), ("set_tls", false), ("breakpoint", false)]
        {
            assert_eq!(
                !rules_for(&one.profile, name).is_empty(),
                of_x86 == is_x86,
                "{name} by {}",
                one.source
            );
        }
    }
}
