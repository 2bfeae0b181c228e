//! Every example of a help text that needs no cluster, run as it stands there.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-seccomp");

fn help(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).env_clear().output().expect("the binary can be run");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("help is text")
}

/// The commands that a help lists, each with the words before it, and those below them.
fn commands(above: &[String]) -> Vec<Vec<String>> {
    let words: Vec<&str> = above.iter().map(String::as_str).chain(["--help"]).collect();
    help(&words)
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Behind more spaces a description goes on.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .flat_map(|name| {
            let command = [above, &[name]].concat();
            let below = commands(&command);
            [vec![command], below].concat()
        })
        .collect()
}

/// The command lines after `Examples:`, each in one line.
fn examples(help: &str) -> Vec<String> {
    let mut lines = help.lines().skip_while(|line| *line != "Examples:");
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(command) = line.trim_start().strip_prefix("$ ") else { continue };
        let mut command = command.to_owned();
        while let Some(begun) = command.strip_suffix('\\') {
            command = format!("{begun}{}", lines.next().expect("a line that goes on").trim_start());
        }
        found.push(command);
    }
    found
}

/// Runs a line in a shell, in a folder with the files that examples name. `kubectl` is a function that runs the plugin, as
/// kubectl does.
fn run(line: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    for entry in fs::read_dir(fixtures).expect("the fixtures") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("a copy");
    }
    let script = format!("kubectl() {{ shift; '{PROGRAM}' \"$@\"; }}\n{line}\n");
    Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder.path())
        .output()
        .expect("a shell")
}

#[test]
fn every_command_has_examples_and_each_of_them_works() {
    let commands = commands(&[]);
    assert!(commands.iter().any(|words| words == &["import", "strace"]), "{commands:?}");
    for words in commands {
        let help = help(&words.iter().map(String::as_str).chain(["--help"]).collect::<Vec<_>>());
        let command = words.join(" ");
        let examples = examples(&help);
        // A command below another may leave its examples to that one.
        assert!(!examples.is_empty() || words.len() > 1, "{command} shows no example");
        for line in examples {
            let own = format!("kubectl seccomp {command} ");
            assert!(
                format!("{line} ").contains(&own),
                "{command} shows an example of another command: {line}"
            );
            // Containers are for the tests that have a runtime, processes for those that have one under a filter.
            let elsewhere =
                ["registry.example.com", "kubectl get ", "kubectl apply ", "--container ", "--pid "];
            if help.contains("--kubeconfig") || elsewhere.iter().any(|word| line.contains(word)) {
                continue;
            }
            let output = run(&line);
            // A finding or a difference is an answer too.
            assert!(
                matches!(output.status.code(), Some(0 | 1)),
                "{line}\nexited with {}:\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}
