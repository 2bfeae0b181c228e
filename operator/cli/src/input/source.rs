//! Where a profile stands in its file, and what it was there.

use std::sync::Arc;

use portcullis_api::{BaseReference, Mode, ProfileKind};

use super::tree::{Node, Position};

/// What a profile was in its file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    /// An OCI document.
    Oci,
    /// Docker's and Podman's format.
    Docker,
    /// A custom resource of this project.
    Portcullis {
        /// Its kind.
        kind: ProfileKind,
        /// `spec.mode`.
        mode: Mode,
        /// `spec.bases`.
        bases: Vec<BaseReference>,
    },
    /// A SeccompProfile of the Security Profiles Operator.
    SecurityProfilesOperator {
        /// `spec.baseProfileName`.
        base: Option<String>,
    },
}

/// Where a profile stands in its file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The file, for people.
    pub(crate) file: String,
    /// What it was.
    pub(crate) format: Format,
    /// The object's namespace.
    pub(crate) namespace: Option<String>,
    /// The object's name.
    pub(crate) object: Option<String>,
    /// What else its author wrote, by path: labels, a pin.
    pub(crate) besides: Vec<String>,
    /// What tells the profile from others of its file, where no object does: the comment before it, a container's name.
    pub(super) title: Option<String>,
    /// The text in the file that the document is: `data[web.json]`.
    pub(super) text_of: Option<String>,
    /// The part of the document that is the OCI document, as a path: `spec.profile`.
    pub(super) prefix: String,
    pub(super) root: Arc<Node>,
    /// For each rule of the profile its index in the file, where they differ.
    pub(super) origins: Option<Vec<usize>>,
}

impl Source {
    /// A path in the profile as a path in the file.
    pub(crate) fn path(&self, path: &str) -> String {
        joined(self.text_of.as_deref().unwrap_or_default(), &self.path_in_document(path))
    }

    /// A path in the profile as a path in the document.
    fn path_in_document(&self, path: &str) -> String {
        joined(&self.prefix, &self.original(path))
    }

    /// Where a path in the profile is.
    pub(crate) fn position(&self, path: &str) -> Position {
        self.root.locate(&self.path_in_document(path))
    }

    /// Where a path in the file's document is.
    pub(crate) fn own_position(&self, path: &str) -> Position {
        self.root.locate(path)
    }

    /// Whether the whole file is the profile, so that a runtime would be given the file.
    pub(super) fn is_a_runtimes_file(&self) -> bool {
        self.prefix.is_empty()
            && self.text_of.is_none()
            && matches!(self.format, Format::Oci | Format::Docker)
    }

    /// A message about the profile, with the file's own indexes of rules.
    pub(crate) fn message(&self, message: &str) -> String {
        let mut parts = message.split("syscalls[");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (index, rest) =
                part.split_at(part.find(|one: char| !one.is_ascii_digit()).unwrap_or(part.len()));
            let place = self.original(&format!("syscalls[{index}]"));
            text += place.strip_suffix(']').unwrap_or(&place);
            text += rest;
        }
        text
    }

    /// Rules that don't apply are counted in the file, and a rule of one name may have `name`.
    fn original(&self, path: &str) -> String {
        let rule = || {
            let (index, rest) = path.strip_prefix("syscalls[")?.split_once(']')?;
            let index: usize = index.parse().ok()?;
            let index = self.origins.as_ref().map_or(Some(index), |origins| origins.get(index).copied())?;
            let within = joined(&self.prefix, &format!("syscalls[{index}].name"));
            let singular = self.format == Format::Docker && self.root.locate(&within) != self.parent(&within);
            match rest.strip_prefix(".names") {
                Some(rest) if singular => {
                    Some(format!("syscalls[{index}].name{}", rest.strip_prefix("[0]").unwrap_or(rest)))
                }
                _ => Some(format!("syscalls[{index}]{rest}")),
            }
        };
        rule().unwrap_or_else(|| path.to_owned())
    }

    /// Where the object that a path's last step is in begins.
    fn parent(&self, path: &str) -> Position {
        self.root.locate(path.rsplit_once('.').map_or("", |(parent, _)| parent))
    }
}

/// A path inside a part of a document, seen from around it.
fn joined(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, path) => format!("{prefix}.{path}"),
    }
}
