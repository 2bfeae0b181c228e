//! `merge`, `intersect` and `runtime-base` as a user sees them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use portcullis_profile::Profile;

fn seccomp(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .expect("the binary can be run")
}

fn printed(output: &Output) -> Profile {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let profile = Profile::parse(&output.stdout).expect("it prints a profile");
    assert_eq!(profile.render(), output.stdout, "not in canonical form");
    profile
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(folder: &Path, name: &str, rules: &str) -> PathBuf {
    let path = folder.join(name);
    let text = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],"syscalls":[{rules}]}}"#
    );
    fs::write(&path, text).expect("a file can be written");
    path
}

fn allow(names: &str, args: &str) -> String {
    format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#)
}

fn socket(domain: u32) -> String {
    allow(r#""socket""#, &format!(r#"{{"index":0,"value":{domain},"op":"SCMP_CMP_EQ"}}"#))
}

#[test]
fn a_union_is_printed_and_what_each_file_added_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    file(folder.path(), "a.json", &[allow(r#""read","write""#, ""), socket(1)].join(","));
    file(folder.path(), "b.json", &[allow(r#""read","mmap""#, ""), socket(2)].join(","));
    let output = seccomp(folder.path(), &["merge", "a.json", "b.json"]);
    let names: Vec<Vec<String>> = printed(&output).syscalls.into_iter().map(|rule| rule.names).collect();
    assert_eq!(names, [vec!["mmap", "read", "write"], vec!["socket"], vec!["socket"]]);
    let said = said(&output);
    assert!(said.contains("note: a.json: lets 3 calls through\n"), "{said}");
    let added =
        "note: b.json: lets 3 calls through; added 1 call: mmap; changed the arguments of 1 call: socket\n";
    assert!(said.contains(added), "{said}");

    let output = seccomp(folder.path(), &["intersect", "a.json", "b.json"]);
    let profile = printed(&output);
    assert_eq!(profile.syscalls.len(), 1);
    assert_eq!(profile.syscalls[0].names, ["read"]);
}

/// What the project's own examples make together lets through what each of them does.
#[test]
fn the_examples_can_be_merged() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples");
    let output = seccomp(
        &examples,
        &["merge", "nginx/profile.yaml", "read-only-opens/profile.yaml", "base/base.yaml"],
    );
    let profile = printed(&output);
    assert!(profile.syscalls.iter().any(|rule| rule.names.iter().any(|name| name == "epoll_wait")));
    assert!(said(&output).contains("base/base.yaml"), "{}", said(&output));
}

#[test]
fn what_has_no_order_is_an_error_that_names_both_files() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, flag) in [("a.json", "SECCOMP_FILTER_FLAG_LOG"), ("b.json", "SECCOMP_FILTER_FLAG_SPEC_ALLOW")]
    {
        let text = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","flags":["{flag}"]}}"#);
        fs::write(folder.path().join(name), text).expect("a file can be written");
    }
    for command in ["merge", "intersect"] {
        let output = seccomp(folder.path(), &[command, "a.json", "b.json"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let said = said(&output);
        assert!(said.contains("error: flags: a.json has SECCOMP_FILTER_FLAG_LOG, b.json has"), "{said}");
    }
    let output = seccomp(folder.path(), &["merge", "a.json", "c.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("c.json"), "{}", said(&output));
}

#[test]
fn a_runtimes_base_is_a_profile_a_list_or_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = ["runtime-base", "--runtime", "crun", "--no-new-privs"];
    let output = seccomp(folder.path(), &base);
    let [rule] = &printed(&output).syscalls[..] else { panic!("one rule") };
    assert!(said(&output).contains("crun 1.8.1"), "{}", said(&output));
    let output = seccomp(folder.path(), &[&base[..], &["-o", "names"]].concat());
    let names = String::from_utf8(output.stdout).expect("text");
    assert_eq!(names.lines().collect::<Vec<_>>(), rule.names);
    let output = seccomp(folder.path(), &[&base[..3], &["-o", "table"]].concat());
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(table.lines().any(|line| line.starts_with("setresuid") && line.contains("fails")), "{table}");
    assert_eq!(seccomp(folder.path(), &["runtime-base"]).status.code(), Some(2));
}
