//! What a user or a kubelet sees of the binary before it does anything: exit codes and messages.

use std::process::{Command, Output};

const AGENT: &[&str] =
    &["agent", "--node-name", "n", "--pod-uid", "u", "--pod-name", "p", "--namespace", "portcullis"];

/// Any free ports.
const HERE: [&str; 4] =
    ["--health-probe-bind-address", "127.0.0.1:0", "--metrics-bind-address", "127.0.0.1:0"];

fn portcullis(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).env_clear().output().expect("the binary can be run")
}

fn fails(arguments: &[&str], code: i32, words: &str) {
    let output = portcullis(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said}");
    assert!(output.stdout.is_empty(), "an error belongs on standard error");
}

#[test]
fn says_its_version() {
    let output = portcullis(&["--version"]);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim_end(), format!("portcullis {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_usage_error_exits_with_2_and_names_what_is_missing() {
    fails(&[], 2, "Usage: portcullis");
    fails(&["watcher"], 2, "unrecognized subcommand 'watcher'");
    fails(&["recorder"], 2, "--node-name");
    fails(&["agent"], 2, "--node-name");
    fails(&[AGENT, &["--metrics-bind-address", "nowhere"]].concat(), 2, "--metrics-bind-address");
}

#[test]
fn a_failed_start_exits_with_1_and_names_the_setting() {
    fails(&[AGENT, &["--log-level", "a=b=c"]].concat(), 1, "--log-level \"a=b=c\"");
    // 192.0.2.0/24 is nobody's: RFC 5737.
    for at in [0, 2] {
        let mut elsewhere = HERE;
        elsewhere[at + 1] = "192.0.2.1:80";
        let words = format!("can't listen on 192.0.2.1:80 ({})", HERE[at]);
        fails(&[AGENT, &elsewhere].concat(), 1, &words);
    }
}

#[test]
fn a_failed_role_exits_with_1_and_says_why() {
    fails(&[AGENT, &HERE].concat(), 1, "the agent failed: ");
    let controller = ["controller", "--pod-name", "p", "--namespace", "portcullis"];
    fails(&[&controller[..], &HERE].concat(), 1, "the controller failed: ");
    fails(
        &[&controller[..], &HERE, &["--log-format", "json"]].concat(),
        1,
        "\"message\":\"the controller failed: ",
    );
}
