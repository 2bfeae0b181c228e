//! Help, manual pages, and what is said to flags that a command hasn't.

use std::process::{Command, Output};

fn seccomp(arguments: &[&str], columns: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"));
    command.args(arguments).env_clear();
    if let Some(columns) = columns {
        command.env("COLUMNS", columns);
    }
    command.output().expect("the binary can be run")
}

fn out(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn help_fits_a_narrow_terminal() {
    for (columns, most) in [(Some("60"), 60), (Some("300"), 100), (None, 100)] {
        for command in ["diff", "merge", "record", "import audit", "convert", "simulate", "pull"] {
            let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
            let help = out(seccomp(&words, columns));
            // A word of its own may be longer: a list of values, a link.
            let is_long = |line: &&str| line.chars().count() > most && line.trim().contains(' ');
            // clap leaves the usage alone.
            let long = help
                .lines()
                .filter(|line| !line.contains("kubectl seccomp ") || line.starts_with("    $"))
                .find(is_long);
            assert_eq!(long, None, "{command} in {columns:?}");
        }
    }
    let help = out(seccomp(&["merge", "--help"], Some("60")));
    let begun = help.find("    $ kubectl seccomp runtime-base").expect("an example");
    assert!(help[begun..].lines().next().is_some_and(|line| line.ends_with(" \\")), "{help}");
}

#[test]
fn every_command_has_a_page_with_its_flags() {
    for (words, flag, other) in [
        (&["import", "strace"][..], "traced\\-on", "NAME\nkubectl\\-seccomp\\-import\\-strace"),
        (&["record", "export"], "SYNOPSIS", "record\\-export"),
        (&["index", "add"], "SYNOPSIS", "index\\-add"),
        (&["import"], "kubectl\\-seccomp\\-import\\-strace(1)", "SUBCOMMANDS"),
        (&[], "kubectl\\-seccomp\\-lint(1)", "SUBCOMMANDS"),
    ] {
        let page = out(seccomp(&[&["man"], words].concat(), None));
        assert!(page.contains(flag) && page.contains(other), "{words:?}: {page}");
    }
    let none = seccomp(&["man", "import", "frobnicate"], None);
    assert_eq!(none.status.code(), Some(2));
    let folder = tempfile::tempdir().expect("a folder");
    out(seccomp(&["man", "--dir", folder.path().to_str().expect("text")], None));
    for page in [
        "kubectl-seccomp",
        "kubectl-seccomp-import",
        "kubectl-seccomp-import-hook",
        "kubectl-seccomp-record-run",
    ] {
        assert!(folder.path().join(format!("{page}.1")).is_file(), "{page}");
    }
    assert!(!folder.path().join("kubectl-seccomp-__complete.1").exists());
}

#[test]
fn an_unknown_flag_is_no_file_name() {
    for (arguments, tip) in [
        (
            &["merge", "-o", "x.json", "web.json"][..],
            Some("tip: the answer is standard output: write it into a file with '> FILE'"),
        ),
        (
            &["runtime-base", "--cap", "BPF"],
            Some("tip: '--cap' is a flag of lint, explain, diff, filter, convert, apply and "),
        ),
        (&["diff", "--traced-on=arm64", "a", "b"], Some("tip: '--traced-on' is a flag of import strace\n")),
        (&["lint", "-X", "a"], None),
    ] {
        let output = seccomp(arguments, None);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("unexpected argument") && !said.contains("as a value"), "{said}");
        match tip {
            Some(tip) => assert!(said.contains(tip), "{said}"),
            None => assert!(!said.contains("tip:"), "{said}"),
        }
    }
    // What follows `record` may be a command's own.
    let output = seccomp(&["record", "-Q", "ls"], None);
    assert!(String::from_utf8_lossy(&output.stderr).contains("-- -Q"));
}
