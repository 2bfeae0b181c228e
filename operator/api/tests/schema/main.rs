//! The custom resource definitions without an API server: what their CEL rules refuse and say, and that everything is bounded and
//! explained. What the rest of the schema refuses is tried on a real API server, in `e2e/tests/crds.rs`.

mod recording;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_cel::{Validator, compile_schema};
use serde_json::{Value, json};

/// Every kind of the group.
const KINDS: [&str; 6] = [
    "SeccompProfile",
    "ClusterSeccompProfile",
    "SeccompRevision",
    "SeccompNode",
    "SeccompRecording",
    "SeccompRecordingPart",
];

fn crd(kind: &str) -> CustomResourceDefinition {
    let crds = portcullis_api::crds().expect("derived schemas can be read back");
    crds.into_iter().find(|crd| crd.spec.names.kind == kind).expect("a kind of the group")
}

fn schema(kind: &str) -> Value {
    let crd = crd(kind);
    let schema = crd.spec.versions[0].schema.clone().and_then(|schema| schema.open_api_v3_schema);
    serde_json::to_value(schema.expect("a schema")).expect("a schema is JSON")
}

/// `path: message` of every CEL rule that refuses the object.
fn refusals(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(&schema(kind), object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => {
            // Below the root the validator leaves a dot in front, which the API server does not.
            let path = |path: &str| path.trim_start_matches('.').to_owned();
            errors.iter().map(|error| format!("{}: {}", path(&error.field_path), error.message)).collect()
        }
    }
}

fn object(spec: Value) -> Value {
    json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

fn with_profile(profile: Value) -> Vec<String> {
    refusals("SeccompProfile", &object(json!({"profile": profile})), None)
}

fn with_rule(rule: Value) -> Vec<String> {
    with_profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}))
}

fn with_value(value: Value) -> Vec<String> {
    let arg = json!({"index": 0, "value": value, "op": "SCMP_CMP_EQ"});
    with_rule(json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg]}))
}

/// One refusal, at that path, that says each of the words.
fn assert_refused(refusals: &[String], path: &str, words: &[&str]) {
    let [refusal] = refusals else { panic!("not one refusal but {refusals:#?}") };
    assert!(refusal.starts_with(&format!("{path}: ")), "{refusal:?} does not speak of {path}");
    for word in words {
        assert!(refusal.contains(word), "{refusal:?} does not say {word:?}");
    }
}

#[test]
fn takes_a_whole_oci_document() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/listener.sock",
        "listenerMetadata": "x",
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 2_114_060_288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"},
                {"index": 1, "value": "18446744073709551615", "op": "SCMP_CMP_NE"},
            ]},
        ],
    });
    assert_eq!(with_profile(profile), [""; 0]);
}

#[test]
fn refuses_each_key_of_dockers_format() {
    for (key, value, word) in [
        ("archMap", json!([{"architecture": "SCMP_ARCH_X86_64"}]), "architectures"),
        ("archMap", json!([]), "architectures"),
        ("defaultErrno", json!("ENOSYS"), "defaultErrnoRet"),
    ] {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ERRNO"});
        profile[key] = value;
        let path = format!("spec.profile.{key}");
        assert_refused(&with_profile(profile), &path, &["Docker's format", "runtimes ignore", word]);
    }
    for (key, value, word) in [
        ("name", json!("read"), "names"),
        ("comment", json!(""), "annotation"),
        ("includes", json!({"caps": ["CAP_SYS_ADMIN"]}), "every container"),
        ("includes", json!({}), "every container"),
        ("excludes", json!({"arches": ["s390"]}), "every container"),
        ("errno", json!("ENOSYS"), "errnoRet"),
    ] {
        let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
        rule[key] = value;
        let path = format!("spec.profile.syscalls[0].{key}");
        assert_refused(&with_rule(rule), &path, &["Docker's format", "runtimes ignore", word]);
    }
}

#[test]
fn refuses_what_would_be_no_filter() {
    assert_refused(
        &with_profile(json!({})),
        "spec.profile",
        &["defaultAction is missing", "no filter at all"],
    );
    let refusals = with_rule(json!({"action": "SCMP_ACT_ALLOW"}));
    assert_refused(&refusals, "spec.profile.syscalls[0]", &["names is missing"]);
}

#[test]
fn refuses_notify_where_runc_does() {
    let refusals = with_profile(json!({"defaultAction": "SCMP_ACT_NOTIFY"}));
    assert_refused(&refusals, "spec.profile.defaultAction", &["runc refuses"]);
    let refusals = with_rule(json!({"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}));
    assert_refused(&refusals, "spec.profile.syscalls[0].action", &["runc refuses", "write"]);
}

#[test]
fn refuses_two_conditions_on_one_argument() {
    let not = |index: u8, value: u8| json!({"index": index, "value": value, "op": "SCMP_CMP_NE"});
    let rule = |args: Value| json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": args});
    assert_eq!(with_rule(rule(json!([not(0, 1), not(1, 1), not(5, 1)]))), [""; 0]);
    let refusals = with_rule(rule(json!([not(0, 1), not(2, 1), not(0, 2)])));
    assert_refused(&refusals, "spec.profile.syscalls[0].args", &["same argument", "two rules"]);
}

#[test]
fn takes_every_64_bit_value_and_nothing_else() {
    for value in [
        json!(0),
        json!(i64::MAX),
        json!("0"),
        json!("18446744073709551615"),
        json!("9999999999999999999"),
        json!("0xffffffffffffffff"),
    ] {
        assert_eq!(with_value(value.clone()), [""; 0], "{value}");
    }
    for value in [
        json!(-1),
        json!(""),
        json!("-1"),
        json!("010"),
        json!("18446744073709551616"),
        json!("99999999999999999999"),
        json!("0x1ffffffffffffffff"),
        json!("0x"),
        json!("0X1"),
        json!("1 "),
        json!("CLONE_NEWUSER"),
    ] {
        let refusals = with_value(value);
        assert_refused(&refusals, "spec.profile.syscalls[0].args[0].value", &["0 to 2^64-1", "0xffff"]);
    }
}

#[test]
fn refuses_a_document_over_256_kib() {
    let rules = |count: usize| -> Value {
        let names: Vec<_> = (0..500).map(|number| format!("call_{number:015}")).collect();
        let rule = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": vec![rule; count]})
    };
    let (below, above) = (rules(22), rules(23));
    assert!(below.to_string().len() <= portcullis_api::MAX_CONTENT_BYTES);
    assert!(above.to_string().len() > portcullis_api::MAX_CONTENT_BYTES);
    assert_eq!(with_profile(below), [""; 0]);
    assert_refused(&with_profile(above), "spec.profile.syscalls", &["256 KiB", "base"]);
}

#[test]
fn needs_a_profile_or_bases() {
    let base = json!({"kind": "ClusterSeccompProfile", "name": "base"});
    let taken = refusals("SeccompProfile", &object(json!({"bases": [base]})), None);
    assert_eq!(taken, [""; 0]);
    for spec in [json!({}), json!({"bases": []}), json!({"mode": "Audit"})] {
        assert_refused(&refusals("SeccompProfile", &object(spec), None), "spec", &["profile", "bases"]);
    }
}

#[test]
fn refuses_bases_that_can_never_be_resolved() {
    let base = |kind: &str, name: &str| json!({"kind": kind, "name": name});
    let bases = |kind: &str, bases: Value| refusals(kind, &object(json!({"bases": bases})), None);
    let itself = bases("SeccompProfile", json!([base("SeccompProfile", "web")]));
    assert_refused(&itself, "spec.bases", &["own base"]);
    let namesake = bases("SeccompProfile", json!([base("ClusterSeccompProfile", "web")]));
    assert_eq!(namesake, [""; 0], "a cluster profile of the same name is another");
    let twice = bases("SeccompProfile", json!([base("SeccompProfile", "a"), base("SeccompProfile", "a")]));
    assert_refused(&twice, "spec.bases", &["twice"]);
    let namespaced = bases("ClusterSeccompProfile", json!([base("SeccompProfile", "a")]));
    assert_refused(&namespaced, "spec.bases", &["must be of kind ClusterSeccompProfile"]);
    let itself = bases("ClusterSeccompProfile", json!([base("ClusterSeccompProfile", "web")]));
    assert_refused(&itself, "spec.bases", &["own base"]);
}

#[test]
fn refuses_a_name_that_fits_no_label() {
    for kind in ["SeccompProfile", "ClusterSeccompProfile"] {
        let named = |length: usize| {
            let mut object = object(json!({"profile": {"defaultAction": "SCMP_ACT_ERRNO"}}));
            object["metadata"]["name"] = json!("a".repeat(length));
            refusals(kind, &object, None)
        };
        assert_eq!(named(63), [""; 0]);
        assert_refused(&named(64), "", &["metadata.name", "63 characters"]);
    }
}

#[test]
fn a_revisions_content_never_changes() {
    let (a, b) = (revision(&rendered("SCMP_ACT_ERRNO")), revision(&rendered("SCMP_ACT_KILL")));
    assert_eq!(refusals("SeccompRevision", &a, None), [""; 0]);
    assert_eq!(refusals("SeccompRevision", &a, Some(&a)), [""; 0]);
    assert_refused(&refusals("SeccompRevision", &b, Some(&a)), "spec.content", &["never changes"]);
}

fn revision(content: &str) -> Value {
    json!({"metadata": {"name": "r"}, "spec": {"content": content}})
}

/// A content as the controller writes it.
fn rendered(default_action: &str) -> String {
    let document = json!({"defaultAction": default_action, "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]});
    let profile = portcullis_profile::Profile::parse(document.to_string().as_bytes()).expect("a profile");
    String::from_utf8(profile.render()).expect("JSON is UTF-8")
}

#[test]
fn a_revisions_content_is_a_whole_filter() {
    let whole = rendered("SCMP_ACT_ERRNO");
    let torn = &whole[..whole.len() / 2];
    for content in ["", "{}", "{\n}\n", "null", "mark", "{\"defaultAction\":\"SCMP_ACT_ERRNO\"}", torn] {
        let refusals = refusals("SeccompRevision", &revision(content), None);
        assert_refused(&refusals, "spec.content", &["a whole filter", "no filter at all for {}"]);
    }
}

#[test]
fn every_rule_compiles() {
    for kind in KINDS {
        let compiled = compile_schema(&schema(kind));
        assert!(!compiled.has_errors(), "{kind}: {:?}", compiled.compilation_errors());
    }
}

/// Calls `visit` with the path and the schema of every field and item.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}[]"), &schema["additionalProperties"], visit);
    }
}

fn walk_all(mut visit: impl FnMut(&str, &Value)) {
    for kind in KINDS {
        walk(kind, &schema(kind), &mut visit);
    }
}

#[test]
fn every_field_is_explained() {
    let mut fields = 0;
    walk_all(|path, schema| {
        fields += 1;
        let explained = schema["description"].as_str().is_some_and(|text| text.len() > 10);
        assert!(path.ends_with("[]") || explained, "{path}: {:?}", schema["description"]);
    });
    assert!(fields > 100, "only {fields} fields were looked at");
}

#[test]
fn everything_is_bounded() {
    walk_all(|path, schema| match schema["type"].as_str() {
        Some("string") => {
            let bounded = schema["maxLength"].is_u64() || schema["enum"].is_array();
            assert!(bounded || schema["format"] == "date-time", "{path} has no maxLength");
        }
        Some("array") => assert!(schema["maxItems"].is_u64(), "{path} has no maxItems"),
        Some("object") if schema["additionalProperties"].is_object() => {
            assert!(schema["maxProperties"].is_u64(), "{path} has no maxProperties");
        }
        Some("boolean" | "integer" | "object") => {}
        None => {
            assert_eq!(schema["x-kubernetes-int-or-string"], true, "{path} has no type");
            assert!(schema["maxLength"].is_u64(), "{path} has no maxLength");
        }
        other => panic!("{path}: {other:?}"),
    });
}

#[test]
fn uses_nothing_that_kubernetes_warns_of() {
    walk_all(|path, schema| {
        assert!(schema["nullable"].is_null(), "{path} is nullable");
        let format = schema["format"].as_str();
        assert!(matches!(format, None | Some("int32" | "int64" | "date-time")), "{path}: format {format:?}");
    });
}
