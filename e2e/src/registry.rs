//! A real registry on this machine: Debian's docker-registry, on loopback, for one test.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::{
    Paths,
    command::command,
    packages, paths,
    pki::{self, Authority, Identity},
    settings::Settings,
};

/// How long the registry may take to listen.
const START: Duration = Duration::from_secs(30);
/// The one user of a registry that wants a password.
pub const USER: &str = "ann";
/// That user's password.
pub const PASSWORD: &str = "secret";
/// The two as htpasswd(1) writes them: `htpasswd -nbB ann secret`.
const PASSWORD_LINE: &str = "ann:$2y$05$kFnaCdiMpchYrXCXzyjUiubFHO42arykmDgXfn8gORDDAuXKsOqc2\n";

/// What a registry wants of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing, not even TLS.
    None,
    /// TLS, with a certificate of an authority of its own.
    Tls,
    /// TLS, and the password of [`USER`].
    TlsAndPassword,
}

/// A registry that runs until this is dropped.
#[derive(Debug)]
pub struct Registry {
    server: Child,
    host: String,
    authority: PathBuf,
}

impl Registry {
    /// Starts a registry that keeps everything in a folder.
    ///
    /// # Errors
    /// Where there is no such program and it can't be installed, or it does not come up.
    pub fn start(folder: &Path, guard: Guard) -> Result<Self> {
        packages::ensure_registry(&Paths::new(&Settings::from_env()?.dir))?;
        let paths = Paths::new(folder);
        let mut http = json!({"addr": "127.0.0.1:0"});
        if guard != Guard::None {
            let identity = Identity {
                name: "registry",
                common_name: "registry",
                organization: None,
                dns: vec!["localhost".to_owned()],
                addresses: vec![[127, 0, 0, 1].into()],
            };
            Authority::create(&paths)?.issue(&identity)?;
            http["tls"] = json!({
                "certificate": pki::certificate_file(&paths, "registry"),
                "key": pki::key_file(&paths, "registry"),
            });
        }
        let mut configuration = json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": folder.join("blobs")}},
            "http": http,
            "log": {"accesslog": {"disabled": true}, "level": "info"},
        });
        if guard == Guard::TlsAndPassword {
            let file = folder.join("htpasswd");
            paths::write(&file, PASSWORD_LINE)?;
            configuration["auth"] = json!({"htpasswd": {"realm": "registry", "path": file}});
        }
        // YAML is a superset of JSON.
        let file = folder.join("registry.yml");
        paths::write(&file, configuration.to_string())?;
        let (server, port) = serve(&file)?;
        // The certificate has both names; a name is what people write.
        Ok(Self { server, host: format!("localhost:{port}"), authority: paths.pki().join("ca.crt") })
    }

    /// The name and port to write in references.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The file of the authority that signed the certificate.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing else to do about it here.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Starts the server and waits until it says where it listens.
fn serve(configuration: &Path) -> Result<(Child, u16)> {
    let mut serve = command("docker-registry", ["serve"]);
    serve.arg(configuration).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = serve.spawn().context("docker-registry can't be started")?;
    let said = server.stderr.take().context("the registry's standard error is not connected")?;
    let (lines, received) = mpsc::channel();
    // Reads on for as long as the server lives, or it would wait for a reader.
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            // Nobody listens any more once the port is known.
            let _ = lines.send(line);
        }
    });
    let mut log = String::new();
    loop {
        match received.recv_timeout(START) {
            Ok(line) => {
                if let Some(port) = port(&line) {
                    return Ok((server, port));
                }
                log = log + &line + "\n";
            }
            Err(_) => {
                let _ = server.kill();
                let _ = server.wait();
                bail!("docker-registry does not come up:\n{log}");
            }
        }
    }
}

/// The port in a line such as `... msg="listening on 127.0.0.1:41234, tls" ...`.
fn port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_log() {
        assert_eq!(port("level=info msg=\"listening on 127.0.0.1:41234, tls\" go=1"), Some(41234));
        assert_eq!(port("level=info msg=\"using inmemory cache\""), None);
    }
}
