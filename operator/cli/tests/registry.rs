//! What the commands for registries say where there is none, or where they are asked in vain. With one:
//! `e2e/tests/registry.rs`.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

/// A home of its own, with some files.
struct Home(tempfile::TempDir);

struct Ran {
    code: Option<i32>,
    out: String,
    errors: String,
}

const PROFILE: &str =
    r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;
const INDEX: &str = "apiVersion: index.portcullis.dev/v1
profiles:
- name: nginx
  description: Reverse proxy
  repository: 127.0.0.1:1/profiles/nginx
  versions: [{version: '1', digest: 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}]
";
/// Nothing listens there.
const NOBODY: &str = "127.0.0.1:1/web:1";

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in [("web.json", PROFILE), ("index.yaml", INDEX), ("bad.yaml", "profiles: []")] {
            fs::write(folder.path().join(name), content).expect("it is written");
        }
        Self(folder)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ran { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
    }

    /// What a command says that ends without an answer.
    fn error(&self, arguments: &[&str], input: &str) -> String {
        let ran = self.run(arguments, input);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ran.errors);
        ran.errors
    }

    fn good(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments, "");
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.errors);
        ran.out
    }
}

#[test]
fn what_can_not_be_meant_is_a_usage_error() {
    let home = Home::new();
    for (arguments, said) in [
        (&["pull", "https://ghcr.io/a/b"][..], "leave out https://"),
        (&["pull", "a b"], "no reference to a registry"),
        (&["pull", NOBODY, "--username", "x"], "--password-stdin"),
        (&["pull", NOBODY, "--platform", "amd64"], "write os/architecture"),
        (&["pull", NOBODY, "--timeout", "0"], "1..=86400"),
        (&["push", "web.json", NOBODY, "--annotation", "x"], "write KEY=VALUE"),
        (&["push", "web.json", NOBODY, "--created", "yesterday"], "--created"),
        (&["index", "add", "team", "ftp://x/y"], "an index is at https://"),
        (&["install", "nginx", "--resource", "--force"], "cannot be used with"),
    ] {
        let error = home.error(arguments, "");
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let home = Home::new();
    for arguments in [&["pull", NOBODY][..], &["inspect", NOBODY], &["push", "web.json", NOBODY]] {
        let error = home.error(arguments, "");
        assert!(error.contains("https://127.0.0.1:1/v2/web/"), "{error}");
        assert!(error.contains("gave no answer") && error.contains("Connection refused"), "{error}");
    }
}

#[test]
fn what_is_wrong_before_anybody_is_asked() {
    let home = Home::new();
    let error = home.error(&["push", "none.json", NOBODY], "");
    assert!(error.contains("can't read none.json"), "{error}");
    let twice =
        ["push", "web.json", NOBODY, "--source", "x", "--annotation", "org.opencontainers.image.source=y"];
    let error = home.error(&twice, "");
    assert!(error.contains("org.opencontainers.image.source is given twice"), "{error}");
    let login = ["pull", NOBODY, "--username", "ann", "--password-stdin"];
    assert!(home.error(&login, "\n").contains("there is no password on standard input"));
    assert!(home.error(&login, &"x".repeat(65 * 1024)).contains("longer than 65536 bytes"));
    let error = home.error(&["pull", NOBODY, "--ca-file", "none.pem"], "");
    assert!(error.contains("can't read none.pem"), "{error}");
    fs::create_dir(home.0.path().join(".docker")).expect("a folder");
    fs::write(home.0.path().join(".docker/config.json"), "{").expect("it is written");
    let error = home.error(&["pull", NOBODY], "");
    assert!(error.contains(".docker/config.json: it is no JSON"), "{error}");
}

#[test]
fn an_index_of_a_file_is_kept_searched_and_forgotten() {
    let home = Home::new();
    assert_eq!(home.good(&["index", "list"]), "");
    assert!(home.error(&["search", "nginx"], "").contains("no index was added yet"));
    assert_eq!(home.good(&["index", "add", "team", "index.yaml"]), "added team with 1 profile\n");
    assert!(home.error(&["index", "add", "team", "index.yaml"], "").contains("already"));
    assert!(home.error(&["index", "add", "bad", "bad.yaml"], "").contains("bad.yaml: apiVersion: is \"\""));
    let listed = home.good(&["index", "list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with("team   1          20")), "{listed}");
    assert_eq!(
        home.good(&["search", "PROXY"]).lines().nth(1),
        Some("team    nginx   1         Reverse proxy")
    );
    let none = home.run(&["search", "redis"], "");
    assert_eq!((none.code, none.out.as_str()), (Some(1), ""));
    assert!(none.errors.contains("no shared profile has \"redis\""), "{}", none.errors);

    assert!(home.error(&["install", "redis"], "").contains("no index has a profile redis"));
    assert!(home.error(&["install", "nginx@9"], "").contains("nginx has no version 9: it has 1"));
    assert!(home.error(&["install", "other/nginx"], "").contains("there is no index other: added are team"));
    assert!(home.error(&["install", "nginx"], "").contains("gave no answer"));

    fs::write(home.0.path().join("index.yaml"), INDEX.replace("name: nginx", "name: caddy"))
        .expect("it is written");
    assert_eq!(home.good(&["index", "update"]), "updated team with 1 profile\n");
    assert!(home.good(&["search"]).contains("caddy"));
    assert_eq!(home.good(&["index", "remove", "team"]), "removed team\n");
    assert!(home.error(&["index", "remove", "team"], "").contains("added are none"));
}
