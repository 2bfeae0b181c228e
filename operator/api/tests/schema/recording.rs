//! Recordings: what their rules refuse, that their largest objects fit, and that what is written down is read back.

use std::collections::BTreeSet;

use portcullis_api::{
    Archive, MAX_ORIGINS, MAX_PART_ENTRIES, MAX_PLATFORMS, RecordedFrom, SeccompRecording,
    SeccompRecordingPart, SeccompRecordingPartSpec,
};
use portcullis_profile::{
    Action, Arch,
    recording::{
        Argument, Call, Ledger, Losses, MAX_CALLS_TEXT, MAX_DENIED_TEXT, MAX_VALUES_TEXT, Mark, Observation,
        Platform, Seen, Signals, Source, Subject, Tally, Values,
    },
};
use serde_json::{Value, json};

use super::{assert_refused, refusals, schema};

fn recording(spec: Value) -> Vec<String> {
    named("web", spec)
}

fn named(name: &str, spec: Value) -> Vec<String> {
    let object = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    refusals("SeccompRecording", &object, None)
}

fn with_profile(profile: Value) -> Vec<String> {
    recording(json!({"podSelector": {}, "profile": profile}))
}

#[test]
fn takes_a_whole_recording() {
    let spec = json!({
        "podSelector": {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["canary"]},
                {"key": "team", "operator": "Exists"},
            ],
        },
        "containers": ["web"],
        "profile": {
            "name": "web",
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "argumentRules": ["socket", "clone"],
            "bases": [{"kind": "ClusterSeccompProfile", "name": "web"}],
        },
        "end": {"duration": "1h", "noNewCallFor": "10m"},
        "output": {"create": true},
        "run": "smoke-1.2_a",
    });
    assert_eq!(recording(spec.clone()), [""; 0]);
    assert_eq!(recording(json!({"podSelector": {}})), [""; 0]);
    let read: SeccompRecording = serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompRecording",
        "metadata": {"name": "rec", "uid": "u"},
        "spec": spec,
    }))
    .unwrap();
    assert_eq!((read.profile_name().as_str(), read.creates_profile()), ("web", true));
    assert_eq!(read.run_of(Some("nightly")), "smoke-1.2_a");
    let profile = read.spec.profile.clone().unwrap();
    assert_eq!((profile.action(), profile.errno()), (Action::Errno, Some(1)));
    let owner = read.owner_reference().unwrap();
    assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("SeccompRecording", "u", None));
    let unset = portcullis_api::ProfileToMake::default();
    assert_eq!((unset.action(), unset.errno()), (Action::Errno, Some(38)));
    let kills =
        portcullis_api::ProfileToMake { default_action: Some("SCMP_ACT_KILL_PROCESS".to_owned()), ..unset };
    assert_eq!((kills.action(), kills.errno()), (Action::KillProcess, None));
}

#[test]
fn refuses_a_name_that_would_make_names_of_parts_ambiguous() {
    for name in ["a.b", &"a".repeat(64), "a-"] {
        assert_refused(&named(name, json!({"podSelector": {}})), "", &["DNS label", "<recording>.<node>"]);
    }
    assert_eq!(named(&"a".repeat(63), json!({"podSelector": {}})), [""; 0]);
}

#[test]
fn refuses_what_contradicts_itself() {
    let profile = with_profile(json!({"defaultAction": "SCMP_ACT_TRAP", "defaultErrnoRet": 38}));
    assert_refused(&profile, "spec.profile.defaultErrnoRet", &["SCMP_ACT_ERRNO alone"]);
    let rules = with_profile(json!({"argumentRules": ["*", "socket"]}));
    assert_refused(&rules, "spec.profile.argumentRules", &["name it alone"]);
    assert_eq!(with_profile(json!({"argumentRules": ["*"]})), [""; 0]);
    let end = recording(json!({"podSelector": {}, "end": {}}));
    assert_refused(&end, "spec.end", &["duration, noNewCallFor"]);
    for requirement in [
        json!({"key": "a", "operator": "In"}),
        json!({"key": "a", "operator": "NotIn", "values": []}),
        json!({"key": "a", "operator": "Exists", "values": ["b"]}),
    ] {
        let selector = json!({"matchExpressions": [requirement]});
        let refused = recording(json!({"podSelector": selector}));
        assert_refused(
            &refused,
            "spec.podSelector.matchExpressions[0].values",
            &["In and NotIn need values"],
        );
    }
}

#[test]
fn refuses_bases_that_can_never_be_resolved() {
    let base = |name: &str| json!([{"kind": "SeccompProfile", "name": name}]);
    let own = with_profile(json!({"bases": base("web")}));
    assert_refused(&own, "spec.profile.bases", &["own base"]);
    let named = with_profile(json!({"name": "shop", "bases": base("shop")}));
    assert_refused(&named, "spec.profile.bases", &["own base"]);
    assert_eq!(with_profile(json!({"name": "shop", "bases": base("web")})), [""; 0]);
    let twice = json!([base("a")[0], base("a")[0]]);
    assert_refused(&with_profile(json!({"bases": twice})), "spec.profile.bases", &["twice"]);
}

#[test]
fn argument_rules_are_for_the_calls_of_which_an_argument_is_recorded() {
    let rules = &schema("SeccompRecording")["properties"]["spec"]["properties"]["profile"]["properties"]["argumentRules"];
    let names = rules["items"]["enum"].as_array().unwrap();
    assert!(
        names.contains(&json!("*")) && names.contains(&json!("socket")) && !names.contains(&json!("read"))
    );
}

#[test]
fn without_a_run_of_its_own_the_pods_label_counts() {
    let without: SeccompRecording = serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecording", "metadata": {"name": "rec"},
        "spec": {"podSelector": {}},
    }))
    .unwrap();
    assert_eq!((without.run_of(Some("nightly")), without.run_of(None)), ("nightly", ""));
}

fn part(name: &str, node: Option<&str>, uid: &str) -> Value {
    let mut object = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"recording": "web", "recordingUid": uid}});
    if let Some(node) = node {
        object["spec"]["node"] = json!(node);
    }
    object
}

#[test]
fn a_part_is_named_by_what_it_is_of_and_stays_that() {
    let refused = |object: &Value, old: Option<&Value>| refusals("SeccompRecordingPart", object, old);
    let (node, archive) = (part("web.n1", Some("n1"), "u"), part("web", None, "u"));
    assert_eq!(refused(&node, None), [""; 0]);
    assert_eq!(refused(&archive, None), [""; 0]);
    assert_eq!(refused(&node, Some(&node)), [""; 0]);
    for wrong in [part("web.n2", Some("n1"), "u"), part("web.n1", None, "u"), part("web", Some("n1"), "u")] {
        assert_refused(&refused(&wrong, None), "", &["<recording>.<node>"]);
    }
    let other = part("web.n1", Some("n1"), "v");
    assert_refused(&refused(&other, Some(&node)), "spec.recordingUid", &["one recording for ever"]);
}

/// An observation of which every bound is reached.
fn largest(number: usize) -> Observation {
    let seen = Seen { count: u64::MAX, first_at: i64::MAX as u64 };
    let call = |number| Call { arch: Arch::Mipsel64n32, number };
    let values = (0..32).map(|value| u64::MAX - value).collect::<BTreeSet<_>>();
    let mut calls: std::collections::BTreeMap<_, _> = (0..450).map(|number| (call(number), seen)).collect();
    calls.insert(call(0), Seen { count: number as u64, first_at: 0 });
    Observation {
        containers: u64::MAX,
        denied: calls.clone(),
        calls,
        values: (0..60)
            .map(|n| (Argument { call: call(n), index: 0 }, Values::These(values.clone())))
            .collect(),
        marks: Mark::ALL.iter().copied().collect(),
        handled: Signals::from_bits(u64::MAX),
        outside: Signals::from_bits(u64::MAX),
        losses: Losses { calls: u64::MAX / 2, values: u64::MAX, denials: u64::MAX / 2 },
    }
}

fn largest_subject(number: usize) -> Subject {
    Subject {
        image: format!("sha512:{number:089}"),
        container: format!("{number:063}"),
        run: format!("{number:063}"),
    }
}

#[test]
fn the_largest_part_fits_an_object() {
    let mut ledger = Ledger::default();
    for number in 0..40 {
        let name = |what: &str| format!("{what}{number:063}");
        ledger.on(Platform { kernel: name("k"), runtime: name("r") });
        let source = |life: &str| Source { container: name(life), instance: name("i") };
        ledger.report(source("o"), largest_subject(number), &largest(number));
        ledger.report(source("e"), largest_subject(number), &largest(number));
        assert!(ledger.settle(&source("e")));
    }
    let spec = SeccompRecordingPartSpec::of_node(&"w".repeat(63), &"u".repeat(36), &"n".repeat(189), &ledger);
    assert_eq!((spec.entries.len(), spec.platforms.len()), (MAX_PART_ENTRIES, MAX_PLATFORMS));
    let fits = |text: &str, limit: usize| text.len() <= limit && text.len() > limit * 4 / 5;
    for entry in &spec.entries {
        assert!(fits(&entry.calls, MAX_CALLS_TEXT) && fits(&entry.denied, MAX_DENIED_TEXT));
        assert!(fits(&entry.values, MAX_VALUES_TEXT));
    }
    let part = SeccompRecordingPart::new(&spec.object_name(), spec.clone());
    let size = serde_json::to_vec(&part).unwrap().len();
    assert!(size < 1024 * 1024, "{size} bytes");
    assert!(size > 900 * 1024, "{size} bytes: the bounds were not reached");
    assert_eq!(part.metadata.name.as_ref().map(String::len), Some(253));
    let object = serde_json::to_value(&part).unwrap();
    assert_eq!(refusals("SeccompRecordingPart", &object, None), [""; 0]);
    assert!(spec.ledger().is_ok());
}

fn saw(number: u32) -> Observation {
    let call = Call { arch: Arch::X86_64, number };
    let seen = Seen { count: 2, first_at: 1_795_475_685 };
    Observation { containers: 1, calls: [(call, seen)].into(), ..Observation::default() }
}

fn subject(run: &str) -> Subject {
    Subject { image: "sha256:1".to_owned(), container: "web".to_owned(), run: run.to_owned() }
}

#[test]
fn a_recorder_reads_back_what_it_wrote() {
    let mut ledger = Ledger::default();
    ledger.on(Platform { kernel: "6.18".to_owned(), runtime: "containerd://2".to_owned() });
    let source = |name: &str| Source { container: name.to_owned(), instance: "1".to_owned() };
    for (name, number) in [("a", 0), ("b", 1), ("c", 2)] {
        ledger.report(source(name), subject("suite"), &saw(number));
    }
    assert!(ledger.settle(&source("a")));
    let spec = SeccompRecordingPartSpec::of_node("web", "u", "n1", &ledger);
    assert!(!spec.has_observed(1));
    let spec = spec.observing(Some(2));
    assert!(spec.has_observed(2) && !spec.has_observed(3));
    assert_eq!(spec.object_name(), "web.n1");
    let written = serde_json::to_value(&spec).unwrap();
    assert_eq!(written["entries"][0]["calls"], "SCMP_ARCH_X86_64=0:2:0");
    let read = serde_json::from_value::<SeccompRecordingPartSpec>(written).unwrap().ledger().unwrap();
    assert_eq!(read, ledger);
    let mut broken = spec;
    broken.entries[1].calls = "0:2:0".to_owned();
    let error = broken.ledger().unwrap_err().to_string();
    assert!(error.starts_with("spec.entries[1].calls: \"0:2:0\" is not"), "{error}");
}

fn tally(run: &str, number: u32) -> Tally {
    let mut tally = Tally::default();
    tally.add_one(subject(run), &saw(number));
    tally
}

/// Whenever the controller stops, and however often it does a step again, each node counts once.
#[test]
fn the_archive_counts_each_node_once() {
    let first = Archive::default().take_over("part-1", &tally("suite", 0), |_| false);
    let spec = first.to_spec("web", "u");
    assert_eq!((spec.object_name().as_str(), spec.entries[0].part.as_deref()), ("web", Some("part-1")));
    assert_eq!(Archive::from_spec(&spec), Ok(first.clone()));
    assert!(first.tally(|uid| uid == "part-1").is_empty(), "the part itself counts while it is there");
    assert_eq!(first.tally(|_| false), tally("suite", 0));
    let second = first.take_over("part-2", &tally("suite", 0), |_| false);
    let read = Archive::from_spec(&second.to_spec("web", "u")).unwrap();
    assert_eq!(read, second);
    let both = read.tally(|_| false);
    assert_eq!(both.subjects[&subject("suite")].containers, 2);
    assert_eq!(read.tally(|uid| uid == "part-2"), tally("suite", 0));
    // A part that changed after it was taken over is taken over again, and its earlier version counts no more.
    let again = first.take_over("part-1", &tally("suite", 1), |_| false);
    assert_eq!(again.tally(|_| false), tally("suite", 1));
    // The node of part-1 came back before it was deleted, and another one is taken over: part-1 counts for itself.
    let back = first.take_over("part-2", &tally("suite", 1), |uid| uid == "part-1");
    assert_eq!(back.tally(|_| false), tally("suite", 1));
}

#[test]
fn the_largest_archive_fits_an_object() {
    let mut many = Tally::default();
    for number in 0..40 {
        many.add_one(largest_subject(number), &largest(number));
        let name = |what: &str| format!("{what}{number:063}");
        many.platforms.insert(Platform { kernel: name("k"), runtime: name("r") });
    }
    let archive = Archive::default().take_over(&"p".repeat(64), &many, |_| false).take_over(
        &"q".repeat(64),
        &many,
        |_| false,
    );
    let spec = archive.to_spec(&"w".repeat(63), &"u".repeat(36));
    assert_eq!(spec.entries.len(), MAX_PART_ENTRIES);
    let part = SeccompRecordingPart::new(&spec.object_name(), spec);
    let size = serde_json::to_vec(&part).unwrap().len();
    assert!(size < 1024 * 1024, "{size} bytes");
}

#[test]
fn a_profile_says_what_it_was_recorded_from() {
    let mut seen = tally("suite", 0);
    seen.add(&tally("", 1));
    for number in 0..100 {
        let kernel = format!("6.{number:03}");
        seen.platforms.insert(Platform { kernel, runtime: "containerd://2".to_owned() });
        seen.add_one(Subject { image: format!("sha256:{number:03}"), ..subject("suite") }, &saw(2));
    }
    let from = RecordedFrom::of(Some("web".to_owned()), &seen);
    assert_eq!((from.images.len(), from.kernels.len()), (MAX_ORIGINS, MAX_PLATFORMS));
    assert_eq!((from.runs, from.runtimes), (vec!["suite".to_owned()], vec!["containerd://2".to_owned()]));
    assert_eq!(from.architectures, ["SCMP_ARCH_X86_64"]);
    let time = serde_json::to_value(from.last_new_call_time).unwrap();
    assert_eq!(time, json!("2026-11-23T23:14:45Z"));
}
