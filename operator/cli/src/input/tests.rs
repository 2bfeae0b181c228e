use std::{fs, io::Write as _};

use portcullis_profile::{Action, Arch};

use super::*;
use crate::platform;

const OCI: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
  {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
    {"index": 0, "value": 18446744073709551615, "op": "SCMP_CMP_EQ"}]}]}"#;

const RESOURCES: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [], containers: []}
---
# A comment.
apiVersion: portcullis.dev/v1alpha1
kind: SeccompProfile
metadata: {name: web, namespace: shop}
spec:
  profile:
    defaultAction: SCMP_ACT_ERRNO
    defaultErrnoRet: 38
    syscalls:
      - names: [personality]
        action: SCMP_ACT_ALLOW
        args: [{index: 0, value: '18446744073709551615', op: SCMP_CMP_EQ}]
---
apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SeccompProfile
metadata: {name: old}
spec:
  state: Disabled
  baseProfileName: runc-v1.3
  listenerPath: ''
  defaultAction: SCMP_ACT_KILL
  syscalls: [{names: [read], action: SCMP_ACT_ERRNO, errnoRet: 0, args: [{index: 1, op: SCMP_CMP_EQ}]}]
";

fn file(content: impl AsRef<[u8]>) -> Result<File, Unreadable> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content.as_ref()).expect("it is written");
    let mut read = read(file.path(), &platform::usual_container(Arch::X86_64));
    // Names of temporary files differ.
    let name = |text: &mut String| *text = text.replace(&file.path().display().to_string(), "FILE");
    match &mut read {
        Ok(file) => {
            name(&mut file.name);
            file.profiles.iter_mut().for_each(|profile| match profile {
                Ok(loaded) => name(&mut loaded.name),
                Err(unreadable) => name(&mut unreadable.file),
            });
        }
        Err(unreadable) => name(&mut unreadable.file),
    }
    read
}

fn one(content: &str) -> Loaded {
    let mut profiles = file(content).expect("a file").profiles;
    assert_eq!(profiles.len(), 1, "{profiles:?}");
    profiles.remove(0).expect("it is readable")
}

/// Everything that is wrong with a file, as it is shown.
fn complaints(content: impl AsRef<[u8]>) -> String {
    match file(content) {
        Err(unreadable) => unreadable.to_string(),
        Ok(file) => {
            let all: Vec<String> = file
                .profiles
                .iter()
                .filter_map(|read| read.as_ref().err())
                .map(ToString::to_string)
                .collect();
            all.join("\n")
        }
    }
}

#[test]
fn json_and_yaml_give_the_same_profile_and_64_bits_survive() {
    let json = one(OCI);
    assert_eq!((json.name.as_str(), json.profile.syscalls[0].args[0].value), ("FILE", u64::MAX));
    let yaml = "# A profile.\ndefaultAction: SCMP_ACT_ERRNO\nsyscalls:\n- {names: [read], action: SCMP_ACT_ALLOW, \
                args: [{index: 0, value: 0xffffffffffffffff, op: SCMP_CMP_EQ}]}\n";
    assert_eq!(one(yaml).profile, json.profile);
    assert_eq!(one(&format!("\u{feff}{OCI}")).profile, json.profile);
}

#[test]
fn places_are_lines_and_columns_in_characters() {
    let loaded = one(OCI);
    assert_eq!(loaded.source.position("syscalls[0].args[0].op").to_string(), "3:49");
    assert_eq!(loaded.source.position("syscalls[0].names[0]").to_string(), "2:14");
    // What isn't there is where it would be.
    assert_eq!(loaded.source.position("architectures").to_string(), "1:1");
    assert_eq!(loaded.source.position("syscalls[0].errnoRet").to_string(), "2:3");
    let wide = one("{\"listenerMetadata\": \"ä\\u00e4\\\"\", \"defaultAction\": \"SCMP_ACT_LOG\"}");
    assert_eq!(wide.source.position("defaultAction").to_string(), "1:35");
    assert_eq!(wide.profile.listener_metadata.as_deref(), Some("ää\""));
}

#[test]
fn custom_resources_are_found_among_others() {
    let file = file(RESOURCES).expect("a file");
    let notes: Vec<_> = file.notes().collect();
    let [Ok(own), Ok(foreign)] = &file.profiles[..] else { panic!("{:?}", file.profiles) };
    assert_eq!(own.name, "FILE (SeccompProfile shop/web)");
    assert_eq!(own.profile.syscalls[0].args[0].value, u64::MAX);
    assert_eq!(own.source.path("syscalls[0].args[0]"), "spec.profile.syscalls[0].args[0]");
    assert_eq!(own.source.position("syscalls[0].args[0]").to_string(), "17:16");
    assert_eq!(foreign.name, "FILE (SeccompProfile old)");
    assert_eq!(foreign.profile.default_action, Action::Kill);
    // An errnoRet of 0 is an unset one there, and so is a value.
    assert_eq!((foreign.profile.syscalls[0].errno_ret, foreign.profile.syscalls[0].args[0].value), (None, 0));
    assert_eq!(
        foreign.source.format,
        Format::SecurityProfilesOperator { base: Some("runc-v1.3".to_owned()) }
    );
    assert_eq!(
        notes,
        [
            "FILE (SeccompProfile old): what its base allows besides is not in the file: runc-v1.3",
            "FILE (SeccompProfile old): it is disabled there",
            "FILE: passed over 1 object of other kinds",
        ]
    );
}

#[test]
fn lists_as_kubectl_writes_them_are_read() {
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}", indented(RESOURCES));
    let file = file(list).expect("a file");
    let [Ok(own), Ok(_)] = &file.profiles[..] else { panic!("{:?}", file.profiles) };
    assert_eq!(own.source.path("syscalls[0]"), "items[1].spec.profile.syscalls[0]");
}

fn indented(documents: &str) -> String {
    let item = |document: &str| document.trim().replace('\n', "\n  ");
    documents
        .split("---\n")
        .map(|document| format!("- {}\n", item(document).replace(", containers: []", "")))
        .collect()
}

#[test]
fn a_runtimes_specification_holds_a_profile() {
    let loaded = one(&format!("{{\"ociVersion\": \"1.2.0\", \"linux\": {{\"seccomp\": {OCI}}}}}"));
    assert_eq!(loaded.profile, one(OCI).profile);
    assert_eq!(loaded.source.path("defaultAction"), "linux.seccomp.defaultAction");
}

#[test]
fn rules_of_dockers_format_keep_their_places() {
    let loaded = one("{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [\n\
         {\"name\": \"bpf\", \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"caps\": [\"CAP_BPF\"]}},\n\
         {\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\"}]}");
    assert_eq!(loaded.profile.syscalls.len(), 1);
    assert_eq!(loaded.source.path("syscalls[0].names[0]"), "syscalls[1].name");
    assert_eq!(loaded.source.position("syscalls[0].names[0]").to_string(), "3:2");
    assert_eq!(
        loaded.notes,
        [
            "Docker's format, read for the 14 default capabilities, on amd64, Linux 5.10; 1 rule doesn't apply there"
        ]
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (content, expected) in [
        (r#"{"defaultAction": "SCMP_ACT_ERRNO","#, "FILE:1:35: is not JSON: EOF while parsing"),
        (r#"{"defaultAction": 1, "defaultAction": 2}"#, "FILE:1:22: the key \"defaultAction\" stands twice"),
        ("defaultAction: x\ndefaultAction: y\n", "FILE:2:1: the key \"defaultAction\" stands twice"),
        (
            "{\n \"defaultAction\": \"SCMP_ACT_ALOW\"}",
            "FILE:2:2: defaultAction: \"SCMP_ACT_ALOW\" is no action",
        ),
        ("defaultAction: [\n", "FILE:1:16: is not YAML: "),
        ("- 1\n", "FILE:1:1: is no object"),
        ("just text", "FILE:1:1: is no object"),
        ("defaultAction: SCMP_ACT_LOG\ndefaultErrnoRet: 010\n", "FILE:2:18: 010 begins with 0"),
        ("? [a]\n: b\n", "FILE:1:3: is a list or an object where a key should be"),
        (
            "apiVersion: security-profiles-operator.x-k8s.io/v2\nkind: SeccompProfile\n",
            "FILE:1:1: spec: version",
        ),
        ("{\"defaultAction\": \"SCMP_ACT_LOG\"} }", "FILE:1:35: is not JSON: "),
        ("// web\n{\"a\":", "FILE:2:5: is not JSON: EOF"),
    ] {
        let said = complaints(content);
        assert!(said.starts_with(expected), "{content:?}: {said}");
    }
}

#[test]
fn what_is_no_text_is_refused() {
    assert!(complaints(b"\x7fELF\x02\0\0").contains("FILE: is a binary file"));
    assert!(complaints(b"\xff\xfe{\0").contains("FILE: is UTF-16"));
    assert_eq!(
        complaints(b"{\n \"a\xe9\": 1}"),
        "FILE:2:4: is not UTF-8 text: byte 0xe9 begins no character"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let said = read(directory.path(), &platform::usual_container(Arch::X86_64)).expect_err("a directory");
    assert!(said.to_string().contains("it is a directory"), "{said}");
    fs::write(directory.path().join("zero"), vec![b' '; 5 << 20]).expect("it is written");
    let said = read(&directory.path().join("zero"), &platform::usual_container(Arch::X86_64));
    assert!(said.expect_err("too long").to_string().contains("is longer than 4 MiB"));
}

/// Ten aliases of ten aliases of ten aliases: each line multiplies what the document holds.
#[test]
fn hostile_documents_end_soon() {
    let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned())
        .chain((1..30).map(|line| {
            let aliases = [format!("*a{}", line - 1)].concat();
            format!("a{line}: &a{line} [{}]\n", vec![aliases; 10].join(", "))
        }))
        .collect();
    assert!(complaints(&bomb).contains("has more than 131072 values"), "{}", complaints(&bomb));
    for (open, close) in [("{\"a\":", "1}"), ("[", "]")] {
        let deep = format!("{{\"a\": {}{}}}", open.repeat(100), close);
        assert!(!complaints(&deep).is_empty());
        let deep =
            format!("{{\"a\": {}1{}}}", open.repeat(100), if open == "[" { "]" } else { "}" }.repeat(100));
        assert!(complaints(&deep).contains("nests deeper than 64"), "{}", complaints(&deep));
        let deep = format!("a: {}", open.repeat(100_000));
        assert!(complaints(&deep).starts_with("FILE:1:"), "{}", complaints(&deep));
    }
    let chain: String = std::iter::once("a0: &a0 [x]\n".to_owned())
        .chain((1..100).map(|line| format!("a{line}: &a{line} [*a{}]\n", line - 1)))
        .collect();
    assert!(complaints(&chain).contains("nests deeper than 64"), "{}", complaints(&chain));
    let wide = format!("{{\"syscalls\": [{}1]}}", "1,".repeat(200_000));
    assert!(complaints(&wide).contains("has more than 131072 values"), "{}", complaints(&wide));
    for many in ["--- {apiVersion: v1, kind: Pod}\n".repeat(5000), {
        let items = "- {apiVersion: v1, kind: Pod}\n".repeat(5000);
        format!("apiVersion: v1\nkind: List\nitems:\n{items}")
    }] {
        assert!(complaints(&many).contains("has more than 4096"), "{}", complaints(&many));
    }
    assert!(complaints("a: &a [*a]\n").contains("is an alias of something that it is a part of"));
}

#[test]
fn the_documents_before_a_broken_one_are_read() {
    let file = file(format!("{RESOURCES}---\n}}\n")).expect("a file");
    let [Ok(_), Ok(_), Err(broken)] = &file.profiles[..] else { panic!("{:?}", file.profiles) };
    assert!(broken.to_string().contains("is not YAML"), "{broken}");
}

#[test]
fn json_documents_after_comments_have_the_comments_for_names() {
    let advised = |name: &str, call: &str| {
        format!(
            "// {name}\n{{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\",\n  \"syscalls\": [\n    {{\"names\": [\"{call}\"], \
             \"action\": \"SCMP_ACT_ALLOW\"}}]\n}}\n"
        )
    };
    let file = file(advised("shop/web(main)", "read") + &advised("sidecar", "syscall_1f4")).expect("a file");
    let notes: Vec<_> = file.notes().collect();
    let [Ok(one), Ok(other)] = &file.profiles[..] else { panic!("{:?}", file.profiles) };
    assert_eq!([&one.name, &other.name], ["FILE (shop/web(main))", "FILE (sidecar)"]);
    assert_eq!((one.source.object.as_deref(), other.source.object.as_deref()), (None, Some("sidecar")));
    assert_eq!(other.source.position("syscalls[0].names[0]").to_string(), "11:16");
    assert_eq!(
        notes,
        ["FILE (sidecar): syscall_1f4 is no call but a mark of Inspektor Gadget's own: remove it"]
    );
    // One is a file that a runtime may be given, and it would not take the comment.
    let one = self::one(&advised("web", "read"));
    assert_eq!(
        one.not_json.map(|problem| problem.message).as_deref(),
        Some("a comment begins here, and a runtime reads strict JSON")
    );
    let plain = OCI.to_owned() + OCI;
    assert_eq!(self::file(plain).expect("a file").profiles.len(), 2, "documents need no comments");
}

#[test]
fn what_a_config_map_holds_is_found_in_its_places() {
    let text = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: profiles, namespace: shop}
data:
  README: a defaultAction is required
  web.json: |
    {
      \"defaultAction\": \"SCMP_ACT_ERRNO\",
      \"syscalls\": [{\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\"}]
    }
  api.yaml: |
      defaultAction: SCMP_ACT_ALOW
  one-line.json: '{\"defaultAction\": \"SCMP_ACT_LOG\", \"flags\": [7]}'
  broken.json: |
    {\"defaultAction\": ]
";
    let file = file(text).expect("a file");
    let [Ok(web), Err(api), Err(line), Err(broken)] = &file.profiles[..] else {
        panic!("{:?}", file.profiles)
    };
    assert_eq!(web.name, "FILE (ConfigMap shop/profiles, web.json)");
    assert_eq!((web.source.namespace.as_deref(), web.source.object.as_deref()), (Some("shop"), Some("web")));
    assert_eq!(web.source.path("syscalls[0].names[0]"), "data[web.json].syscalls[0].name");
    assert_eq!(web.source.position("syscalls[0].names[0]").to_string(), "9:21");
    assert_eq!(web.not_json, None);
    let said = [api, line, broken].map(ToString::to_string);
    assert!(
        said[0].starts_with("FILE:12:7: data[api.yaml].defaultAction: \"SCMP_ACT_ALOW\" is no action"),
        "{said:?}"
    );
    assert!(said[1].starts_with("FILE:13:3: data[one-line.json].flags[0]: is a number"), "{said:?}");
    assert!(said[2].starts_with("FILE:15:23: data[broken.json]: is not JSON"), "{said:?}");
    let none = "apiVersion: v1\nkind: ConfigMap\ndata: {a.json: '{}'}\n";
    assert_eq!(self::file(none).expect("a file").passed_over, 1);
    assert_eq!(
        one(&format!("apiVersion: v1\nkind: ConfigMap\ndata: {{a.json: '{OCI}'}}\n")).profile,
        one(OCI).profile
    );
}

#[test]
fn kubescapes_containers_have_a_profile_each() {
    let text = "\
apiVersion: spdx.softwarecomposition.kubescape.io/v1beta1
kind: SeccompProfile
metadata: {name: deployment-web, namespace: shop}
spec:
  containers:
  - name: web
    path: shop/deployment-web-web.json
    spec: {defaultAction: SCMP_ACT_ERRNO, architectures: [SCMP_ARCH_NATIVE], syscalls: [{names: [read], action: SCMP_ACT_ALLOW, errnoRet: 0}]}
  initContainers:
  - name: init
    spec: {defaultAction: SCMP_ACT_ALOW}
---
apiVersion: kubescape.io/v1
kind: ApplicationProfile
metadata: {name: web}
spec:
  containers:
  - {name: web, syscalls: [read], seccompProfile: {spec: {defaultAction: ''}}}
  - {name: api, syscalls: [read], seccompProfile: {spec: {defaultAction: SCMP_ACT_LOG}}}
---
apiVersion: kubescape.io/v1
kind: SBOM
";
    let file = file(text).expect("a file");
    let notes: Vec<_> = file.notes().collect();
    let [Ok(web), Err(init), Ok(api)] = &file.profiles[..] else { panic!("{:?}", file.profiles) };
    assert_eq!(web.name, "FILE (SeccompProfile shop/deployment-web, container web)");
    assert_eq!(web.source.object.as_deref(), Some("deployment-web-web"));
    assert_eq!(web.source.path("syscalls[0]"), "spec.containers[0].spec.syscalls[0]");
    assert!(
        init.to_string()
            .starts_with("FILE:11:12: spec.initContainers[0].spec.defaultAction: \"SCMP_ACT_ALOW\""),
        "{init}"
    );
    assert_eq!(api.source.path("defaultAction"), "spec.containers[1].seccompProfile.spec.defaultAction");
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(
        notes[0].ends_with("SCMP_ARCH_NATIVE is left out: the node's own architecture is filtered anyway"),
        "{notes:?}"
    );
    assert!(
        notes[1]
            .contains("web, container web: spec.containers[0].syscalls is a list of calls and no profile"),
        "{notes:?}"
    );
    assert!(notes[2].ends_with("passed over 1 object of other kinds"), "{notes:?}");
}

#[test]
fn what_is_a_part_of_a_profile_is_told_what_to_write_around_it() {
    const RULE: &str = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW"}"#;
    for (content, what, write) in [
        (format!("[{RULE}, {RULE}]"), "is a list of rules", "\"syscalls\": [RULES]"),
        (
            "- {name: read, action: SCMP_ACT_ALLOW}\n".to_owned(),
            "is a list of rules",
            "\"syscalls\": [RULES]",
        ),
        (RULE.to_owned(), "is a rule", "\"syscalls\": [RULE]"),
        ("names: [read]\n".to_owned(), "is a rule", "\"syscalls\": [RULE]"),
        (r#"["read", "write"]"#.to_owned(), "is a list of calls", "\"names\": [CALLS]"),
        ("read\nwrite, openat\n".to_owned(), "is a list of calls", "\"names\": [CALLS]"),
        (format!("[{OCI}, {OCI}]"), "is a list of profiles", "into a file of its own"),
    ] {
        let said = complaints(&content);
        assert!(said.starts_with(&format!("FILE:1:1: {what}")) && said.contains(write), "{content}: {said}");
    }
}

/// An alias of a long text is one value and many bytes.
#[test]
fn copies_of_a_long_text_are_bounded() {
    let many = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(1000));
    assert!(complaints(&many).contains("has more than 131072 values"), "{}", complaints(&many));
}
