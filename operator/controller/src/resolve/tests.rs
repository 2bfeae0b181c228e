use std::collections::BTreeMap;

use portcullis_api::{ALLOW_LOOSER_LABEL, BaseReference, MAX_BASE_DEPTH, ProfileKind};
use serde_json::{Value, json};

use super::*;

fn web() -> Owner {
    Owner::namespaced("shop", "web").unwrap()
}

fn document(rules: &Value) -> Arc<Profile> {
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules,
    });
    Arc::new(Profile::parse(document.to_string().as_bytes()).unwrap())
}

fn allows(names: &[&str]) -> Arc<Profile> {
    document(&json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]))
}

fn base(kind: ProfileKind, name: &str) -> BaseReference {
    BaseReference { kind, name: name.to_owned() }
}

fn own_base(name: &str) -> BaseReference {
    base(ProfileKind::SeccompProfile, name)
}

fn source(document: Option<Arc<Profile>>, bases: Vec<BaseReference>) -> Source {
    Source { document: document.map(Into::into), bases }
}

/// The profiles of a cluster, by what they are called.
struct Profiles(BTreeMap<String, Lookup>);

impl Profiles {
    fn new(profiles: Vec<(&str, Source)>) -> Self {
        let found = |source| Lookup::Found(Arc::new(source));
        Self(profiles.into_iter().map(|(name, source)| (name.to_owned(), found(source))).collect())
    }

    fn gather(&self, source: &Source) -> Result<Gathered, Stall> {
        gather(&web(), source, |owner| self.0.get(&owner.to_string()).cloned().unwrap_or(Lookup::Absent))
    }

    fn stall(&self, source: &Source) -> Stall {
        self.gather(source).unwrap_err()
    }
}

fn compose(parts: Vec<Part<Document>>, mode: Mode, may_be_looser: bool) -> Result<Resolved, Stall> {
    Job::Compose {
        owner: web(),
        mode,
        parts,
        architectures: BTreeSet::new(),
        may_be_looser,
        baseline: Compiled::strictest(),
    }
    .run()
}

fn own_part(document: Arc<Profile>) -> Part<Document> {
    Part { at: "spec.profile".to_owned(), is_own: true, document: document.into() }
}

fn rendered(resolved: &Resolved) -> Profile {
    Profile::parse(resolved.content.as_deref().unwrap().as_bytes()).unwrap()
}

fn action_of(profile: &Profile, name: &str) -> portcullis_profile::Action {
    use portcullis_profile::evaluate::{Evaluator, Runtime};
    let compiled = Evaluator::new(profile, Runtime::Crun, Arch::X86_64).unwrap();
    compiled.evaluate_name(Arch::X86_64, name, [0; 6]).unwrap().outcome.action()
}

#[test]
fn each_base_is_united_once_however_it_is_reached() {
    let profiles = Profiles::new(vec![
        ("SeccompProfile shop/left", source(Some(allows(&["read"])), vec![own_base("root")])),
        ("SeccompProfile shop/right", source(None, vec![own_base("root")])),
        ("SeccompProfile shop/root", source(Some(allows(&["close"])), vec![])),
    ]);
    let own = source(Some(allows(&["write"])), vec![own_base("left"), own_base("right")]);
    let Gathered::Parts(parts) = profiles.gather(&own).unwrap() else { panic!("nothing is to be fetched") };
    let places: Vec<&str> = parts.iter().map(|part| part.at.as_str()).collect();
    assert_eq!(
        places,
        [
            "spec.profile",
            "spec.bases[0] (SeccompProfile shop/left)",
            "spec.bases[0] of SeccompProfile shop/left (SeccompProfile shop/root)",
        ]
    );
    let resolved = compose(parts, Mode::Enforce, false).unwrap();
    for name in ["read", "write", "close"] {
        assert_eq!(action_of(&rendered(&resolved), name), portcullis_profile::Action::Allow, "{name}");
    }
}

#[test]
fn a_cycle_is_named_with_its_way() {
    let profiles = Profiles::new(vec![
        ("SeccompProfile shop/a", source(None, vec![own_base("b")])),
        ("SeccompProfile shop/b", source(None, vec![own_base("web")])),
    ]);
    let stall = profiles.stall(&source(Some(allows(&["read"])), vec![own_base("a")]));
    assert_eq!(stall.reason, Reason::BaseCycle);
    assert!(
        stall.message.ends_with(
            "SeccompProfile shop/web -> SeccompProfile shop/a -> SeccompProfile shop/b -> SeccompProfile shop/web"
        ),
        "{stall:?}"
    );
    let among_themselves = Profiles::new(vec![
        ("SeccompProfile shop/a", source(None, vec![own_base("b")])),
        ("SeccompProfile shop/b", source(None, vec![own_base("a")])),
    ]);
    assert_eq!(among_themselves.stall(&source(None, vec![own_base("a")])).reason, Reason::BaseCycle);
}

#[test]
fn a_chain_may_be_eight_bases_long_and_no_longer() {
    let chain = |length: usize| {
        let names: Vec<String> =
            (1..=length).map(|number| format!("SeccompProfile shop/b{number}")).collect();
        Profiles(
            names
                .into_iter()
                .enumerate()
                .map(|(index, name)| {
                    let next =
                        if index + 1 < length { vec![own_base(&format!("b{}", index + 2))] } else { vec![] };
                    (name, Lookup::Found(Arc::new(source(Some(allows(&["read"])), next))))
                })
                .collect(),
        )
    };
    let own = source(None, vec![own_base("b1")]);
    assert!(matches!(chain(MAX_BASE_DEPTH).gather(&own), Ok(Gathered::Parts(parts)) if parts.len() == 8));
    assert_eq!(chain(MAX_BASE_DEPTH + 1).stall(&own).reason, Reason::BaseTooDeep);
}

#[test]
fn a_missing_or_refused_base_is_named_with_its_field() {
    let mut profiles = Profiles::new(vec![("SeccompProfile shop/mid", source(None, vec![own_base("gone")]))]);
    let stall = profiles.stall(&source(None, vec![own_base("mid")]));
    assert_eq!(stall.reason, Reason::BaseNotFound);
    let expected = "spec.bases[0] of SeccompProfile shop/mid: SeccompProfile shop/gone does not exist";
    assert!(stall.message.starts_with(expected), "{stall:?}");
    profiles.0.insert("SeccompProfile shop/gone".to_owned(), Lookup::Refused("no such action".to_owned()));
    let stall = profiles.stall(&source(None, vec![own_base("mid")]));
    assert_eq!(stall.reason, Reason::BaseInvalid);
    assert!(stall.message.ends_with("is refused itself: no such action"), "{stall:?}");
}

#[test]
fn a_cluster_profile_has_no_namespace_for_its_bases() {
    let cluster = Owner::cluster("web").unwrap();
    assert!(owner_of_base(&cluster, &own_base("a")).is_err());
    let other = base(ProfileKind::ClusterSeccompProfile, "a");
    assert_eq!(owner_of_base(&web(), &other).unwrap().to_string(), "ClusterSeccompProfile a");
}

#[test]
fn documents_that_are_not_held_are_asked_for_together() {
    let profiles = Profiles(
        [("SeccompProfile shop/a", Lookup::NotHeld), ("SeccompProfile shop/b", Lookup::NotHeld)]
            .map(|(name, lookup)| (name.to_owned(), lookup))
            .into(),
    );
    let own = source(Some(allows(&["read"])), vec![own_base("a"), own_base("b")]);
    let Gathered::Needs(needs) = profiles.gather(&own).unwrap() else { panic!("two are not held") };
    assert_eq!(needs.len(), 2);
}

#[test]
fn a_profile_without_any_document_is_refused() {
    assert_eq!(Profiles::new(vec![]).stall(&source(None, vec![])).reason, Reason::InvalidProfile);
}

#[test]
fn equal_profiles_have_equal_bytes_whatever_their_order() {
    let resolved = |names: &[&str]| compose(vec![own_part(allows(names))], Mode::Enforce, false).unwrap();
    assert_eq!(resolved(&["read", "write"]).digest, resolved(&["write", "read"]).digest);
    assert_ne!(resolved(&["read", "write"]).digest, resolved(&["read"]).digest);
    let one = resolved(&["read"]);
    assert_eq!(one.digest, Digest::of(one.content.unwrap().as_bytes()));
}

#[test]
fn what_the_runtime_default_denies_is_refused_in_both_modes_unless_it_is_permitted() {
    for mode in [Mode::Enforce, Mode::Audit] {
        let parts = || vec![own_part(allows(&["read", "bpf", "setns"]))];
        let stall = compose(parts(), mode, false).unwrap_err();
        assert_eq!(stall.reason, Reason::LooserThanRuntimeDefault, "{mode:?}");
        for word in [
            "bpf with any arguments (SCMP_ARCH_AARCH64, SCMP_ARCH_X32, SCMP_ARCH_X86, SCMP_ARCH_X86_64)",
            "setns with ",
            "namespace shop",
            ALLOW_LOOSER_LABEL,
        ] {
            assert!(stall.message.contains(word), "{mode:?}: no {word:?} in {stall:?}");
        }
        assert!(!stall.message.contains("read with "), "{stall:?}");
        assert!(compose(parts(), mode, true).is_ok());
        assert!(compose(vec![own_part(allows(&["read", "write"]))], mode, false).is_ok());
    }
}

#[test]
fn a_name_that_a_newer_runtime_may_know_is_judged_by_its_rules() {
    for mode in [Mode::Enforce, Mode::Audit] {
        let stall = compose(vec![own_part(allows(&["read", "brand_new_call"]))], mode, false).unwrap_err();
        assert_eq!(stall.reason, Reason::LooserThanRuntimeDefault, "{mode:?}");
        assert!(stall.message.contains("denies: brand_new_call (not known here"), "{stall:?}");
        assert!(compose(vec![own_part(allows(&["read", "brand_new_call"]))], mode, true).is_ok());
    }
    let denies = document(&json!([
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["brand_new_call"], "action": "SCMP_ACT_KILL_PROCESS"},
    ]));
    assert!(compose(vec![own_part(denies)], Mode::Enforce, false).is_ok());
}

#[test]
fn what_allows_nothing_is_refused_where_it_is_all_there_is_and_enforced() {
    let nothing = || document(&json!([]));
    let stall = compose(vec![own_part(nothing())], Mode::Enforce, false).unwrap_err();
    assert_eq!(stall.reason, Reason::InvalidProfile);
    assert!(stall.message.contains("SP045") && stall.message.contains("denies every call"), "{stall:?}");
    assert!(compose(vec![own_part(nothing())], Mode::Audit, false).is_ok());
    let killed = document(&json!([
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["execve"], "action": "SCMP_ACT_KILL"},
    ]));
    let stall = compose(vec![own_part(killed)], Mode::Enforce, true).unwrap_err();
    assert!(stall.message.contains("execve is denied, whatever the arguments"), "{stall:?}");
}

#[test]
fn a_profile_that_allows_everything_by_default_is_refused() {
    let open = Profile::parse(br#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_ERRNO"}]}"#);
    let stall = compose(vec![own_part(Arc::new(open.unwrap()))], Mode::Enforce, false).unwrap_err();
    assert_eq!(stall.reason, Reason::LooserThanRuntimeDefault);
    assert!(stall.message.contains("more. Take that out"), "many calls are counted, not listed: {stall:?}");
    assert!(stall.message.len() < 2000, "{}", stall.message.len());
}

#[test]
fn an_administrators_base_opens_no_way_round_the_runtime_default() {
    let base = Part { at: "spec.bases[0]".to_owned(), is_own: false, document: allows(&["bpf"]).into() };
    let stall = compose(vec![own_part(allows(&["read"])), base], Mode::Enforce, false).unwrap_err();
    assert_eq!(stall.reason, Reason::LooserThanRuntimeDefault);
}

#[test]
fn an_argument_that_the_runtime_default_denies_is_looser_too() {
    // The runtime default allows clone without namespaces, personality with some values.
    let stall = compose(vec![own_part(allows(&["clone", "personality"]))], Mode::Enforce, false).unwrap_err();
    assert_eq!(stall.reason, Reason::LooserThanRuntimeDefault);
    assert!(
        stall.message.contains("clone with ") && stall.message.contains("personality with "),
        "{stall:?}"
    );
}

#[test]
fn a_listener_on_the_node_needs_permission() {
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/agent.sock",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let part = || own_part(Arc::new(Profile::parse(document.to_string().as_bytes()).unwrap()));
    let stall = compose(vec![part()], Mode::Enforce, false).unwrap_err();
    assert_eq!(stall.reason, Reason::ListenerNotPermitted);
    assert!(stall.message.contains("label namespace shop with"), "{stall:?}");
    assert!(compose(vec![part()], Mode::Enforce, true).is_ok());
}

#[test]
fn the_runtime_default_itself_is_not_looser() {
    for default in portcullis_profile::runtime_defaults() {
        let part = own_part(Arc::new(default.profile.clone()));
        assert_eq!(compose(vec![part], Mode::Enforce, false).map(|_| ()), Ok(()), "{}", default.arch);
    }
}

#[test]
fn audit_logs_what_the_runtime_default_would_allow_and_denies_the_rest() {
    let resolved = compose(vec![own_part(allows(&["read"]))], Mode::Audit, false).unwrap();
    let profile = rendered(&resolved);
    use portcullis_profile::Action::{Allow, Errno, Log};
    assert_eq!(action_of(&profile, "read"), Allow);
    assert_eq!(action_of(&profile, "write"), Log);
    assert_eq!(action_of(&profile, "bpf"), Errno);
    assert_eq!(resolved.mode, Some(Mode::Audit));
}

#[test]
fn audit_serves_nodes_of_several_architectures_by_one_file() {
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}],
    });
    let both = Arc::new(Profile::parse(document.to_string().as_bytes()).unwrap());
    let resolved = compose(vec![own_part(both)], Mode::Audit, false).unwrap();
    let profile = rendered(&resolved);
    assert_eq!(profile.architectures.len(), 2);
    assert_eq!(action_of(&profile, "write"), portcullis_profile::Action::Log);
}

#[test]
fn what_contradicts_a_base_is_a_conflict_that_names_both() {
    let denies = document(&json!([{"names": ["read"], "action": "SCMP_ACT_KILL_PROCESS"}]));
    let base = Part {
        at: "spec.bases[0] (ClusterSeccompProfile b)".to_owned(),
        is_own: false,
        document: denies.into(),
    };
    let stall = compose(vec![own_part(allows(&["read"])), base], Mode::Enforce, false).unwrap_err();
    assert_eq!(stall.reason, Reason::BaseConflict);
    for word in ["spec.profile", "ClusterSeccompProfile b", "read"] {
        assert!(stall.message.contains(word), "no {word:?} in {stall:?}");
    }
}

#[test]
fn the_linters_errors_refuse_and_its_warnings_are_shown_with_their_place() {
    let never = document(&json!([{
        "names": ["openat"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 2, "value": 0, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
    }]));
    match compose(vec![own_part(never)], Mode::Enforce, false) {
        Ok(resolved) => {
            let at = |warning: &&ProfileWarning| warning.path.starts_with("spec.profile.syscalls[0]");
            let warning = resolved.warnings.iter().find(at).expect("a warning of that rule");
            assert!(warning.code.starts_with("SP"), "{warning:?}");
        }
        Err(stall) => assert!(stall.message.starts_with("spec.profile.syscalls[0]"), "{stall:?}"),
    }
    let typo = allows(&["raed"]);
    let resolved = compose(vec![own_part(typo)], Mode::Enforce, true).unwrap();
    assert!(resolved.warnings.iter().any(|warning| warning.message.contains("raed")), "{resolved:?}");
    assert!(resolved.warnings.len() <= MAX_WARNINGS);
}

#[test]
fn a_pinned_revision_is_judged_anew_and_must_be_what_its_digest_says() {
    let permitted = compose(vec![own_part(allows(&["bpf"]))], Mode::Enforce, true).unwrap();
    let pin = |digest, may_be_looser| {
        let content = permitted.content.clone().unwrap();
        Job::Pin {
            owner: web(),
            digest,
            content,
            architectures: BTreeSet::new(),
            may_be_looser,
            baseline: Compiled::strictest(),
        }
        .run()
    };
    assert_eq!(pin(permitted.digest, true).unwrap().digest, permitted.digest);
    assert_eq!(pin(permitted.digest, false).unwrap_err().reason, Reason::LooserThanRuntimeDefault);
    assert_eq!(pin(Digest::of(b"other"), true).unwrap_err().reason, Reason::PinNotFound);
}

#[test]
fn a_denial_that_says_success_is_refused_whoever_asks_for_it() {
    let faked = || document(&json!([{"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}]));
    for may_be_looser in [false, true] {
        let stall = compose(vec![own_part(faked())], Mode::Enforce, may_be_looser).unwrap_err();
        assert_eq!(stall.reason, Reason::InvalidProfile);
        assert!(
            stall.message.contains("spec.profile.syscalls[0].errnoRet") && stall.message.contains("SP027"),
            "{stall:?}"
        );
        let content: Arc<str> = String::from_utf8(faked().render()).unwrap().into();
        let digest = Digest::of(content.as_bytes());
        let pin = Job::Pin {
            owner: web(),
            digest,
            content,
            architectures: BTreeSet::new(),
            may_be_looser,
            baseline: Compiled::strictest(),
        };
        let stall = pin.run().unwrap_err();
        assert!(stall.message.contains("SP027") && stall.message.contains("spec.pin"), "{stall:?}");
    }
}

/// A runtime ignores the error with which the kernel answers for a capability that it doesn't know.
#[test]
fn a_denial_that_the_runtime_ignores_keeps_privileges() {
    let rules = json!([
        {"names": ["prctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 24, "op": "SCMP_CMP_NE"}]},
        {"names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
         "args": [{"index": 0, "value": 24, "op": "SCMP_CMP_EQ"}]},
    ]);
    let stall = compose(vec![own_part(document(&rules))], Mode::Enforce, false).unwrap_err();
    assert_eq!(stall.reason, Reason::KeepsPrivileges);
    for word in ["keeps privileges that the pod gave up", "PR_CAPBSET_DROP", ALLOW_LOOSER_LABEL] {
        assert!(stall.message.contains(word), "no {word:?} in {stall:?}");
    }
    assert!(compose(vec![own_part(document(&rules))], Mode::Enforce, true).is_ok());
}

#[test]
fn nodes_without_a_known_runtime_default_are_no_place_for_a_namespaces_profile() {
    let on = |arch, may_be_looser| {
        let parts = vec![own_part(allows(&["read"]))];
        let architectures = BTreeSet::from([Arch::X86_64, arch]);
        Job::Compose {
            owner: web(),
            mode: Mode::Enforce,
            parts,
            architectures,
            may_be_looser,
            baseline: Compiled::strictest(),
        }
        .run()
    };
    assert!(on(Arch::Aarch64, false).is_ok());
    let stall = on(Arch::S390x, false).unwrap_err();
    assert_eq!(stall.reason, Reason::NoRuntimeDefault);
    assert!(stall.message.contains("SCMP_ARCH_S390X"), "{stall:?}");
    assert!(on(Arch::S390x, true).is_ok());
}

#[test]
fn a_profile_is_made_of_so_many_documents_at_most() {
    let names: Vec<String> = (0..40).map(|number| format!("base-{number}")).collect();
    let of = |range: std::ops::Range<usize>| -> Vec<BaseReference> {
        names[range].iter().map(|name| own_base(name)).collect()
    };
    let profiles = Profiles::new(
        names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let bases = if at == 0 {
                    of(1..16)
                } else if at == 1 {
                    of(16..32)
                } else {
                    Vec::new()
                };
                (
                    Box::leak(format!("SeccompProfile shop/{name}").into_boxed_str()) as &str,
                    source(Some(allows(&["read"])), bases),
                )
            })
            .collect(),
    );
    let stall = profiles.stall(&source(Some(allows(&["write"])), of(0..1)));
    assert_eq!(stall.reason, Reason::BasesTooLarge);
    assert!(stall.message.contains("32 documents"), "{stall:?}");
}

#[test]
fn another_baseline_decides_in_both_modes() {
    let judged = |calls: &[&str], mode, baseline: &[&str]| {
        let profile = Profile::clone(&allows(baseline));
        let baseline = Arc::new(Compiled::chosen("standard".to_owned(), profile).unwrap());
        let parts = vec![own_part(allows(calls))];
        let (owner, architectures) = (web(), BTreeSet::new());
        Job::Compose { owner, mode, parts, architectures, may_be_looser: false, baseline }.run()
    };
    // Stricter than the runtime default.
    let stall = judged(&["read", "connect"], Mode::Enforce, &["read", "write"]).unwrap_err();
    assert_eq!(stall.reason, Reason::LooserThanRuntimeDefault);
    assert!(
        stall.message.starts_with("the profile allows what the baseline standard denies: connect"),
        "{}",
        stall.message
    );
    let audited = judged(&["read"], Mode::Audit, &["read", "write"]).unwrap();
    let content = audited.content.unwrap();
    let logged = Profile::parse(content.as_bytes()).unwrap().syscalls;
    let logged: Vec<_> =
        logged.iter().filter(|rule| rule.action == portcullis_profile::Action::Log).collect();
    assert_eq!(logged.iter().flat_map(|rule| &rule.names).collect::<Vec<_>>(), ["write"]);
    // Looser than it.
    judged(&["read", "bpf"], Mode::Enforce, &["read", "bpf"]).unwrap();
}

#[test]
fn a_baseline_serves_nodes_of_the_architectures_that_it_lists() {
    let mut profile = Profile::clone(&allows(&["read"]));
    let on_riscv64 = |profile: &Profile| {
        let baseline = Arc::new(Compiled::chosen("standard".to_owned(), profile.clone()).unwrap());
        let architectures = BTreeSet::from([Arch::Riscv64]);
        let (owner, parts) = (web(), vec![own_part(allows(&["read"]))]);
        Job::Compose { owner, mode: Mode::Enforce, parts, architectures, may_be_looser: false, baseline }
            .run()
    };
    assert_eq!(on_riscv64(&profile).unwrap_err().reason, Reason::NoRuntimeDefault);
    profile.architectures.push(Arch::Riscv64);
    on_riscv64(&profile).unwrap();
}
