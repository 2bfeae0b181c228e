use serde_json::json;

use super::*;
use crate::{Action, Arch, Arg, Flag, Operator, Rule};

fn errors(document: &str) -> Vec<(String, String)> {
    let errors = Profile::parse(document.as_bytes()).expect_err("the document was taken");
    errors.errors().iter().map(|error| (error.path.clone(), error.message.clone())).collect()
}

/// The one error of a document, which must be at a path and hold each of some texts.
#[track_caller]
fn refused(document: &str, path: &str, texts: &[&str]) {
    let errors = errors(document);
    let [(found, message)] = errors.as_slice() else { panic!("not one error: {errors:?}") };
    assert_eq!(found, path, "{message}");
    for text in texts {
        assert!(message.contains(text), "{text:?} is not in {message:?}");
    }
}

/// A document with one rule, given as JSON.
fn with_rule(rule: &str) -> String {
    format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rule}]}}"#)
}

/// A document with one condition, given as JSON.
fn with_arg(arg: &str) -> String {
    with_rule(&format!(r#"{{"names":["openat"],"action":"SCMP_ACT_ALLOW","args":[{arg}]}}"#))
}

#[test]
fn reads_every_field_value_for_value() {
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/listener.sock",
        "listenerMetadata": "m",
        "syscalls": [{
            "names": ["personality", "ioctl"],
            "action": "SCMP_ACT_TRACE",
            "errnoRet": 0,
            "args": [{"index": 5, "value": u64::MAX, "valueTwo": 9_223_372_036_854_775_809_u64, "op": "SCMP_CMP_MASKED_EQ"}],
        }],
    });
    let expected = Profile {
        default_action: Action::Errno,
        default_errno_ret: Some(38),
        architectures: vec![Arch::X86_64, Arch::Aarch64],
        flags: vec![Flag::Log],
        listener_path: Some("/run/listener.sock".into()),
        listener_metadata: Some("m".into()),
        syscalls: vec![Rule {
            names: vec!["personality".into(), "ioctl".into()],
            action: Action::Trace,
            errno_ret: Some(0),
            args: vec![Arg {
                index: 5,
                value: u64::MAX,
                value_two: 9_223_372_036_854_775_809,
                op: Operator::MaskedEq,
            }],
        }],
    };
    assert_eq!(Profile::parse(document.to_string().as_bytes()), Ok(expected.clone()));
    assert_eq!(Profile::from_value(&document, Dialect::Oci), Ok(expected));
}

/// Every word of runtime-spec v1.3.0's lists is taken.
#[test]
fn knows_every_word_of_the_specification() {
    for action in Action::ALL {
        let document = format!(r#"{{"defaultAction":"{action}"}}"#);
        assert_eq!(Profile::parse(document.as_bytes()).map(|profile| profile.default_action), Ok(*action));
    }
    for op in Operator::ALL {
        let document = with_arg(&format!(r#"{{"index":0,"value":0,"op":"{op}"}}"#));
        assert_eq!(
            Profile::parse(document.as_bytes()).map(|profile| profile.syscalls[0].args[0].op),
            Ok(*op)
        );
    }
    for arch in Arch::ALL {
        let document = format!(r#"{{"defaultAction":"SCMP_ACT_LOG","architectures":["{arch}"]}}"#);
        assert_eq!(Profile::parse(document.as_bytes()).map(|profile| profile.architectures), Ok(vec![*arch]));
    }
    for flag in Flag::ALL {
        let document = format!(r#"{{"defaultAction":"SCMP_ACT_LOG","flags":["{flag}"]}}"#);
        assert_eq!(Profile::parse(document.as_bytes()).map(|profile| profile.flags), Ok(vec![*flag]));
    }
}

/// moby's own profiles carried `"args": null` for years; Go's decoder takes it as absent.
#[test]
fn null_counts_as_absent() {
    let document = with_rule(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":null,"errnoRet":null}"#);
    assert_eq!(Profile::parse(document.as_bytes()).map(|profile| profile.syscalls[0].args.len()), Ok(0));
    refused(r#"{"defaultAction":null}"#, "defaultAction", &["missing"]);
}

/// runc `libcontainer/specconv/spec_linux.go` SetupSeccomp: no default action and no rules is no filter.
#[test]
fn refuses_the_empty_profile() {
    refused("{}", "", &["no filter at all"]);
}

#[test]
fn refuses_what_is_not_one_json_object() {
    refused("null", "", &["is null", "a profile is an object"]);
    refused("[]", "", &["is a list"]);
    refused("", "", &["not JSON", "EOF"]);
    refused(r#"{"defaultAction":"SCMP_ACT_LOG"} {}"#, "", &["not JSON", "trailing"]);
    refused(r#"{"defaultAction":"SCMP_ACT_LOG",}"#, "", &["not JSON", "line 1"]);
    refused(&"[".repeat(100_000), "", &["not JSON", "recursion limit"]);
    refused("\u{0}", "", &["not JSON"]);
}

#[test]
fn refuses_a_document_over_the_bound_before_reading_it() {
    let fill = " ".repeat(MAX_DOCUMENT_BYTES);
    refused(&fill, "", &["not JSON"]);
    refused(&format!("{fill} "), "", &["1048577 bytes", "1048576"]);
}

/// A terminal takes control characters for orders, and a message is what somebody looks at on one.
#[test]
fn what_is_said_of_a_document_gives_a_terminal_no_orders() {
    let hostile = r"\u001b[2J\u009b\u202e\n";
    for document in [
        format!(r#"{{"defaultAction":"SCMP_ACT_LOG","{hostile}":1,"{hostile}":2}}"#),
        format!(r#"{{"defaultAction":"{hostile}","architectures":["{hostile}"]}}"#),
        with_rule(&format!(r#"{{"names":["{hostile}"],"{hostile}":1,"action":"SCMP_ACT_LOG"}}"#)),
        with_arg(&format!(r#"{{"index":0,"value":"{hostile}","op":"{hostile}"}}"#)),
    ] {
        let errors = Profile::parse(document.as_bytes()).expect_err("it is no profile");
        let said = errors.to_string();
        assert_eq!(said, crate::printable(&said), "{document}");
    }
}

#[test]
fn refuses_names_that_no_call_can_have() {
    let document = with_rule(r#"{"names":["read","wri\u0007te"],"action":"SCMP_ACT_ALLOW"}"#);
    refused(&document, "syscalls[0].names[1]", &["control characters", r"wri\u{7}te"]);
}

#[test]
fn refuses_duplicate_keys_at_every_depth() {
    refused(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultAction":"SCMP_ACT_ERRNO"}"#,
        "defaultAction",
        &["stands twice", "the last one only"],
    );
    refused(
        &with_arg(r#"{"index":0,"value":0,"op":"SCMP_CMP_EQ","value":1}"#),
        "syscalls[0].args[0].value",
        &["stands twice"],
    );
}

/// The keys of moby's `profiles/seccomp/seccomp_linux.go` and containers-common's `pkg/seccomp/types.go`.
#[test]
fn refuses_the_keys_of_other_formats_and_says_what_to_do() {
    refused(
        r#"{"defaultAction":"SCMP_ACT_LOG","archMap":[]}"#,
        "archMap",
        &["Docker", "without a word", "`architectures`"],
    );
    refused(
        r#"{"defaultAction":"SCMP_ACT_LOG","defaultErrno":"ENOSYS"}"#,
        "defaultErrno",
        &["defaultErrnoRet", "38"],
    );
    for (key, value, advice) in [
        ("includes", r#"{"caps":["CAP_BPF"]}"#, "every container, which fails open"),
        ("excludes", r#"{"arches":["s390x"]}"#, "every container, which fails open"),
        ("errno", r#""ENOSYS""#, "`errnoRet`"),
        ("comment", r#""why""#, "does nothing"),
    ] {
        let rule = format!(r#"{{"names":["bpf"],"action":"SCMP_ACT_ALLOW","{key}":{value}}}"#);
        refused(&with_rule(&rule), &format!("syscalls[0].{key}"), &["Docker", "without a word", advice]);
    }
    refused(
        &with_rule(r#"{"name":"bpf","action":"SCMP_ACT_ALLOW"}"#),
        "syscalls[0].name",
        &["fails open", "`names: [...]`"],
    );
}

#[test]
fn refuses_unknown_keys_and_suggests_the_known() {
    refused(
        r#"{"defaultAction":"SCMP_ACT_LOG","sycalls":[]}"#,
        "sycalls",
        &["did you mean syscalls?", "drop it without a word"],
    );
    // Go's decoder would take the key in any case.
    refused(
        &with_arg(r#"{"index":0,"value":0,"op":"SCMP_CMP_EQ","ValueTwo":1}"#),
        "syscalls[0].args[0].ValueTwo",
        &["did you mean valueTwo?"],
    );
}

/// runc `libcontainer/seccomp/config.go` refuses each of these only when the container starts.
#[test]
fn refuses_unknown_words_and_lists_the_valid() {
    refused(
        r#"{"defaultAction":"ALLOW"}"#,
        "defaultAction",
        &["\"ALLOW\" is no action", "SCMP_ACT_KILL_PROCESS"],
    );
    refused(r#"{"defaultAction":"SCMP_ACT_ALOW"}"#, "defaultAction", &["did you mean SCMP_ACT_ALLOW?"]);
    refused(
        r#"{"defaultAction":"SCMP_ACT_LOG","architectures":["SCMP_ARCH_X86_64","amd64"]}"#,
        "architectures[1]",
        &["is no architecture", "SCMP_ARCH_AARCH64"],
    );
    refused(
        r#"{"defaultAction":"SCMP_ACT_LOG","flags":["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#,
        "flags[0]",
        &["is no flag", "SECCOMP_FILTER_FLAG_TSYNC"],
    );
    refused(
        &with_arg(r#"{"index":0,"value":0,"op":"=="}"#),
        "syscalls[0].args[0].op",
        &["is no operator", "SCMP_CMP_MASKED_EQ"],
    );
}

#[test]
fn refuses_wrong_types() {
    refused(r#"{"defaultAction":7}"#, "defaultAction", &["is a number", "write a string"]);
    refused(
        r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":{}}"#,
        "syscalls",
        &["is an object", "write a list"],
    );
    refused(&with_rule("true"), "syscalls[0]", &["is a boolean", "a rule is an object"]);
    refused(
        &with_rule(r#"{"names":"read","action":"SCMP_ACT_ALLOW"}"#),
        "syscalls[0].names",
        &["write a list"],
    );
    refused(&with_rule(r#"{"names":[],"action":"SCMP_ACT_ALLOW"}"#), "syscalls[0].names", &["empty"]);
    refused(
        &with_rule(r#"{"names":["a",""],"action":"SCMP_ACT_ALLOW"}"#),
        "syscalls[0].names[1]",
        &["empty"],
    );
    refused(&with_rule(r#"{"action":"SCMP_ACT_ALLOW"}"#), "syscalls[0].names", &["missing"]);
    refused(&with_rule(r#"{"names":["a"]}"#), "syscalls[0].action", &["missing"]);
    refused(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":"ENOSYS"}"#,
        "defaultErrnoRet",
        &["is a string", "38 for ENOSYS"],
    );
}

#[test]
fn refuses_numbers_that_are_no_unsigned_64_bits() {
    for (value, text) in [
        ("18446744073709551616", "is over 18446744073709551615"),
        ("-1", "is negative"),
        ("1.5", "not a whole number"),
        ("1e3", "not a whole number"),
        ("\"1\"", "without quotes"),
        ("true", "is a boolean"),
    ] {
        let document = with_arg(&format!(r#"{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}"#));
        refused(&document, "syscalls[0].args[0].value", &[text]);
    }
    for index in ["6", "256", "18446744073709551615"] {
        let document = with_arg(&format!(r#"{{"index":{index},"value":0,"op":"SCMP_CMP_EQ"}}"#));
        refused(&document, "syscalls[0].args[0].index", &["arguments 0 to 5"]);
    }
    refused(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4294967296}"#,
        "defaultErrnoRet",
        &["at most 32 bits"],
    );
}

#[test]
fn a_custom_resource_may_write_values_as_strings() {
    let value = |text: &str| {
        let document = json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": text, "op": "SCMP_CMP_EQ"}]}]});
        Profile::from_value(&document, Dialect::CustomResource)
            .map(|profile| profile.syscalls[0].args[0].value)
    };
    assert_eq!(value("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(value("0xffffffffFFFFFFFF"), Ok(u64::MAX));
    assert_eq!(value("0X10"), Ok(16));
    for text in ["", "0x", "0x+1", "+1", "-1", "1 ", "18446744073709551616", "0x10000000000000000", "ten"] {
        let errors = value(text).expect_err(text);
        assert_eq!(errors.errors()[0].path, "syscalls[0].args[0].value");
        assert!(errors.to_string().contains("no 64-bit number"), "{errors}");
    }
}

#[test]
fn collects_errors_and_counts_those_over_the_bound() {
    let found = errors(
        r#"{"syscalls":[{"name":"a","action":"X"},{"names":[1],"action":"SCMP_ACT_ALLOW","args":[{"index":9,"op":1}]}]}"#,
    );
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "defaultAction",
            "syscalls[0].name",
            "syscalls[0].action",
            "syscalls[1].names[0]",
            "syscalls[1].args[0].index",
            "syscalls[1].args[0].value",
            "syscalls[1].args[0].op",
        ]
    );
    let many = format!(r#"{{"defaultAction":"SCMP_ACT_LOG","architectures":[{}0]}}"#, "0,".repeat(99));
    let errors = Profile::parse(many.as_bytes()).expect_err("100 numbers are no architectures");
    assert_eq!((errors.errors().len(), errors.omitted()), (20, 80));
    assert!(errors.to_string().ends_with("; and 80 more"), "{errors}");
}

#[test]
fn tells_paths_from_around_the_document() {
    let document = json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["a"], "action": "X"}]});
    let errors = Profile::from_value(&document, Dialect::CustomResource).expect_err("X is no action");
    assert_eq!(errors.within("spec.profile").errors()[0].path, "spec.profile.syscalls[0].action");
    let errors = Profile::from_value(&json!({}), Dialect::CustomResource).expect_err("empty");
    assert!(errors.within("spec.profile").to_string().starts_with("spec.profile: an empty profile"));
}

#[test]
fn the_nodes_own_architecture_is_not_to_be_listed() {
    let document =
        br#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM", "SCMP_ARCH_NATIVE"]}"#;
    let said = Profile::parse(document).expect_err("no architecture").to_string();
    assert!(
        said.starts_with("architectures[1]: SCMP_ARCH_NATIVE is no architecture to a runtime: remove it"),
        "{said}"
    );
}
