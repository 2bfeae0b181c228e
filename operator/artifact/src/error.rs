//! What can go wrong with a registry.

use std::{io, path::PathBuf};

use portcullis_profile::printable;

/// The result of talking to a registry.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no answer from a registry, or none that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no reference.
    #[error("{text:?} is no reference to a registry: {problem}")]
    Reference {
        /// The text, shortened.
        text: String,
        /// What is wrong with it, and what to write.
        problem: String,
    },
    /// A file of credentials or certificates can't be used.
    #[error("{file}: {problem}", file = file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A program that keeps credentials gave none.
    #[error("the credentials for {registry} can't be had: {problem}")]
    Helper {
        /// The registry's host, and port.
        registry: String,
        /// What the program said, and what to do.
        problem: String,
    },
    /// The client can't be set up.
    #[error("TLS can't be set up")]
    Setup(#[source] reqwest::Error),
    /// A request got no answer: the registry can't be reached, or broke off.
    #[error("{url} gave no answer")]
    NoAnswer {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The time for the whole task is over.
    #[error("{registry} took longer than {seconds} s")]
    Deadline {
        /// The registry's host, and port.
        registry: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// The registry wants other credentials.
    #[error("{url} refuses access ({status}{said})")]
    Denied {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said, behind a comma, shortened.
        said: String,
    },
    /// The registry has no such thing.
    #[error("there is no {what} ({url}{said})")]
    NotFound {
        /// What was looked for.
        what: String,
        /// What was asked for.
        url: String,
        /// What the registry said, behind a comma, shortened.
        said: String,
    },
    /// The registry failed, or refuses.
    #[error("{url} answered with {status}{said}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said, behind a comma, shortened.
        said: String,
    },
    /// The registry's answer is not what the distribution specification says, or not what a digest says.
    #[error("{url} can't be trusted: {problem}")]
    Broken {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// What was found is no profile that can be used.
    #[error("{reference}: {problem}")]
    Content {
        /// Where it was found.
        reference: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// An image has no file at a path.
    #[error("{reference}: {path} is not in the image")]
    NotInImage {
        /// The image.
        reference: String,
        /// The path, and where links from there lead.
        path: String,
    },
    /// There is no image for a platform.
    #[error("{reference}: there is no image for {wanted}, only for {}", available.join(", "))]
    NoPlatform {
        /// The images.
        reference: String,
        /// The platform.
        wanted: String,
        /// The platforms that there are images for.
        available: Vec<String>,
    },
    /// A profile can't be pushed.
    #[error("the profile is refused:{}", .0.iter().map(|reason| format!("\n  {reason}")).collect::<String>())]
    Refused(Vec<String>),
    /// A local file can't be read.
    #[error("can't read {file}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// As much of a stranger's text as a message shows, in one line and without control characters.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 200;
    let start: String = text.chars().take(SHOWN).collect();
    printable(&start).trim().to_owned()
}

/// What is wrong with a YAML text, in one line: the library's words show the text around the place as well.
pub(crate) fn yaml_problem(error: &serde_saphyr::Error) -> String {
    shown(&error.without_snippet().to_string())
}
