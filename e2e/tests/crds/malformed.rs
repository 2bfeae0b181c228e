//! One manifest for each field that can be malformed.

use serde_json::{Value, json};

use crate::refused::Refused;

pub(crate) fn documents() -> Vec<Refused> {
    let with = |key: &str, value: Value| {
        let mut document = json!({ "defaultAction": "SCMP_ACT_ERRNO" });
        document[key] = value;
        document
    };
    vec![
        Refused::profile(
            "no-default",
            json!({}),
            "spec.profile",
            &["defaultAction is missing", "no filter at all"],
        ),
        Refused::profile(
            "default",
            with("defaultAction", json!("deny")),
            "spec.profile.defaultAction",
            &["\"deny\"", "supported values", "SCMP_ACT_KILL_PROCESS"],
        ),
        Refused::profile(
            "notify-default",
            with("defaultAction", json!("SCMP_ACT_NOTIFY")),
            "spec.profile.defaultAction",
            &["runc refuses"],
        ),
        Refused::profile(
            "default-errno-ret",
            with("defaultErrnoRet", json!(4096)),
            "spec.profile.defaultErrnoRet",
            &["4096", "less than or equal to 4095"],
        ),
        Refused::profile(
            "architecture",
            with("architectures", json!(["SCMP_ARCH_X86_64", "amd64"])),
            "spec.profile.architectures[1]",
            &["\"amd64\"", "supported values", "SCMP_ARCH_AARCH64"],
        ),
        Refused::profile(
            "flag",
            with("flags", json!(["LOG"])),
            "spec.profile.flags[0]",
            &["\"LOG\"", "SECCOMP_FILTER_FLAG_LOG"],
        ),
    ]
}

pub(crate) fn rules() -> Vec<Refused> {
    let with = |key: &str, value: Value| {
        let mut rule = json!({ "names": ["read", "write"], "action": "SCMP_ACT_ALLOW" });
        rule[key] = value;
        rule
    };
    let arg = |key: &str, value: Value| {
        let mut arg = json!({ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" });
        arg[key] = value;
        arg
    };
    let value = "spec.profile.syscalls[0].args[0].value";
    let twice = json!([arg("value", json!(1)), arg("value", json!(2))]);
    let range: &[&str] = &["whole number from 0 to 2^64-1", "0xffffffffffffffff"];
    vec![
        Refused::rule(
            "action",
            with("action", json!("ALLOW")),
            "spec.profile.syscalls[0].action",
            &["\"ALLOW\"", "SCMP_ACT_ALLOW"],
        ),
        Refused::rule(
            "notify-write",
            with("action", json!("SCMP_ACT_NOTIFY")),
            "spec.profile.syscalls[0].action",
            &["runc refuses", "write"],
        ),
        Refused::rule(
            "no-names",
            json!({ "action": "SCMP_ACT_ALLOW" }),
            "spec.profile.syscalls[0]",
            &["names is missing"],
        ),
        Refused::rule(
            "empty-names",
            with("names", json!([])),
            "spec.profile.syscalls[0].names",
            &["at least 1 items"],
        ),
        Refused::rule(
            "odd-name",
            with("names", json!(["Open-At"])),
            "spec.profile.syscalls[0].names[0]",
            &["Open-At", "should match"],
        ),
        Refused::rule(
            "errno-ret",
            with("errnoRet", json!(0)),
            "spec.profile.syscalls[0].errnoRet",
            &["greater than or equal to 1"],
        ),
        Refused::rule(
            "index-twice",
            with("args", twice),
            "spec.profile.syscalls[0].args",
            &["same argument", "two rules"],
        ),
        Refused::arg(
            "index",
            arg("index", json!(6)),
            "spec.profile.syscalls[0].args[0].index",
            &["less than or equal to 5"],
        ),
        Refused::arg(
            "operator",
            arg("op", json!("==")),
            "spec.profile.syscalls[0].args[0].op",
            &["\"==\"", "SCMP_CMP_MASKED_EQ"],
        ),
        Refused::arg("negative", arg("value", json!(-1)), value, range),
        Refused::arg("word", arg("value", json!("AF_INET")), value, range),
        Refused::arg("octal", arg("value", json!("0755")), value, range),
        Refused::arg("too-large", arg("value", json!("18446744073709551616")), value, range),
        // Kubernetes' own words: an integer that JSON readers would round gets no further than its type.
        Refused::arg("rounded", arg("value", json!(u64::MAX)), value, &["must be of type integer,string"]),
        Refused::arg(
            "second-value",
            arg("valueTwo", json!("x")),
            "spec.profile.syscalls[0].args[0].valueTwo",
            range,
        ),
    ]
}

pub(crate) fn specs() -> Vec<Refused> {
    let document = json!({ "defaultAction": "SCMP_ACT_ERRNO" });
    let base = |kind: &str, name: &str| json!({ "kind": kind, "name": name });
    let long: &'static str = "a-name-of-sixty-four-characters-is-one-too-many-for-a-label----x";
    vec![
        Refused::spec("nothing", json!({}), "spec", &["needs a profile", "bases"]),
        Refused::spec(
            "mode",
            json!({ "mode": "Complain", "profile": document }),
            "spec.mode",
            &["\"Enforce\"", "\"Audit\""],
        ),
        Refused::spec(
            "pin",
            json!({ "profile": document, "pin": "latest" }),
            "spec.pin",
            &["\"latest\"", "sha256:"],
        ),
        Refused::spec(
            "history",
            json!({ "profile": document, "revisionHistoryLimit": 21 }),
            "spec.revisionHistoryLimit",
            &["less than or equal to 20"],
        ),
        Refused::spec(
            "base-kind",
            json!({ "bases": [base("Pod", "x")] }),
            "spec.bases[0].kind",
            &["ClusterSeccompProfile"],
        ),
        Refused::spec(
            "base-name",
            json!({ "bases": [base("SeccompProfile", "../x")] }),
            "spec.bases[0].name",
            &["../x"],
        ),
        Refused::spec(
            "itself",
            json!({ "bases": [base("SeccompProfile", "itself")] }),
            "spec.bases",
            &["its own base"],
        ),
        Refused::spec(
            "twice",
            json!({ "bases": [base("SeccompProfile", "a"), base("SeccompProfile", "a")] }),
            "spec.bases",
            &["twice"],
        ),
        Refused::spec(long, json!({ "profile": document }), "metadata.name", &["at most 63 characters"]),
        Refused {
            name: "sp.portcullis-e2e.no-filter.000000000000",
            kind: "SeccompRevision",
            spec: json!({ "content": "{}" }),
            path: "spec.content",
            words: &["a whole filter", "no filter at all for {}"],
        },
        Refused {
            name: "portcullis-e2e-cluster",
            kind: "ClusterSeccompProfile",
            spec: json!({ "bases": [base("SeccompProfile", "a")] }),
            path: "spec.bases",
            words: &["must be of kind ClusterSeccompProfile"],
        },
    ]
}
