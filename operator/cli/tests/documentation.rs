//! What docs/cli.md and the help texts show is what the commands do.

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

/// The commands of the help's `Examples:`, by subcommand.
fn examples() -> Vec<String> {
    let help = |arguments: &[&str]| {
        let output =
            Command::new(BINARY).args(arguments).env_clear().output().expect("the binary can be run");
        String::from_utf8(output.stdout).expect("text")
    };
    let all = help(&["--help"]);
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands =
        commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    commands
        .filter(|command| *command != "help")
        .flat_map(|command| {
            let text = help(&[command, "--help"]);
            let examples = text.lines().skip_while(|line| *line != "Examples:").skip(1);
            let examples: Vec<String> = examples.map(|line| line.trim().to_owned()).collect();
            assert!(!examples.is_empty(), "the help of {command} has no examples");
            examples
        })
        .filter(|example| !example.is_empty())
        .collect()
}

/// Files that the examples name.
const FILES: &[(&str, &str)] = &[
    ("profile.json", "docs/examples/old.json"),
    ("old.json", "docs/examples/old.json"),
    ("new.json", "docs/examples/new.json"),
    ("web.json", "docs/examples/new.json"),
    ("docker.json", "docs/examples/docker.json"),
    ("web.yaml", "deploy/examples/nginx/profile.yaml"),
    ("main/web.yaml", "deploy/examples/nginx/profile.yaml"),
    ("deploy/web.yaml", "deploy/examples/nginx/profile.yaml"),
    ("profiles/web.json", "docs/examples/old.json"),
];

#[test]
fn the_helps_examples_run() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, from) in FILES {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
        fs::copy(root().join(from), path).expect("it is copied");
    }
    for example in examples() {
        let output = shell(&example, directory.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{example}: {}\n{said}", output.status);
        assert!(!said.contains("error:"), "{example}\n{said}");
    }
}
