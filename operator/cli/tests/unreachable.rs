//! What a user sees where a cluster does not answer as it should.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    thread,
};

/// A server on this machine that gives each request the same answer; none never comes.
fn server(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                request.push(byte[0]);
            }
            if let Some(answer) = answer {
                // A client that has seen enough may be gone.
                let _ = stream.write_all(answer.as_bytes());
            } else {
                open.push(stream);
            }
        }
    });
    format!("http://{address}")
}

fn response(status: &str, body: &str) -> &'static str {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    text.leak()
}

/// The exit code and standard error of a command in an environment without a kubeconfig.
fn seccomp(arguments: &[&str]) -> (Option<i32>, String) {
    let home = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .output()
        .expect("the binary can be run");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn fails_with(arguments: &[&str], words: &[&str]) {
    let (code, said) = seccomp(arguments);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    for words in words {
        assert!(said.contains(words), "{words:?} is not said:\n{said}");
    }
}

#[test]
fn without_a_kubeconfig_there_is_no_cluster() {
    fails_with(&["status"], &["no cluster is configured", "--kubeconfig FILE"]);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = server(None);
    fails_with(
        &["who", "--server", &server, "--request-timeout", "300ms"],
        &[&server, "can't list", "does not answer in time", "--request-timeout"],
    );
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let server = format!("http://127.0.0.1:{port}");
    fails_with(&["status", "-s", &server], &[&server, "can't be reached", "Connection refused"]);
}

#[test]
fn what_is_no_api_server_is_an_error_too() {
    let page = server(Some(response("200 OK", "<html>Welcome!</html>")));
    fails_with(&["status", "-s", &page], &["can't list seccompprofiles"]);
}

#[test]
fn refusals_say_what_to_do() {
    let refused = |code: u16, message: &str| {
        let status = format!(
            r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","code":{code},"message":"{message}"}}"#
        );
        server(Some(response(&format!("{code} X"), &status)))
    };
    fails_with(&["status", "-s", &refused(401, "Unauthorized")], &["does not know you (401 Unauthorized)"]);
    fails_with(
        &["status", "-A", "-s", &refused(403, "no")],
        &["a ClusterRole with the verb list on the resource seccompprofiles"],
    );
    fails_with(&["get", "web", "-s", &refused(404, "404 page not found")], &["are not installed"]);
}

#[test]
fn a_credential_plugin_that_is_missing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config");
    let kubeconfig = r#"{
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-credential-plugin", "interactiveMode": "Never"
        }}}]
    }"#;
    fs::write(&file, kubeconfig).expect("a file");
    let file = file.to_str().expect("a path of text");
    fails_with(&["status", "--kubeconfig", file], &["no-such-credential-plugin"]);
    fails_with(&["status", "--kubeconfig", file, "--context", "d"], &["the kubeconfig can't be used", "d"]);
}
