//! Strangers' words on a terminal: a tenant's pod, a node's message, a registry's document.

mod binary;

use std::{
    io::Read as _,
    process::{Command, Stdio},
};

use binary::{artifact::share, http};
use portcullis_profile::is_printable;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

/// What an attacker writes: a title, a cleared screen, C1's own, a line that goes back, writing from right to left, and a second line.
const HOSTILE: &str = "a\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}1A\u{8}\r\u{202e}\u{7f}\nForged: yes";

/// A cluster in which every word that others may choose is hostile.
fn cluster() -> String {
    let hostile = |text: &str| format!("{text}{HOSTILE}");
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "False", "reason": hostile("R"), "message": hostile("message "),
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        })
    };
    let pod = json!({
        "metadata": {"namespace": "default", "name": "pod", "uid": "u"},
        "spec": {"nodeName": hostile("node"), "containers": [{"name": "main", "securityContext": {"seccompProfile": {
            "type": "Localhost", "localhostProfile": hostile("profiles/default/web.json")}}}]},
        "status": {"containerStatuses": [{"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]},
    });
    let profile = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {"namespace": "default", "name": "web", "generation": 1, "annotations": {"note": HOSTILE}},
        "spec": {"pin": null},
        "status": {
            "observedGeneration": 1, "localhostProfile": hostile("profiles/default/web.json"),
            "conditions": [condition("Ready"), condition("Stalled")],
            "nodes": {"ready": 0, "desired": 2, "failing": 1, "summary": hostile("0/2")},
            "failingNodes": [{"node": hostile("node"), "reason": hostile("WriteFailed"), "message": hostile("message ")}],
            "warnings": [{"code": hostile("SP"), "path": hostile("spec"), "message": hostile("message ")}],
        },
    });
    let recording = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecording",
        "metadata": {"namespace": "default", "name": "web", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"observedGeneration": 1, "conditions": [condition("Recording")], "calls": 1, "nodes": 1, "notes": [hostile("note ")],
            "runs": [{"name": hostile("run"), "calls": 1, "onlyHere": 1}]},
    });
    let list = |items: Vec<Value>| json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
    http::serve(move |path| {
        let answer = match path.rsplit('/').next().unwrap_or_default() {
            "pods" => list(vec![pod.clone()]),
            "seccompprofiles" => list(vec![profile.clone()]),
            "seccomprecordings" => list(vec![recording.clone()]),
            "web" if path.contains("seccomprecordings") => recording.clone(),
            "web" => profile.clone(),
            "refused" => {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422, "reason": hostile("I"), "message": hostile("no ")});
                return (422, "application/json", status.to_string().into_bytes());
            }
            _ => list(Vec::new()),
        };
        (200, "application/json", answer.to_string().into_bytes())
    })
}

/// What a command writes, to pipes or to a terminal: its answer and what it says besides.
fn written(arguments: &[&str], on_terminal: bool) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"));
    command.args(arguments).env_clear().env("HOME", home.path()).env("TERM", "xterm").stdin(Stdio::null());
    let mut all = Vec::new();
    if on_terminal {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it can be used");
        let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("text");
        let open = || std::fs::File::options().write(true).open(&name).expect("the other end");
        let mut child = command.stdout(open()).stderr(open()).spawn().expect("it starts");
        drop(command);
        // The end of a terminal whose other end is closed is an error.
        let _ = std::fs::File::from(terminal).read_to_end(&mut all);
        child.wait().expect("it ends");
        // The terminal's own: `ONLCR` of termios(3).
        return String::from_utf8(all).expect("text").replace("\r\n", "\n");
    }
    let output = command.output().expect("it ends");
    all.extend(output.stdout);
    all.extend(output.stderr);
    String::from_utf8(all).expect("text")
}

/// Fails where anything but text, line ends and the colours of this program is written.
fn assert_harmless(arguments: &[&str]) -> String {
    let mut all = String::new();
    for on_terminal in [false, true] {
        let said = written(arguments, on_terminal);
        let mut text = said.clone();
        for colour in ["\u{1b}[1m", "\u{1b}[31m", "\u{1b}[33m", "\u{1b}[36m", "\u{1b}[0m"] {
            text = text.replace(colour, "");
        }
        let order = text.chars().find(|one| !is_printable(*one) && !matches!(one, '\n' | '\t'));
        assert_eq!(order, None, "{arguments:?}: {said:?}");
        assert!(!text.lines().any(|line| line.starts_with("Forged")), "{arguments:?}: {said}");
        all += &said;
    }
    all
}

#[test]
fn clusters_give_a_terminal_no_orders() {
    let server = format!("http://{}", cluster());
    for command in [
        &["who", "-o", "wide"][..],
        &["who", "--by-pod", "-o", "wide"],
        &["who", "-o", "json"],
        &["who", "-o", "yaml"],
        &["status"],
        &["status", "-o", "wide"],
        &["status", "web"],
        &["status", "web", "-o", "yaml"],
        &["get", "web", "-o", "json"],
        &["get", "web", "-o", "yaml"],
        &["get", "web"],
        &["get", "refused"],
        &["history", "web"],
        &["record", "status"],
        &["record", "status", "web"],
        &["record", "status", "web", "-o", "json"],
        &["use", "web", "deploy/web"],
    ] {
        let said = assert_harmless(&[command, &["--server", &server, "-n", "default"]].concat());
        assert!(!said.is_empty(), "{command:?}");
    }
    let wide = assert_harmless(&["who", "-o", "wide", "--server", &server, "-n", "default"]);
    assert!(wide.contains("profiles/default/web.jsona\u{fffd}]0;owned\u{fffd}"), "{wide}");
    let detail = assert_harmless(&["status", "web", "--server", &server, "-n", "default"]);
    assert!(detail.contains("Failing nodes") && detail.contains("message a\u{fffd}"), "{detail}");
}

#[test]
fn a_program_gets_the_very_words() {
    let server = format!("http://{}", cluster());
    let said = written(&["who", "-o", "json", "--server", &server, "-n", "default"], false);
    let answer: Value = serde_json::from_str(said.split("note:").next().expect("the answer"))
        .unwrap_or_else(|error| panic!("{error}: {said}"));
    let path = format!("profiles/default/web.json{HOSTILE}");
    assert_eq!(answer["containers"][0]["confinement"]["path"], path.as_str(), "{said}");
}

#[test]
fn registries_give_a_terminal_no_orders() {
    // serde escapes C0 in what it writes, and nothing beyond: this is as a stranger's editor writes it.
    let document = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/x{}", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW"}}]}}"#,
        "\u{9b}2J\u{202e}"
    );
    let registry = share(&document);
    let reference = format!("{}/web:1", registry.host);
    for more in [&["pull", "--allow-looser"][..], &["pull", "--allow-looser", "--verbatim"]] {
        let arguments = [more, &[&reference, "--plain-http"]].concat();
        let said = written(&arguments, true);
        assert!(!said.contains(['\u{9b}', '\u{202e}']), "{said:?}");
    }
    let exact = written(&["pull", "--allow-looser", "--verbatim", &reference, "--plain-http"], false);
    assert!(exact.starts_with(&document), "a file gets it byte for byte: {exact:?}");
    let refusing = http::serve(|_| (500, "text/plain", HOSTILE.into()));
    assert_harmless(&["pull", &format!("{refusing}/web:1"), "--plain-http"]);
    let odd = share(HOSTILE);
    assert_harmless(&["inspect", &format!("{}/web:1", odd.host), "--plain-http"]);
}

#[test]
fn our_own_colours_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.json");
    std::fs::write(&file, r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ALLOW"}]}"#)
        .expect("it is written");
    let file = file.to_str().expect("text");
    for command in ["explain", "lint"] {
        assert!(assert_harmless(&[command, file]).contains("\u{1b}[1m"), "{command}");
        assert!(!written(&[command, file], false).contains('\u{1b}'), "{command}");
    }
}
