//! `kubectl seccomp` beside a real registry, and a client that is not ours. Needs no cluster.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::{
    cli::{self, kubectl_seccomp},
    command::output,
    oras,
    registry::{Guard, PASSWORD, Registry, USER},
    settings::{Settings, workspace_root},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const PROFILE: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "defaultErrnoRet": 38,
  "architectures": ["SCMP_ARCH_X86_64"],
  "syscalls": [
    {"names": ["read", "write", "exit_group", "exit", "rt_sigreturn", "restart_syscall", "execve"], "action": "SCMP_ACT_ALLOW"}
  ]
}"#;
const TYPE: &str = "application/vnd.cncf.seccomp-profile.config.v1+json";

/// A registry, a home of its own, and files.
struct Place {
    folder: tempfile::TempDir,
    registry: Registry,
    guard: Guard,
    program: PathBuf,
}

/// What a run said.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    errors: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
    }

    /// What a command that succeeded wrote to standard output.
    fn good(self) -> Result<String> {
        ensure!(self.code == Some(0), "exited with {:?}: {}{}", self.code, self.out, self.errors);
        Ok(self.out)
    }

    /// What a command that found no answer said.
    fn error(self) -> Result<String> {
        ensure!(self.code == Some(2) && self.out.is_empty(), "{self:?}");
        Ok(self.errors)
    }
}

impl Place {
    fn new(guard: Guard) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let registry = Registry::start(&folder.path().join("registry"), guard)?;
        fs::write(folder.path().join("web.json"), PROFILE)?;
        Ok(Self { folder, registry, guard, program: kubectl_seccomp()? })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env_clear().env("HOME", self.path()).env("PATH", "/usr/bin:/bin");
        command
    }

    /// Runs `kubectl-seccomp` without any word on how to reach the registry.
    fn bare(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        let mut command = self.command(&self.program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("kubectl-seccomp can't be run")?;
        child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
        Ok(Ran::of(child.wait_with_output()?))
    }

    /// Runs `kubectl-seccomp` with what this registry needs.
    fn seccomp(&self, arguments: &[&str]) -> Result<Ran> {
        let authority = self.registry.authority().display().to_string();
        let mut arguments = arguments.to_vec();
        match self.guard {
            Guard::None => arguments.push("--plain-http"),
            Guard::Tls | Guard::TlsAndPassword => arguments.extend(["--ca-file", &authority]),
        }
        self.bare(&arguments, "")
    }

    /// Runs oras.
    fn oras(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(&oras(&Settings::from_env()?)?);
        command.args(arguments);
        match self.guard {
            Guard::None => command.arg("--plain-http"),
            // oras takes localhost for a registry without TLS.
            Guard::Tls | Guard::TlsAndPassword => {
                command.arg("--plain-http=false").arg("--ca-file").arg(self.registry.authority())
            }
        };
        output(&mut command)
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The value behind a label of the text that commands print.
fn fact<'t>(text: &'t str, label: &str) -> Result<&'t str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(label));
    Ok(line.with_context(|| format!("no {label} in:\n{text}"))?[label.len()..].trim())
}

#[test]
fn oras_reads_what_we_push() -> Result<()> {
    let place = Place::new(Guard::None)?;
    let web = place.reference("team/web:1");
    let said = place
        .seccomp(&["push", "web.json", &web, "--source", "https://example.com/web", "--annotation", "a=b"])?
        .good()?;
    let manifest = place.oras(&["manifest", "fetch", &web])?;
    assert_eq!(fact(&said, "manifest")?, sha256(manifest.as_bytes()));
    let parsed: Value = serde_json::from_str(&manifest)?;
    assert_eq!((&parsed["artifactType"], &parsed["config"]["mediaType"]), (&TYPE.into(), &TYPE.into()));
    assert_eq!(parsed["annotations"]["org.opencontainers.image.source"], "https://example.com/web");
    assert_eq!(parsed["annotations"]["a"], "b");
    assert_eq!(parsed["layers"].as_array().map(Vec::len), Some(1));

    place.oras(&["pull", &web, "--output", "pulled"])?;
    let pulled = fs::read(place.path().join("pulled/profile.json"))?;
    assert_eq!(fact(&said, "profile")?, sha256(&pulled));
    assert!(place.seccomp(&["pull", &web])?.good()?.as_bytes() == pulled);
    Ok(())
}

#[test]
fn we_read_what_oras_pushes() -> Result<()> {
    let place = Place::new(Guard::None)?;
    let web = place.reference("web:1");
    place.oras(&["push", &web, "--artifact-type", TYPE, "web.json:application/json"])?;
    let manifest = place.oras(&["manifest", "fetch", &web])?;
    assert!(manifest.contains("application/vnd.oci.empty.v1+json"), "{manifest}");

    let said = place.seccomp(&["pull", &web, "--verbatim", "-o", "pulled.json"])?.good()?;
    assert_eq!(fs::read_to_string(place.path().join("pulled.json"))?, PROFILE);
    assert_eq!(fact(&said, "layer")?, sha256(PROFILE.as_bytes()));
    let pinned = fact(&said, "reference")?.to_owned();
    assert_eq!(pinned, format!("{}@{}", place.reference("web"), sha256(manifest.as_bytes())));
    // The tag moves on; the pinned reference does not.
    fs::write(place.path().join("other.json"), PROFILE.replace("\"execve\"", "\"execveat\""))?;
    place.oras(&["push", &web, "--artifact-type", TYPE, "other.json:application/json"])?;
    assert!(place.seccomp(&["pull", &web])?.good()?.contains("execveat"));
    assert!(!place.seccomp(&["pull", &pinned])?.good()?.contains("execveat"));

    let seen: Value = serde_json::from_str(&place.seccomp(&["inspect", &pinned, "-o", "json"])?.good()?)?;
    assert_eq!((&seen["kind"], &seen["profile"]["calls"]), (&"SeccompArtifact".into(), &7.into()));
    Ok(())
}

#[test]
fn what_the_operator_of_others_publishes_is_read() -> Result<()> {
    let place = Place::new(Guard::None)?;
    let yaml = "apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\nmetadata: {name: x}\n\
                spec:\n  defaultAction: SCMP_ACT_ERRNO\n  syscalls: [{action: SCMP_ACT_ALLOW, names: [exit_group]}]\n";
    fs::write(place.path().join("profile.yaml"), yaml)?;
    let reference = place.reference("spo:1");
    // As `spoc push` types it.
    place.oras(&[
        "push",
        &reference,
        "--artifact-type",
        "application/vnd.unknown.config.v1+json",
        "profile.yaml",
    ])?;
    let said = place.seccomp(&["pull", &reference, "-o", "-"])?;
    assert!(said.errors.contains("note: kind custom resource of the Security Profiles Operator"), "{said:?}");
    let profile: Value = serde_json::from_str(&said.good()?)?;
    assert_eq!(profile["syscalls"][0]["names"][0], "exit_group");
    assert_eq!(place.seccomp(&["pull", &reference, "--verbatim"])?.good()?, yaml);
    Ok(())
}

/// Pushes an image of two layers, the upper one with a profile, made at a time that does not change.
fn push_image(place: &Place, name: &str, profile: &[u8]) -> Result<()> {
    let layer = |name: &str, path: &str, content: &[u8]| -> Result<()> {
        let file = fs::File::create(place.path().join(name))?;
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content)?;
        builder.into_inner()?.finish()?;
        Ok(())
    };
    layer("base.tar.gz", "bin/app", &[7; 100_000])?;
    layer("top.tar.gz", "seccomp/profile.json", profile)?;
    fs::write(place.path().join("config.json"), r#"{"architecture":"amd64","os":"linux"}"#)?;
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    place.oras(&[
        "push",
        &place.reference(name),
        "--annotation",
        "org.opencontainers.image.created=2026-01-01T00:00:00Z",
        "--config",
        "config.json:application/vnd.oci.image.config.v1+json",
        &format!("base.tar.gz:{kind}"),
        &format!("top.tar.gz:{kind}"),
    ])?;
    Ok(())
}

#[test]
fn a_profile_comes_out_of_an_image() -> Result<()> {
    let place = Place::new(Guard::None)?;
    push_image(&place, "app:1", PROFILE.as_bytes())?;
    let image = place.reference("app:1");
    let said = place.seccomp(&["pull", &image, "--verbatim", "-o", "app.json"])?.good()?;
    assert_eq!(fs::read_to_string(place.path().join("app.json"))?, PROFILE);
    assert_eq!((fact(&said, "kind")?, fact(&said, "path")?), ("container image", "/seccomp/profile.json"));
    let error = place.seccomp(&["pull", &image, "--path", "/etc/seccomp.json"])?.error()?;
    assert!(error.contains("/etc/seccomp.json is not in the image: say with --path"), "{error}");
    Ok(())
}

#[test]
fn tls_wants_a_trusted_authority() -> Result<()> {
    let place = Place::new(Guard::Tls)?;
    let web = place.reference("web:1");
    place.seccomp(&["push", "web.json", &web])?.good()?;
    place.oras(&["manifest", "fetch", &web])?;
    let error = place.bare(&["pull", &web], "")?.error()?;
    assert!(error.contains("UnknownIssuer") && error.contains("--ca-file"), "{error}");
    let error = place.bare(&["pull", &web, "--plain-http"], "")?.error()?;
    assert!(error.contains("answered with 400"), "{error}");
    // A machine without authorities of its own trusts the named one, and otherwise nobody.
    let authority = place.registry.authority().display().to_string();
    for (arguments, code) in [(vec!["pull", &web, "--ca-file", &authority], 0), (vec!["pull", &web], 2)] {
        let mut command = place.command(&place.program);
        command.args(&arguments).env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nowhere");
        let ran = Ran::of(command.output()?);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
    }
    let error = place.bare(&["pull", &web, "--ca-file", "web.json"], "")?.error()?;
    assert!(error.contains("web.json: it holds no certificate"), "{error}");
    Ok(())
}

#[test]
fn passwords_come_from_files_and_standard_input() -> Result<()> {
    let place = Place::new(Guard::TlsAndPassword)?;
    let web = place.reference("web:1");
    let authority = place.registry.authority().display().to_string();
    let error = place.seccomp(&["push", "web.json", &web])?.error()?;
    assert!(error.contains("refuses access (401") && error.contains("docker login"), "{error}");
    let named = ["push", "web.json", &web, "--ca-file", &authority, "--username", USER, "--password-stdin"];
    place.bare(&named, &format!("{PASSWORD}\n"))?.good()?;
    let error = place.bare(&named, "wrong\n")?.error()?;
    assert!(error.contains("refuses access (401"), "{error}");
    assert!(!error.contains("wrong"), "{error}");

    // oras logs in as docker does, into the same file.
    place.oras(&["login", place.registry.host(), "--username", USER, "--password", PASSWORD])?;
    assert!(place.path().join(".docker/config.json").exists());
    place.seccomp(&["pull", &web])?.good()?;

    // podman's file, for one repository only.
    let auths = place.path().join(".docker/config.json");
    let config: Value = serde_json::from_str(&fs::read_to_string(&auths)?)?;
    let auth = config["auths"][place.registry.host()]["auth"].as_str().context("oras wrote a password")?;
    fs::remove_file(&auths)?;
    let podman = place.path().join(".config/containers");
    fs::create_dir_all(&podman)?;
    let own = format!(r#"{{"auths": {{"{}/web": {{"auth": "{auth}"}}}}}}"#, place.registry.host());
    fs::write(podman.join("auth.json"), own)?;
    place.seccomp(&["pull", &web])?.good()?;
    let error = place.seccomp(&["pull", &place.reference("other:1")])?.error()?;
    assert!(error.contains("401"), "{error}");
    Ok(())
}

/// Puts a profile and an index of it into the registry.
fn with_index(place: &Place) -> Result<()> {
    let reference = place.reference("profiles/nginx:1");
    let pinned = place.seccomp(&["push", "web.json", &reference, "-o", "name"])?.good()?;
    push_index(place, pinned.trim())
}

/// Puts an index of one profile into the registry.
fn push_index(place: &Place, pinned: &str) -> Result<()> {
    let (repository, digest) = pinned.split_once('@').context("a digest")?;
    let index = format!(
        "apiVersion: index.portcullis.dev/v1\nprofiles:\n- name: nginx\n  description: Reverse proxy\n  \
         repository: {repository}\n  versions:\n  - {{version: 1.29.0, digest: '{digest}'}}\n"
    );
    fs::write(place.path().join("index.yaml"), index)?;
    let kind = "application/vnd.portcullis.profile-index.v1+yaml";
    let reference = place.reference("profiles/index:v1");
    place.oras(&["push", &reference, "--artifact-type", kind, "index.yaml:application/yaml"])?;
    Ok(())
}

#[test]
fn shared_profiles_are_found_and_installed_by_digest() -> Result<()> {
    let place = Place::new(Guard::None)?;
    with_index(&place)?;
    let source = format!("oci://{}", place.reference("profiles/index:v1"));
    let said = place.seccomp(&["index", "add", "team", &source])?.good()?;
    assert_eq!(said, "added team with 1 profile\n");
    place.bare(&["index", "add", "local", "index.yaml"], "")?.good()?;
    let listed = place.bare(&["index", "list"], "")?.good()?;
    assert!(
        listed.contains(&source) && listed.contains(&place.path().join("index.yaml").display().to_string())
    );
    let found = place.bare(&["search", "proxy"], "")?.good()?;
    assert_eq!(found.lines().count(), 3, "{found}");
    assert_eq!(place.bare(&["search", "redis"], "")?.code, Some(1));

    let error = place.seccomp(&["install", "nginx"])?.error()?;
    assert!(error.contains("write team/nginx or local/nginx"), "{error}");
    place.bare(&["index", "remove", "local"], "")?.good()?;
    let said = place.seccomp(&["install", "nginx"])?.good()?;
    let written = fs::read(place.path().join("nginx.json"))?;
    assert_eq!(fact(&said, "profile")?, sha256(&written));
    place.seccomp(&["install", "nginx"])?.good()?;
    fs::write(place.path().join("nginx.json"), "mine")?;
    let error = place.seccomp(&["install", "nginx"])?.error()?;
    assert!(error.contains("nginx.json has other content"), "{error}");
    place.seccomp(&["install", "nginx", "--force"])?.good()?;
    assert_eq!(fs::read(place.path().join("nginx.json"))?, written);
    let resource = place.seccomp(&["install", "nginx@1.29.0", "--resource"])?.good()?;
    fs::write(place.path().join("nginx.yaml"), &resource)?;
    assert!(resource.contains("kind: SeccompProfile") && resource.contains("name: nginx"), "{resource}");
    place.bare(&["lint", "nginx.yaml"], "")?.good()?;

    // The registry's content is not what the index says: nothing is installed.
    let other = fs::read_to_string(place.path().join("index.yaml"))?;
    let digest = other.split_once("sha256:").context("a digest")?.1.get(..64).context("64 digits")?;
    fs::write(place.path().join("index.yaml"), other.replace(digest, &"0".repeat(64)))?;
    place.bare(&["index", "add", "wrong", "index.yaml"], "")?.good()?;
    let error = place.seccomp(&["install", "wrong/nginx", "-o", "wrong.json"])?.error()?;
    assert!(error.contains("there is no manifest of sha256:0000"), "{error}");
    assert!(!place.path().join("wrong.json").exists());
    Ok(())
}

#[test]
fn the_examples_of_the_help_texts_work() -> Result<()> {
    let place = Place::new(Guard::Tls)?;
    with_index(&place)?;
    for name in ["team/web:1.4", "team/app:2.0"] {
        place.seccomp(&["push", "web.json", &place.reference(name)])?.good()?;
    }
    let mut run = 0;
    for command in ["push", "pull", "inspect", "index", "search", "install"] {
        let help = place.bare(&[command, "--help"], "")?.good()?;
        for example in cli::examples(&help) {
            let line = example.replace("registry.example.com", place.registry.host());
            let program = place.program.display();
            let script = format!("set -e; kubectl() {{ shift; '{program}' \"$@\"; }}\n{line}\n");
            let mut shell = place.command(Path::new("/bin/bash"));
            // Trusted as an administrator would have it trusted, so that no example needs a flag.
            shell.args(["-c", &script]).env("SSL_CERT_FILE", place.registry.authority());
            shell.env("XDG_CONFIG_HOME", place.path().join(format!("config{run}")));
            shell.env("XDG_CACHE_HOME", place.path().join(format!("cache{run}")));
            let ran = Ran::of(shell.output()?);
            ensure!(ran.code == Some(0), "{example}\n{ran:?}");
            run += 1;
        }
    }
    assert!(run >= 10, "{run} examples were found");
    Ok(())
}

/// What a folder of its own has for the page: a registry with an index and an image, and the repository's files.
fn documented() -> Result<Place> {
    let place = Place::new(Guard::Tls)?;
    let root = workspace_root();
    std::os::unix::fs::symlink(root.join("deploy"), place.path().join("deploy"))?;
    fs::create_dir(place.path().join("target"))?;
    let nginx = root.join("deploy/examples/nginx/profile.yaml").display().to_string();
    let reference = place.reference("profiles/nginx:shared");
    let pinned = place.seccomp(&["push", &nginx, &reference, "-o", "name"])?.good()?;
    push_index(&place, pinned.trim())?;
    let profile = place.seccomp(&["pull", &reference])?.good()?;
    push_image(&place, "shop/app:2.0", profile.as_bytes())?;
    Ok(place)
}

/// The section with what its commands really print; the registry is called `registry.example.com` there.
fn refreshed(section: &str, place: &Place) -> Result<String> {
    let (mut text, mut inside) = (String::new(), false);
    for line in section.lines() {
        match line {
            "```sh-session" => inside = true,
            "```" => inside = false,
            _ if inside && !line.starts_with("$ ") => continue,
            _ => {}
        }
        text += line;
        text.push('\n');
        let Some(command) = line.strip_prefix("$ ").filter(|_| inside) else { continue };
        let command = command.replace("registry.example.com", place.registry.host());
        let program = place.program.display();
        let mut shell = place.command(Path::new("/bin/bash"));
        shell.args(["-c", &format!("kubectl() {{ shift; '{program}' \"$@\"; }}\n{{ {command}\n}} 2>&1")]);
        let ran = Ran::of(shell.env("SSL_CERT_FILE", place.registry.authority()).output()?);
        text += &ran.out.replace(place.registry.host(), "registry.example.com");
    }
    Ok(text)
}

/// To write the section anew: `PORTCULLIS_UPDATE=1 cargo test -p portcullis-e2e --test registry`.
#[test]
fn the_page_shows_real_output() -> Result<()> {
    let file = workspace_root().join("docs/cli.md");
    let page = fs::read_to_string(&file)?;
    let begin = page.find("\n## Share\n").context("docs/cli.md has no section Share")? + 1;
    let end = page[begin..].find("\n## ").map_or(page.len(), |length| begin + length + 1);
    let real = refreshed(&page[begin..end], &documented()?)?;
    ensure!(real.matches("\n$ kubectl seccomp ").count() >= 9, "the section lost its commands:\n{real}");
    if std::env::var_os("PORTCULLIS_UPDATE").is_some() {
        fs::write(&file, format!("{}{real}{}", &page[..begin], &page[end..]))?;
    } else {
        ensure!(page[begin..end] == real, "docs/cli.md is stale; see this test. It should be:\n{real}");
    }
    Ok(())
}
