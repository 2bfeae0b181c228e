//! Credentials as docker and podman keep them.
//!
//! Source: docker's `docker login` and `config.json`; containers-auth.json(5).

use std::{
    env,
    io::Read as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde_json::Value;

use crate::{Error, Reference, Result, error::shown};

/// The largest file of credentials that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// How long a program that keeps credentials may take: it may ask its user for a password.
const HELPER: Duration = Duration::from_secs(60);
/// The names under which Docker Hub's credentials are kept: podman's, the registry's own, docker's.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", DOCKERS_NAME];
/// The name under which docker keeps Docker Hub's credentials.
const DOCKERS_NAME: &str = "https://index.docker.io/v1/";

/// Who asks a registry.
#[derive(Clone)]
pub enum Credential {
    /// Nobody.
    Anonymous,
    /// A user.
    Password {
        /// The user's name.
        username: String,
        /// The user's password, or a token in its place.
        password: String,
    },
    /// A refresh token, which docker calls an identity token.
    IdentityToken(String),
}

/// Where credentials are looked for, the first that has any for a registry decides.
#[derive(Clone, Debug, Default)]
pub struct CredentialFiles {
    /// Files that were named, so they have to be there.
    named: Vec<PathBuf>,
    /// Files in their usual places, which may be missing.
    usual: Vec<PathBuf>,
}

impl CredentialFiles {
    /// The files that this process' environment says, in podman's order and then docker's: `$REGISTRY_AUTH_FILE`, or
    /// else `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json` and
    /// `$DOCKER_CONFIG/config.json` (`~/.docker/config.json`).
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            return Self { named: vec![file], usual: Vec::new() };
        }
        let home = variable("HOME");
        let in_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
        let folders = [
            variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
            variable("XDG_CONFIG_HOME")
                .or_else(|| in_home(".config"))
                .map(|folder| folder.join("containers/auth.json")),
            variable("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|folder| folder.join("config.json")),
        ];
        Self { named: Vec::new(), usual: folders.into_iter().flatten().collect() }
    }

    /// The credentials for a reference's registry; nobody's where no file has any.
    ///
    /// # Errors
    /// Where a file can't be read, or a program that keeps credentials fails.
    pub fn find(&self, reference: &Reference) -> Result<Credential> {
        let usual = self.usual.iter().filter(|file| file.exists());
        for file in self.named.iter().chain(usual) {
            if let Some(credential) = find_in(file, reference)? {
                return Ok(credential);
            }
        }
        Ok(Credential::Anonymous)
    }
}

/// A file's bytes, where they are not more than `limit`.
pub(crate) fn read(file: &Path, limit: u64) -> Result<Vec<u8>> {
    let fail = |source| Error::Read { file: file.to_owned(), source };
    let mut text = Vec::new();
    std::fs::File::open(file).map_err(fail)?.take(limit + 1).read_to_end(&mut text).map_err(fail)?;
    if text.len() as u64 > limit {
        let problem = format!("it is longer than {limit} bytes, which no such file is");
        return Err(Error::File { file: file.to_owned(), problem });
    }
    Ok(text)
}

fn find_in(file: &Path, reference: &Reference) -> Result<Option<Credential>> {
    let refuse = |problem: String| Error::File { file: file.to_owned(), problem };
    let text = read(file, MAX_FILE_BYTES)?;
    let config: Value =
        serde_json::from_slice(&text).map_err(|error| refuse(format!("it is no JSON: {error}")))?;
    let Some(key) = key(&config, reference) else { return Ok(None) };
    match ask(text, key) {
        Ok(DockerCredential::UsernamePassword(username, password)) => {
            Ok(Some(Credential::Password { username, password }))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credential::IdentityToken(token))),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            // docker-credential-helpers' errCredentialsNotFound: docker takes it as nobody too.
            if stdout.contains("credentials not found") {
                return Ok(None);
            }
            let problem = format!("{helper} said {:?}", shown(&format!("{stdout} {stderr}")));
            Err(Error::Helper { registry: reference.registry().to_owned(), problem })
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            let problem = format!(
                "the program of `credsStore` or `credHelpers` in {} can't be run: is its docker-credential-... in PATH?",
                file.display()
            );
            Err(Error::Helper { registry: reference.registry().to_owned(), problem })
        }
        Err(error) => Err(refuse(error.to_string())),
    }
}

/// Asks what may run a program that never ends.
fn ask(text: Vec<u8>, key: String) -> std::result::Result<DockerCredential, CredentialRetrievalError> {
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        // Nobody waits any more where this fails.
        let _ = sender.send(docker_credential::get_credential_from_reader(text.as_slice(), &key));
    });
    answer.recv_timeout(HELPER).unwrap_or(Err(CredentialRetrievalError::HelperFailure {
        helper: "the program that keeps the credentials".to_owned(),
        stdout: String::new(),
        stderr: format!("nothing in {} s", HELPER.as_secs()),
    }))
}

/// The name under which a file has credentials for the reference: podman's may name a repository, the longest of
/// which decides.
fn key(config: &Value, reference: &Reference) -> Option<String> {
    let registry = reference.registry();
    let is_docker_hub = registry == "index.docker.io";
    let has = |map: &str, key: &str| config[map].get(key).is_some();
    let mut name =
        format!("{}/{}", if is_docker_hub { "docker.io" } else { registry }, reference.repository());
    while name.contains('/') {
        if has("auths", &name) {
            return Some(name);
        }
        name.truncate(name.rfind('/').unwrap_or_default());
    }
    let asks = ["auths", "credHelpers", "credsStore"].iter().any(|key| !config[key].is_null());
    let own = if is_docker_hub {
        let found = DOCKER_HUB.into_iter().find(|name| has("credHelpers", name) || has("auths", name));
        found.unwrap_or(DOCKERS_NAME)
    } else {
        registry
    };
    asks.then(|| own.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn find(config: &str, reference: &str) -> Result<Credential> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        CredentialFiles { named: vec![file], usual: Vec::new() }.find(&reference.parse().unwrap())
    }

    fn user(credential: Credential) -> String {
        match credential {
            Credential::Anonymous => "nobody".to_owned(),
            Credential::Password { username, password } => format!("{username}:{password}"),
            Credential::IdentityToken(token) => format!("token {token}"),
        }
    }

    #[test]
    fn the_longest_name_decides() {
        // YTpi is a:b, YzpkOmU= is c:d:e, eDp5 is x:y.
        let config = r#"{"auths": {
            "r.example:5000": {"auth": "YTpi"}, "r.example:5000/team": {"auth": "YzpkOmU="},
            "https://index.docker.io/v1/": {"auth": "eDp5"}, "acr.example": {"identitytoken": "t", "auth": "YTpi"}
        }}"#;
        for (reference, wanted) in [
            ("r.example:5000/x", "a:b"),
            ("r.example:5000/team/app:1", "c:d:e"),
            ("r.example:5000/teamwork/app", "a:b"),
            ("r.example/x", "nobody"),
            ("nginx", "x:y"),
            ("acr.example/x", "token t"),
        ] {
            assert_eq!(user(find(config, reference).unwrap()), wanted, "{reference}");
        }
        assert_eq!(user(find("{}", "r.example/x").unwrap()), "nobody");
    }

    #[test]
    fn docker_hub_has_several_names() {
        for name in ["docker.io", "index.docker.io", "https://index.docker.io/v1/"] {
            let config = format!(r#"{{"auths": {{"{name}": {{"auth": "eDp5"}}}}}}"#);
            assert_eq!(user(find(&config, "nginx").unwrap()), "x:y", "{name}");
            // What a program keeps is asked for by the name that the file has for it.
            let config = format!(r#"{{"credHelpers": {{"{name}": "no-such-helper"}}}}"#);
            let error = find(&config, "nginx").map(user).unwrap_err().to_string();
            assert!(error.contains("in PATH?"), "{name}: {error}");
        }
        let config = r#"{"auths": {"docker.io": {"auth": "YTpi"}, "docker.io/team": {"auth": "eDp5"}}}"#;
        assert_eq!(user(find(config, "team/app").unwrap()), "x:y");
        assert_eq!(user(find(config, "nginx").unwrap()), "a:b");
    }

    #[test]
    fn a_damaged_file_is_named() {
        for config in ["{", r#"{"auths": {"r.example": {"auth": "%"}}}"#] {
            let error = find(config, "r.example/x").map(user).unwrap_err().to_string();
            assert!(error.contains("config.json: "), "{error}");
        }
    }

    #[test]
    fn a_program_that_is_missing_is_an_error() {
        let config = r#"{"credHelpers": {"r.example": "no-such-helper"}}"#;
        let error = find(config, "r.example/x").map(user).unwrap_err().to_string();
        assert!(error.contains("the credentials for r.example") && error.contains("in PATH?"), "{error}");
    }

    #[test]
    fn the_first_file_with_credentials_decides() {
        let folder = tempfile::tempdir().unwrap();
        let variable = |name: &str| match name {
            "HOME" => Some(folder.path().to_owned()),
            "XDG_RUNTIME_DIR" => Some(folder.path().join("run")),
            _ => None,
        };
        let write = |file: &str, auth: &str| {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            let auths = format!(r#"{{"auths": {{"r.example": {{"auth": "{auth}"}}}}}}"#);
            std::fs::write(&file, auths).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        let find = || {
            let files = CredentialFiles::from_variables(variable);
            user(files.find(&"r.example/x".parse().unwrap()).unwrap())
        };
        assert_eq!(find(), "nobody");
        write(".docker/config.json", "YTpi");
        assert_eq!(find(), "a:b");
        write(".config/containers/auth.json", "YzpkOmU=");
        assert_eq!(find(), "c:d:e");
        write("run/containers/auth.json", "eDp5");
        assert_eq!(find(), "x:y");
        let named = CredentialFiles::from_variables(|name| {
            (name == "REGISTRY_AUTH_FILE").then(|| folder.path().join("missing.json"))
        });
        assert!(named.find(&"r.example/x".parse().unwrap()).is_err());
    }
}
