//! `diff`, as a reviewer and a gate see it.

mod binary;

use binary::{Files, Ran, seccomp, seccomp_with};
use serde_json::Value;

const OLD: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
  {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
  {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
   "args": [{"index": 0, "value": 268435456, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;

/// The same in other words.
const REWRITTEN: &str = r#"{"architectures": ["SCMP_ARCH_X86_64"], "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
  "syscalls": [
  {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
   "args": [{"index": 0, "value": 268435456, "op": "SCMP_CMP_MASKED_EQ"}]},
  {"names": ["write"], "action": "SCMP_ACT_ALLOW"}, {"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;

const TIGHTER: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
  {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
  {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 17, "op": "SCMP_CMP_EQ"}]}]}"#;

fn diff(a: &str, b: &str, arguments: &[&str]) -> Ran {
    let files = Files::new(&[("a.json", a), ("b.json", b)]);
    seccomp(
        &files,
        &[&["diff", "--arch", "amd64", "--runtime", "crun", "a.json", "b.json"], arguments].concat(),
    )
}

#[test]
fn the_same_in_other_words_is_the_same() {
    let ran = diff(OLD, REWRITTEN, &[]);
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    assert!(ran.out.contains("\nthe profiles do the same ("), "{}", ran.out);
}

#[test]
fn each_difference_is_said_with_arguments_and_an_example() {
    let ran = diff(TIGHTER, OLD, &[]);
    assert_eq!(ran.code, 1);
    let expected = "\
A  a.json
B  b.json

+ only in B
  fails with EPERM in A, is allowed in B (amd64):
    write

> looser in B
  clone (amd64)
    flags without CLONE_NEWUSER, as clone(0): fails with EPERM in A, is allowed in B

B is looser than A; 2 calls differ, ";
    assert!(ran.out.starts_with(expected), "{}", ran.out);
    let back = diff(OLD, TIGHTER, &[]);
    assert!(back.out.contains("- only in A\n") && back.out.contains("< stricter in B\n"), "{}", back.out);
    assert!(back.out.contains("B is nowhere looser than A; 2 calls differ"), "{}", back.out);
}

#[test]
fn nodes_of_every_architecture_that_is_listed_count() {
    let both = OLD.replace("\"SCMP_ARCH_X86_64\"", "\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_AARCH64\"");
    let wider = both.replace("\"SCMP_ARCH_AARCH64\"", "\"SCMP_ARCH_AARCH64\", \"SCMP_ARCH_ARM\"");
    let files = Files::new(&[("a.json", &both), ("b.json", &wider)]);
    for arguments in [&["diff", "a.json", "b.json"][..], &["diff", "--looser-only", "a.json", "b.json"]] {
        let ran = seccomp(&files, arguments);
        assert_eq!(ran.code, 1, "{}", ran.out);
        assert!(ran.out.contains("SCMP_ARCH_ARM is in B's architectures only"), "{}", ran.out);
    }
    assert_eq!(seccomp(&files, &["diff", "a.json", "a.json"]).code, 0);
    assert_eq!(diff(&both, &wider, &[]).code, 0, "on x86-64 nodes alone they do the same");
}

#[test]
fn a_gate_lets_tightening_pass_and_nothing_else() {
    assert_eq!(diff(OLD, TIGHTER, &["--looser-only"]).code, 0);
    assert_eq!(diff(TIGHTER, OLD, &["--looser-only"]).code, 1);
    // Logging what was allowed lets nothing further; nor does another errno.
    assert_eq!(diff(OLD, &OLD.replace("ACT_ALLOW", "ACT_LOG"), &["--looser-only"]).code, 0);
    assert_eq!(diff(OLD, &OLD.replace("ACT_ALLOW", "ACT_LOG"), &[]).code, 1);
    let wider = OLD.replace("\"SCMP_ARCH_X86_64\"", "\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_X86\"");
    let ran = diff(OLD, &wider, &["--looser-only"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.ends_with("B is looser than A in 1 architecture\n"), "{}", ran.out);
    assert!(
        ran.out.contains("SCMP_ARCH_X86 is in B's architectures only: 3 calls may be made"),
        "{}",
        ran.out
    );
}

#[test]
fn a_name_that_is_not_known_here_is_a_difference() {
    let newer = OLD.replace("\"write\"", "\"write\", \"brand_new_call\"");
    let ran = diff(OLD, &newer, &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("\n  + brand_new_call: only in B\n"), "{}", ran.out);
    let ran = diff(OLD, &newer, &["--looser-only"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.ends_with("B is looser than A in 1 unknown name\n"), "{}", ran.out);
    assert_eq!(diff(&newer, OLD, &["--looser-only"]).code, 0);
    assert_eq!(diff(&newer, &newer, &[]).code, 0);
}

#[test]
fn json_names_the_relation_and_keeps_64_bits() {
    let ran = diff(TIGHTER, OLD, &["-o", "json"]);
    let document: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(document["looser"], true);
    let relations: Vec<_> = document["calls"]
        .as_array()
        .expect("calls")
        .iter()
        .map(|call| {
            (call["call"].as_str().unwrap_or_default(), call["relation"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(relations, [("write", "onlyInB"), ("clone", "looser")]);
    assert_eq!(document["calls"][1]["differences"][0]["example"][0], "0");
}

#[test]
fn what_can_not_be_compared_is_an_error() {
    let refused = r#"{"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}"#;
    let ran = diff(OLD, refused, &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("error: b.json: defaultErrnoRet: crun refuses"), "{}", ran.errors);
    let ran = seccomp_with(&Files::new(&[]), &["diff", "-", "-"], OLD);
    assert_eq!(ran.code, 2);
    let two = format!("{OLD}\n---\n{OLD}\n");
    let ran = diff(OLD, &two, &[]);
    assert!(ran.errors.contains("b.json: there are 2 profiles in it, and this needs one"), "{}", ran.errors);
}
