//! Registries, as the commands that use them see them.

mod document;
mod looser;

use std::{future::Future, io::Read as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use portcullis_artifact::{Access, Credential, CredentialFiles, Error, Platform, Reference, Wanted};

pub(crate) use document::{check, facts, say_how_read, write_document};
pub(crate) use looser::Trust;

use crate::platform::Node;

/// The longest password, in bytes: tokens in a password's place have some KiB.
const MAX_PASSWORD_BYTES: u64 = 64 * 1024;

/// How a registry is reached, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct RegistryArguments {
    /// Use plain HTTP, without TLS
    #[arg(long)]
    plain_http: bool,
    /// Trust the certificate authorities in this PEM file too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Log in with this name and the password on standard input, not with what docker or podman keeps
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password, or a token in its place, from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
}

impl RegistryArguments {
    /// How the registry of a reference is reached.
    pub(crate) fn access(&self, reference: &Reference) -> Result<Access> {
        let mut access = self.anonymous()?;
        access.credential = match &self.username {
            Some(username) => Credential::Password { username: username.clone(), password: password()? },
            None => CredentialFiles::from_env().find(reference)?,
        };
        Ok(access)
    }

    /// How something is reached that wants nobody's name.
    pub(crate) fn anonymous(&self) -> Result<Access> {
        let Self { plain_http, ca_file, username: _, password_stdin: _, timeout } = self;
        let mut access = Access::new();
        access.plain_http = *plain_http;
        access.timeout = Duration::from_secs(*timeout);
        if let Some(file) = ca_file {
            access.trust(file)?;
        }
        Ok(access)
    }
}

fn password() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_PASSWORD_BYTES + 1).read_to_string(&mut text);
    read.context("can't read the password from standard input")?;
    if text.len() as u64 > MAX_PASSWORD_BYTES {
        bail!("the password on standard input is longer than {MAX_PASSWORD_BYTES} bytes");
    }
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("there is no password on standard input, which --password-stdin says");
    }
    Ok(password.to_owned())
}

/// What is wanted of a reference that may be an image.
#[derive(Debug, Args)]
#[command(next_help_heading = "Image")]
pub(crate) struct ImageArguments {
    /// Where the profile is in an image
    #[arg(long, value_name = "PATH", default_value = Wanted::DEFAULT_PATH)]
    path: String,
    /// Whose image, where there are several; this machine's architecture by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
}

impl ImageArguments {
    /// The same, for a container on nodes of the image's architecture where no other is set.
    pub(crate) fn wanted(&self, node: &Node) -> Wanted {
        let platform = self.platform.clone().unwrap_or_else(Platform::local);
        let container = node.context_or(platform.arch());
        Wanted { path: self.path.clone(), platform, container }
    }
}

/// Waits for a registry.
pub(crate) fn wait_for<T>(task: impl Future<Output = portcullis_artifact::Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(task).map_err(|error| {
        let hint = hint(&error);
        let error = anyhow::Error::new(error);
        match hint {
            Some(hint) => anyhow::anyhow!("{error:#}: {hint}"),
            None => error,
        }
    })
}

/// What to do about an error that a flag mends.
fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Deadline { .. } => Some("wait longer with --timeout"),
        Error::Denied { status: 401, .. } => {
            Some("log in with `docker login` or `podman login`, or give --username and --password-stdin")
        }
        Error::NotInImage { .. } => Some("say with --path where it is"),
        Error::NoPlatform { .. } => Some("choose one with --platform"),
        Error::NoAnswer { source, .. } => {
            let causes = std::iter::successors(std::error::Error::source(source), |cause| cause.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            let says = |words: &str| causes.iter().any(|cause| cause.contains(words));
            // rustls' words, `InvalidMessage` and `CertificateError`: its types are behind several wrappers.
            if says("InvalidContentType") {
                Some("does it speak plain HTTP? See --plain-http")
            } else if says("UnknownIssuer") {
                Some("name the file of its certificate authority with --ca-file")
            } else {
                None
            }
        }
        _ => None,
    }
}
