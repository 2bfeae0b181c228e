use http::StatusCode;
use portcullis_api::{RecordingBase, RecordingPlatform, SeccompRecordingPartSpec};
use portcullis_profile::{
    Arch, Baseline,
    recording::{Call, Ledger, Observation, Platform, Seen, Source, Subject, Tally},
    syscalls,
};
use serde_json::{Value, json};

use portcullis_api::SeccompDocument;

use super::*;
use crate::cluster::fake::{self, Asked};

const GROUP: &str = "/apis/portcullis.dev/v1alpha1/namespaces/shop";

pub(super) fn recording(spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecording",
        "metadata": {"namespace": "shop", "name": "web", "uid": "uid-1", "generation": 1},
        "spec": {"podSelector": {}},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// What a container was seen to call.
pub(super) fn saw(names: &[&str]) -> Observation {
    let call = |name: &&str| {
        let number = syscalls::number(Arch::X86_64, name).unwrap();
        (Call { arch: Arch::X86_64, number }, Seen { count: 1, first_at: 1_795_000_000 })
    };
    Observation { containers: 1, calls: names.iter().map(call).collect(), ..Observation::default() }
}

/// A node's part, of a recording by its UID.
fn part(node: &str, recording_uid: &str, names: &[&str]) -> Value {
    let mut ledger = Ledger::default();
    ledger.on(Platform { kernel: "6.18.2".to_owned(), runtime: "containerd://2.1".to_owned() });
    let subject =
        Subject { image: "sha256:ab".to_owned(), container: "nginx".to_owned(), run: "smoke".to_owned() };
    ledger.report(Source { container: node.to_owned(), instance: "1".to_owned() }, subject, &saw(names));
    let spec = SeccompRecordingPartSpec::of_node("web", recording_uid, node, &ledger);
    assert_eq!(
        spec.platforms[0],
        RecordingPlatform { kernel: "6.18.2".into(), runtime: "containerd://2.1".into() }
    );
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecordingPart",
        "metadata": {
            "namespace": "shop", "name": spec.object_name(), "uid": format!("part-{node}"),
            "annotations": {"portcullis.dev/invited": recording_uid},
        },
        "spec": spec,
    })
}

fn cluster(recording: Value, parts: Vec<Value>) -> Cluster {
    fake::cluster(move |asked: Asked| match asked.path.strip_prefix(GROUP) {
        Some("/seccomprecordings/web") => (StatusCode::OK, recording.clone()),
        Some("/seccomprecordingparts") => {
            assert!(asked.query.contains("limit=20"), "a part may have 1 MiB: {}", asked.query);
            fake::list(&parts)
        }
        _ => {
            let (code, mut status) = fake::refusal(StatusCode::NOT_FOUND, "NotFound", "not found");
            status["details"] = json!({"name": asked.path.rsplit('/').next()});
            (code, status)
        }
    })
}

/// What export prints, and what it knows.
async fn exported(recording: Value, parts: Vec<Value>, form: Form) -> Result<(String, Vec<String>)> {
    exported_with(false, recording, parts, form).await
}

async fn exported_with(
    companions: bool,
    recording: Value,
    parts: Vec<Value>,
    form: Form,
) -> Result<(String, Vec<String>)> {
    let cluster = cluster(recording, parts);
    let recording = recordings::find(&cluster, "web").await?;
    let recorded = recordings::recorded(&cluster, &recording).await?;
    let (made, known) = make(&cluster, &recording, &recorded, &Baseline::strictest(), companions).await?;
    let mut out = Vec::new();
    write(&recording, made, &known, "web", form, &mut out)?;
    Ok((String::from_utf8(out)?, known.lines()))
}

#[tokio::test]
async fn a_manifest_unites_all_parts_and_says_what_it_is_of() {
    let mut uninvited = part("n4", "uid-1", &["swapon"]);
    uninvited["metadata"]["annotations"] = json!({});
    let parts = vec![
        uninvited,
        part("n1", "uid-1", &["read", "write"]),
        part("n2", "uid-1", &["fsync"]),
        // Of an earlier recording of that name.
        part("n3", "uid-0", &["mount"]),
    ];
    let (text, known) = exported(recording(&json!({})), parts.clone(), Form::Yaml).await.unwrap();
    for words in [
        "# Recorded by SeccompRecording shop/web.\n# 3 calls of nginx, in 1 run (smoke)\n",
        "# Not complete:\n# - nginx: its start was missed, as it ran before; restart its pod\n",
        "# - nginx: no graceful stop was seen; delete its pod while recording\n",
        "\n  mode: Audit\n",
        "\n    images:\n    - sha256:ab\n",
        "\n    - containerd://2.1\n",
        "\n    runs:\n    - smoke\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing:\n{text}");
    }
    assert_eq!(known.iter().filter(|one| one.contains("graceful stop")).count(), 1, "{known:?}");
    let object: SeccompProfile = serde_saphyr::from_str(&text).unwrap();
    let document = object.spec.profile.profile.unwrap();
    let names: Vec<&str> =
        document.syscalls.iter().flat_map(|rule| &rule.names).map(String::as_str).collect();
    for name in ["read", "write", "fsync", "exit_group"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for name in ["mount", "swapon"] {
        assert!(!names.contains(&name), "{names:?}");
    }

    let (json, _) = exported(recording(&json!({})), parts.clone(), Form::Json).await.unwrap();
    let same: SeccompProfile = serde_json::from_str(&json).unwrap();
    assert_eq!(same.spec.profile.profile.as_ref(), Some(&document));
    let (oci, _) = exported(recording(&json!({})), parts, Form::Profile).await.unwrap();
    assert_eq!(SeccompDocument::from(&Profile::parse(oci.as_bytes()).unwrap().canonical()), document);
}

#[tokio::test]
async fn nothing_recorded_is_an_error_that_says_why() {
    let error = exported(recording(&json!({})), Vec::new(), Form::Yaml).await.unwrap_err().to_string();
    assert!(error.starts_with("SeccompRecording shop/web: nothing was recorded yet"), "{error}");
    assert!(error.contains("recorder.enabled"), "{error}");
    let mut waiting = recording(&json!({}));
    waiting["status"] = json!({"conditions": [{
        "type": "Recording", "status": "True", "reason": "WaitingForPods", "message": "Nothing was recorded yet: no pod",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let error = exported(waiting, Vec::new(), Form::Yaml).await.unwrap_err().to_string();
    assert_eq!(error, "SeccompRecording shop/web: Nothing was recorded yet: no pod");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let cluster = cluster(recording(&json!({})), Vec::new());
    for name in ["wep", "a/b"] {
        let error = recordings::find(&cluster, name).await.unwrap_err().to_string();
        assert!(
            error.contains("there is no SeccompRecording") && error.contains("record list -A"),
            "{error}"
        );
    }
    let base = json!({"profile": {"bases": [{"kind": "ClusterSeccompProfile", "name": "base"}]}});
    let parts = vec![part("n1", "uid-1", &["read"])];
    let error = exported(recording(&base), parts, Form::Yaml).await.unwrap_err().to_string();
    assert_eq!(error, "bases: there is no ClusterSeccompProfile base");
}

#[tokio::test]
async fn a_part_that_can_not_be_read_is_named_and_the_rest_is_exported() {
    let mut broken = part("n2", "uid-1", &["fsync"]);
    broken["spec"]["entries"][0]["calls"] = json!("gibberish");
    let parts = vec![part("n1", "uid-1", &["read"]), broken.clone()];
    let (text, known) = exported(recording(&json!({})), parts, Form::Yaml).await.unwrap();
    assert!(
        text.contains("# - SeccompRecordingPart web.n2 can't be read: spec.entries[0].calls: "),
        "{text}"
    );
    assert!(known.iter().any(|one| one.contains("web.n2")), "{known:?}");
    let error = exported(recording(&json!({})), vec![broken], Form::Yaml).await.unwrap_err().to_string();
    assert!(error.contains("web.n2 can't be read") && error.contains("nothing else"), "{error}");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let cluster = fake::cluster(|asked| {
        if asked.path.ends_with("parts") {
            return fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "it is forbidden");
        }
        (StatusCode::OK, recording(&json!({})))
    });
    let found = recordings::find(&cluster, "web").await.unwrap();
    let error = recordings::recorded(&cluster, &found).await.unwrap_err().to_string();
    assert!(error.contains("verb list on the resource seccomprecordingparts"), "{error}");
}

/// A committed profile in a file of two documents.
fn committed(spec: &Value) -> tempfile::NamedTempFile {
    let object = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile", "metadata": {"name": "front"}, "spec": spec,
    });
    let text = format!("# Ours.\nkind: ConfigMap\n---\n{}", serde_saphyr::to_string(&object).unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

const fn wanted(baseline: &Baseline) -> merge::Wanted<'_> {
    merge::Wanted { baseline, companions: false }
}

fn merged(spec: &Value, names: &[&str], bases: &[RecordingBase]) -> Result<merge::Merged> {
    let file = committed(spec);
    let committed = committed::Committed::read(file.path(), None).unwrap();
    let recording: SeccompRecording = serde_json::from_value(recording(&json!({}))).unwrap();
    let mut tally = Tally::default();
    tally.add_one(Subject { run: "smoke".to_owned(), ..Subject::default() }, &saw(names));
    merge::merge(&recording, &tally, &committed.object, bases, wanted(&Baseline::strictest()))
}

fn document(rules: &Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules})
}

/// The calls that every profile of a recording allows, and these.
fn allowed(names: &[&str]) -> Value {
    let always = portcullis_profile::runtime_base::ALWAYS.iter().chain(names).collect::<Vec<_>>();
    json!({"names": always, "action": "SCMP_ACT_ALLOW"})
}

fn names(calls: &[portcullis_profile::compare::CallChange]) -> Vec<&str> {
    calls.iter().filter_map(|call| call.name).collect()
}

#[test]
fn a_recording_adds_to_a_committed_profile_and_takes_nothing_away() {
    let spec = json!({"mode": "Enforce", "profile": document(&json!([allowed(&["read", "mkdir"])]))});
    let merged = merged(&spec, &["read", "fsync"], &[]).unwrap();
    assert_eq!(names(&merged.gained.calls), ["fsync"]);
    assert_eq!(names(&merged.kept), ["mkdir"]);
    assert_eq!(merged.profile.default_errno_ret, None, "the committed default stays");
    assert!(merged.origin_is_new);
    assert_eq!(merged.recorded_from.runs, ["smoke"]);
}

#[test]
fn nothing_new_is_nothing_new_whatever_the_order_of_rules() {
    let rules = json!([{"names": ["write", "read"], "action": "SCMP_ACT_ALLOW"}, allowed(&[])]);
    let spec = json!({"profile": document(&rules), "recordedFrom": {
        "recording": "web", "runs": ["smoke"], "architectures": ["SCMP_ARCH_X86_64"],
    }});
    let merged = merged(&spec, &["read"], &[]).unwrap();
    assert!(merged.gained.is_empty(), "{:?}", merged.gained);
    assert!(!merged.origin_is_new, "{:?}", merged.recorded_from);
    assert_eq!(names(&merged.kept), ["write"]);
}

#[test]
fn a_call_that_the_file_narrows_by_its_argument_stays_narrow() {
    let socket = |domain: u64| {
        json!({
            "names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0xffff_ffff_u32, "valueTwo": domain, "op": "SCMP_CMP_MASKED_EQ"}],
        })
    };
    let spec = json!({"profile": document(&json!([allowed(&[]), socket(1)]))});
    let file = committed(&spec);
    let committed = committed::Committed::read(file.path(), None).unwrap();
    let recording: SeccompRecording = serde_json::from_value(recording(&json!({}))).unwrap();
    let mut observation = saw(&["socket"]);
    let call = *observation.calls.keys().next().unwrap();
    let domains = portcullis_profile::recording::Values::These([1, 2].into());
    observation.values.insert(portcullis_profile::recording::Argument { call, index: 0 }, domains);
    let mut tally = Tally::default();
    tally.add_one(Subject::default(), &observation);
    let strictest = Baseline::strictest();
    let merged = merge::merge(&recording, &tally, &committed.object, &[], wanted(&strictest)).unwrap();
    let [only] = &merged.gained.calls[..] else { panic!("{:?}", merged.gained.calls) };
    assert_eq!((only.name, only.change), (Some("socket"), portcullis_profile::compare::Change::Looser));
    let domains: Vec<&str> = only.differences.iter().map(|one| one.in_words.as_str()).collect();
    assert_eq!(domains, ["domain is AF_INET"]);
}

#[test]
fn the_bases_of_the_file_count() {
    let base: SeccompDocument = serde_json::from_value(document(&json!([allowed(&["fsync"])]))).unwrap();
    let bases = [RecordingBase { name: "ClusterSeccompProfile base".to_owned(), document: Some(base) }];
    let spec = json!({
        "bases": [{"kind": "ClusterSeccompProfile", "name": "base"}],
        "profile": document(&json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW"}])),
    });
    let nothing = merged(&spec, &["read", "fsync"], &bases);
    // The base's default is EPERM as the file's is.
    let nothing = nothing.unwrap();
    assert!(nothing.gained.is_empty(), "{:?}", nothing.gained);
    assert_eq!(names(&merged(&spec, &["rename"], &bases).unwrap().gained.calls), ["rename"]);
}

#[test]
fn what_contradicts_the_recording_is_named() {
    let denies = json!([allowed(&[]), {"names": ["fsync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]);
    let error = format!("{:#}", merged(&json!({"profile": document(&denies)}), &["fsync"], &[]).unwrap_err());
    assert!(error.contains("fsync") && error.contains("by hand"), "{error}");
    let open = json!({"profile": {"defaultAction": "SCMP_ACT_ALLOW"}});
    let error = format!("{:#}", merged(&open, &["read"], &[]).unwrap_err());
    assert!(error.contains("SCMP_ACT_ALLOW doesn't deny"), "{error}");
}

/// Runs the update, and gives the verdict and the file's text.
async fn updated(file: &std::path::Path, names: &[&str], check: bool) -> (Verdict, String) {
    let cluster = cluster(recording(&json!({})), vec![part("n1", "uid-1", names)]);
    let recording = recordings::find(&cluster, "web").await.unwrap();
    let recorded = recordings::recorded(&cluster, &recording).await.unwrap();
    let target = Target { file, name: None, check, companions: false, baseline: &Baseline::strictest() };
    let verdict = update::run(&cluster, &recording, &recorded, target, &mut Console::new()).await.unwrap();
    (verdict, std::fs::read_to_string(file).unwrap())
}

#[tokio::test]
async fn an_update_is_written_once_and_a_check_never() {
    let file = committed(&json!({"mode": "Enforce", "profile": document(&json!([allowed(&["read"])]))}));
    let before = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(updated(file.path(), &["read", "fsync"], true).await, (Verdict::No, before.clone()));
    assert_eq!(updated(file.path(), &["read"], true).await, (Verdict::Yes, before.clone()));
    let (verdict, after) = updated(file.path(), &["read", "fsync"], false).await;
    assert_eq!(verdict, Verdict::Yes);
    assert!(after.starts_with("# Ours.\nkind: ConfigMap\n---\n") && after.contains("fsync"), "{after}");
    assert!(after.contains("sha256:ab") && after.contains("mode: Enforce"), "{after}");
    assert_eq!(updated(file.path(), &["read", "fsync"], false).await, (Verdict::Yes, after.clone()));
    assert_eq!(updated(file.path(), &["read", "fsync"], true).await, (Verdict::Yes, after));
}

/// A recording of a program that forks, exported and updated at once: the default's rule on clone is the recording's own.
#[test]
fn an_update_right_after_an_export_keeps_nothing_that_was_not_recorded() {
    let mut observation = saw(&["read", "clone", "socket"]);
    for (name, values) in [("clone", [0x0120_0011, 0x003d_0f00]), ("socket", [1, 2])] {
        let call = Call { arch: Arch::X86_64, number: syscalls::number(Arch::X86_64, name).unwrap() };
        let values = portcullis_profile::recording::Values::These(values.into());
        observation.values.insert(portcullis_profile::recording::Argument { call, index: 0 }, values);
    }
    let mut tally = Tally::default();
    tally.add_one(Subject { run: "smoke".to_owned(), ..Subject::default() }, &observation);
    let recording: SeccompRecording = serde_json::from_value(recording(&json!({}))).unwrap();
    let strictest = Baseline::strictest();
    for companions in [false, true] {
        let mut made = recording.profile_of(&tally, &[], &strictest).unwrap();
        if companions {
            companions::allow(&mut made);
        }
        let file = committed(&serde_json::to_value(&made.spec).unwrap());
        let committed = committed::Committed::read(file.path(), None).unwrap();
        let merged = merge::merge(&recording, &tally, &committed.object, &[], wanted(&strictest)).unwrap();
        assert_eq!(names(&merged.kept), Vec::<&str>::new(), "with companions: {companions}");
        assert!(merged.gained.is_empty(), "{:?}", merged.gained);
    }
}

#[tokio::test]
async fn companions_are_named_or_allowed_in_a_block_of_their_own() {
    let parts = vec![part("n1", "uid-1", &["mmap", "futex", "read", "readv"])];
    let (text, known) = exported(recording(&json!({})), parts.clone(), Form::Yaml).await.unwrap();
    let named: Vec<_> = known.iter().filter(|said| said.contains("--companions")).collect();
    assert_eq!(
        named,
        [
            "Not recorded, and likely to be made under another load (--companions allows them): madvise, mremap, munmap (memory, with \
             mmap: it depends on how much memory is used); sched_yield (locks, with futex: it depends on how many threads want one lock)"
        ]
    );
    let names = |text: &str| -> Vec<Vec<String>> {
        let object: SeccompProfile = serde_saphyr::from_str(text).unwrap();
        object.spec.profile.profile.unwrap().syscalls.into_iter().map(|rule| rule.names).collect()
    };
    assert_eq!(names(&text).len(), 1);
    let (text, known) = exported_with(true, recording(&json!({})), parts.clone(), Form::Yaml).await.unwrap();
    assert!(known.iter().all(|said| !said.contains("--companions")), "{known:?}");
    let end = "    # Companions (--companions): not recorded, harmless, and made under another load.
    # - madvise, mremap, munmap (memory, with mmap: it depends on how much memory is used)
    # - sched_yield (locks, with futex: it depends on how many threads want one lock)
    - action: SCMP_ACT_ALLOW
      names:
      - madvise
      - mremap
      - munmap
      - sched_yield
";
    assert!(text.ends_with(end), "{text}");
    assert_eq!(names(&text)[1], ["madvise", "mremap", "munmap", "sched_yield"]);
    for form in [Form::Json, Form::Profile] {
        let (text, _) = exported_with(true, recording(&json!({})), parts.clone(), form).await.unwrap();
        assert!(text.contains("munmap"), "{text}");
    }
}

#[test]
fn arguments_that_are_asked_for_narrow_the_profile() {
    let mut recording: SeccompRecording =
        serde_json::from_value(recording(&json!({"profile": {"argumentRules": ["ioctl"]}}))).unwrap();
    narrow(&mut recording, &[]);
    narrow(&mut recording, &["socket".to_owned()]);
    assert_eq!(recording.spec.profile.unwrap().argument_rules, ["ioctl", "socket"]);
}
