//! `lint`, as a user or a script sees it.

mod binary;

use binary::{Files, seccomp, seccomp_with};
use serde_json::Value;

/// Findings of every severity: SP001 is an error, SP028 a warning, SP042 an info.
const WRONG: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  "syscalls": [
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}
  ]
}"#;

const WARNING: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
  "syscalls": [{"names": ["opne"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;

const FINE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
  "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;

#[test]
fn exit_codes_follow_the_worst_finding() {
    let files = Files::new(&[("wrong.json", WRONG), ("warning.json", WARNING), ("fine.json", FINE)]);
    let code = |arguments: &[&str]| seccomp(&files, &[&["lint"], arguments].concat()).code;
    assert_eq!(code(&["wrong.json"]), 1);
    assert_eq!(code(&["warning.json"]), 0);
    assert_eq!(code(&["--strict", "warning.json"]), 1);
    assert_eq!(code(&["--strict", "fine.json"]), 0);
    assert_eq!(code(&["fine.json", "wrong.json"]), 1);
}

/// Keys, values and names of objects are a stranger's, and a terminal takes control characters for orders.
#[test]
fn what_a_file_holds_gives_a_terminal_no_orders() {
    let json = r#"{"\u001b]0;owned\u0007": 1, "\u001b]0;owned\u0007": 1, "defaultAction": "\u001b[2J"}"#;
    let yaml = "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nmetadata: {name: \"a\\e[2Jb\"}\n\
        spec: {bases: [{kind: ClusterSeccompProfile, name: \"x\\e[2Jy\"}], \
        profile: {defaultAction: SCMP_ACT_ERRNO, syscalls: [{names: [\"re\\ead\"], action: SCMP_ACT_ALLOW}]}}\n";
    let broken = "a: *\u{202e}b\n";
    let files = Files::new(&[("keys.json", json), ("objects.yaml", yaml), ("broken.yaml", broken)]);
    for file in ["keys.json", "objects.yaml", "broken.yaml"] {
        for command in ["lint", "explain"] {
            let ran = seccomp(&files, &[command, file]);
            let said = ran.out + &ran.errors;
            let orders: Vec<char> =
                said.chars().filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}').collect();
            assert!(orders.is_empty() && said.contains(file), "{command} {file}: {orders:?} in {said:?}");
        }
    }
}

#[test]
fn a_finding_says_where_what_and_what_to_do() {
    let files = Files::new(&[("wrong.json", WRONG)]);
    let ran = seccomp(&files, &["lint", "wrong.json"]);
    let expected = "\
SP001 Error    syscalls[0].args: 2 conditions are on argument 0
           at  wrong.json:6:6
       effect  Runtimes split the rule: each condition becomes a rule of its own, so any one of
               them, on whatever argument, is enough.
       remedy  Write one condition";
    assert!(ran.out.starts_with(expected), "{}", ran.out);
    assert!(ran.out.ends_with("\n1 profile: 1 error, 3 warnings, 1 info\n"), "{}", ran.out);
    assert_eq!(ran.errors, "");
}

#[test]
fn an_unreadable_file_does_not_hide_the_findings_of_others() {
    let files =
        Files::new(&[("broken.json", "{\"defaultAction\": \"SCMP_ACT_DENY\"}"), ("warning.json", WARNING)]);
    let ran = seccomp(&files, &["lint", "broken.json", "missing.json", "warning.json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("did you mean open?"), "{}", ran.out);
    assert!(ran.out.ends_with("1 profile: 1 warning, 2 unreadable\n"), "{}", ran.out);
    assert!(
        ran.errors.contains("error: broken.json:1:2: defaultAction: \"SCMP_ACT_DENY\" is no action"),
        "{}",
        ran.errors
    );
    assert!(ran.errors.contains("error: can't read missing.json: No such file"), "{}", ran.errors);
}

#[test]
fn standard_input_and_several_documents_are_read() {
    let documents = format!("kind: Pod\napiVersion: v1\n---\n{WARNING}\n---\n{FINE}\n");
    let ran = seccomp_with(&Files::new(&[]), &["lint", "-"], &documents);
    assert!(ran.out.contains("at  standard input:5:27 (line 4)"), "{}", ran.out);
    assert!(ran.out.ends_with("2 profiles: 1 warning\n"), "{}", ran.out);
    assert_eq!(ran.errors, "note: standard input: passed over 1 object of other kinds\n");
}

/// A gate that checks nothing must not pass.
#[test]
fn files_without_a_profile_are_an_error_where_none_has_one() {
    let files =
        Files::new(&[("pod.yaml", "apiVersion: v1\nkind: Pod\n"), ("empty", ""), ("fine.json", FINE)]);
    let ran = seccomp(&files, &["lint", "pod.yaml", "empty"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.errors.ends_with("error: there is no seccomp profile in what was read, so nothing was checked\n"),
        "{}",
        ran.errors
    );
    assert_eq!(seccomp(&files, &["lint", "pod.yaml", "fine.json"]).code, 0);
}

#[test]
fn nodes_and_runtimes_are_stated_by_flags() {
    let flagged = FINE.replacen('{', "{\"flags\": [\"SECCOMP_FILTER_FLAG_LOG\"],", 1);
    let files = Files::new(&[("flagged.json", &flagged)]);
    let out = |arguments: &[&str]| seccomp(&files, &[&["lint", "flagged.json"], arguments].concat()).out;
    assert!(out(&["--runc-version", "1.1"]).contains("needs runc 1.2"));
    assert!(!out(&["--runc-version", "v1.2.8"]).contains("needs runc"));
    assert!(out(&["--arch", "s390x,amd64"]).contains("SCMP_ARCH_X86_64 of some nodes isn't listed"));
    assert_eq!(seccomp(&files, &["lint", "--arch", "vax", "flagged.json"]).code, 2);
}

#[test]
fn json_holds_everything() {
    let files = Files::new(&[("wrong.json", WRONG), ("broken.json", "{")]);
    let ran = seccomp(&files, &["lint", "-o", "json", "wrong.json", "broken.json", "missing.json"]);
    let document: Value = serde_json::from_str(&ran.out).expect("JSON");
    let first = &document["findings"][0];
    assert_eq!((first["code"].as_str(), first["severity"].as_str()), (Some("SP001"), Some("Error")));
    assert_eq!(
        (first["file"].as_str(), first["line"].as_u64(), first["column"].as_u64()),
        (Some("wrong.json"), Some(6), Some(6))
    );
    assert_eq!(document["unreadable"][0]["file"], "broken.json");
    assert_eq!(document["summary"]["errors"], 1);
    assert_eq!(document["unreadable"][1]["file"], "missing.json");
    assert_eq!(document["summary"]["unreadable"], 2);
}

/// What the schema requires and GitHub reads:
/// <https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning>.
#[test]
fn sarif_has_what_code_scanning_requires() {
    let files = Files::new(&[("wrong one.json", WRONG), ("broken.json", "{")]);
    let ran = seccomp(&files, &["lint", "-o", "sarif", "wrong one.json", "broken.json"]);
    let document: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(document["version"], "2.1.0");
    assert!(document["$schema"].as_str().is_some_and(|schema| schema.ends_with("sarif-schema-2.1.0.json")));
    let run = &document["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "kubectl-seccomp");
    let rules = driver["rules"].as_array().expect("rules");
    for rule in rules {
        for field in ["shortDescription", "fullDescription", "help"] {
            assert!(rule[field]["text"].as_str().is_some_and(|text| !text.is_empty()), "{rule}");
        }
    }
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), 6);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("it fits");
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().expect("a level")));
        assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        assert!(result["partialFingerprints"]["finding/v1"].is_string());
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["region"]["startLine"].as_u64().is_some_and(|line| line > 0));
        assert!(
            ["wrong%20one.json", "broken.json"]
                .contains(&place["artifactLocation"]["uri"].as_str().expect("a URI"))
        );
    }
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let prints: std::collections::BTreeSet<String> =
        results.iter().map(|result| result["partialFingerprints"].to_string()).collect();
    assert_eq!(prints.len(), results.len());
}

/// A runtime reads a profile with Go's encoding/json, which takes none of these.
#[test]
fn a_file_that_no_runtime_loads_is_an_error_with_its_place() {
    for (content, place, words) in [
        (format!("\u{feff}{FINE}"), "1:1", "byte order mark"),
        (format!("# ours\n{FINE}"), "1:1", "a comment begins here"),
        (FINE.replace("\"syscalls\":", "# ours\n\"syscalls\":"), "2:3", "not JSON"),
        (FINE.replace('"', "'"), "1:2", "a string has single quotes here"),
        (
            "defaultAction: SCMP_ACT_ALLOW\nsyscalls: [{names: [bpf], action: SCMP_ACT_ERRNO}]\n".to_owned(),
            "1:1",
            "YAML",
        ),
    ] {
        let files = Files::new(&[("app.json", content.as_str())]);
        let ran = seccomp(&files, &["lint", "app.json"]);
        let said = ran.out + &ran.errors;
        assert!(said.contains(&format!("app.json:{place}")) && said.contains(words), "{said}");
        assert!(ran.code == 1 || ran.code == 2, "{said}");
        assert!(said.contains("not JSON") || said.contains("SP060 Error"), "{said}");
    }
    let resource = "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nmetadata: {name: a}\n\
        spec: {profile: {defaultAction: SCMP_ACT_ALLOW, syscalls: [{names: [bpf], action: SCMP_ACT_ERRNO}]}}\n";
    let files = Files::new(&[("app.yaml", resource)]);
    assert!(!seccomp(&files, &["lint", "app.yaml"]).out.contains("SP060"));
}

#[test]
fn a_key_that_a_runtime_drops_is_a_warning_and_all_else_works() {
    let content = FINE
        .replacen('{', "{\"$schema\": \"s\", \"description\": \"ours\", ", 1)
        .replace("{\"names\"", "{\"case\": 7, \"names\"")
        .replace("\"architectures\": [\"SCMP_ARCH_S390X\", \"SCMP_ARCH_S390\"],", "");
    let files =
        Files::new(&[("app.json", content.as_str()), ("wrong.json", &FINE.replace("syscalls", "syscals"))]);
    let ran = seccomp(&files, &["lint", "app.json"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    for key in ["$schema", "description", "syscalls[0].case"] {
        assert!(ran.out.contains(&format!("SP061 Warning  {key}: ")), "{}", ran.out);
    }
    for command in ["convert", "explain"] {
        let ran = seccomp(&files, &[command, "app.json"]);
        assert_eq!(ran.code, 0, "{}", ran.errors);
        assert!(
            ran.errors.contains("the format has no $schema, description, syscalls[0].case"),
            "{}",
            ran.errors
        );
        assert!(!ran.out.contains("$schema"), "{}", ran.out);
    }
    let misspelt = seccomp(&files, &["lint", "wrong.json"]);
    assert_eq!(misspelt.code, 2);
    assert!(misspelt.errors.contains("did you mean syscalls?"), "{}", misspelt.errors);
}
