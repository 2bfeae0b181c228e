//! What docs/cli.md shows is what the commands do. `examples.rs` runs what the help texts show.

use portcullis_profile::recording::Phase;
use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PAGE: &str = "docs/cli.md";
/// The documented commands print what they print on any machine.
const BINARY: &str = env!("CARGO_BIN_EXE_kubectl-seccomp");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace").to_owned()
}

/// Runs a line of shell with `kubectl` and `git` that do as much as examples need.
fn shell(line: &str, directory: &Path) -> Output {
    let tools = tempfile::tempdir().expect("a directory");
    let tool = |name: &str, script: &str| {
        let path = tools.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is made executable");
    };
    let kubectl = format!(
        "case \"$1\" in\nseccomp) shift; exec '{BINARY}' \"$@\" ;;\nget) cat '{0}' ;;\n*) cat >/dev/null ;;\nesac",
        root().join("deploy/examples/nginx/profile.yaml").display()
    );
    tool("kubectl", &kubectl);
    tool("git", &format!("cat '{}'", root().join("docs/examples/old.json").display()));
    let path = format!("{}:{}", tools.path().display(), env::var("PATH").unwrap_or_default());
    Command::new("sh")
        .args(["-c", &format!("{{ {line}\n}} 2>&1")])
        .current_dir(directory)
        .env_clear()
        .envs([("PATH", path.as_str()), ("GITHUB_STEP_SUMMARY", "summary.md")])
        .output()
        .expect("a shell runs")
}

/// The page with its commands' real outputs.
fn refreshed(page: &str) -> String {
    let mut text = String::new();
    let mut in_console = false;
    for line in page.lines() {
        match (in_console, line) {
            (false, "```console") => in_console = true,
            (true, "```") => in_console = false,
            (true, _) => match line.strip_prefix("$ ") {
                Some(command) => {
                    let output = shell(command, &root());
                    text += &format!("{line}\n{}", String::from_utf8_lossy(&output.stdout));
                    if !text.ends_with('\n') {
                        text.push('\n');
                    }
                    continue;
                }
                None => continue,
            },
            _ => {}
        }
        text += line;
        text.push('\n');
    }
    text
}

/// To write the page anew: `PORTCULLIS_UPDATE=1 cargo test -p portcullis-cli --test documentation`.
#[test]
fn the_page_shows_real_output() {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).expect("the page");
    let real = refreshed(&page);
    if env::var_os("PORTCULLIS_UPDATE").is_some() {
        fs::write(&path, &real).expect("the page is written");
    } else {
        assert!(page == real, "{PAGE} is stale; see this test. It should be:\n{real}");
    }
}

/// The table of phases says of each what the code goes by.
#[test]
fn the_phases_are_described_as_they_are_judged() {
    let page = fs::read_to_string(root().join("docs/recording.md")).expect("the page");
    let rows: Vec<&str> = page
        .lines()
        .skip_while(|line| *line != "| phase | seen when |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let judged: Vec<String> =
        Phase::ALL.iter().map(|phase| format!("| {} | {} |", phase.as_str(), phase.seen_when())).collect();
    assert_eq!(rows, judged);
}
