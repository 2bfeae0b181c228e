//! The profile format of Docker, Podman and CRI-O, resolved to an OCI document for one kind of container and node.
//!
//! The format is OCI's and more: `archMap` for `architectures`; a rule may have one `name` for `names`, a `comment`,
//! `includes` and `excludes` (capabilities, architectures, a least kernel), and an errno by name. A runtime that reads
//! such a document as OCI drops these keys, so that a rule meant for some containers applies to all.
//!
//! Sources: `setupSeccomp` in moby's `profiles/seccomp/seccomp_linux.go` (v28.3) and in containers/common's
//! `pkg/seccomp/filter.go` and `seccomp_linux.go` (v0.63). Where the two differ, it is said at the rule.

mod context;
mod document;

pub use context::{
    ASSUMED_KERNEL, CAPABILITIES, Context, DEFAULT_CAPABILITIES, InvalidKernel, Kernel, arch_name, arch_of,
};

use serde_json::Value;

use crate::{ParseErrors, Profile, parse};
use document::Document;

/// What a document in Docker's format says for one kind of container and node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The OCI document.
    pub profile: Profile,
    /// For each of its rules the index of the rule in the document that was resolved.
    pub origins: Vec<usize>,
    /// The rules that don't apply, by index, and why.
    pub left_out: Vec<LeftOut>,
}

/// A rule that doesn't apply to the container or the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its index in the document that was resolved.
    pub rule: usize,
    /// The condition that decided: `includes.caps: CAP_BPF is not held`.
    pub because: String,
}

/// What a document turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// An OCI document.
    Oci(Profile),
    /// A document in this format, resolved.
    Docker(Resolved),
}

/// Reads a document of at most [`MAX_DOCUMENT_BYTES`](crate::MAX_DOCUMENT_BYTES), which may be in this format or in OCI's.
///
/// # Errors
/// Everything that is wrong with it, see [`Profile::parse`] and [`resolve`].
pub fn parse(document: &[u8], context: &Context) -> Result<Parsed, ParseErrors> {
    let (value, duplicates) = parse::value(document)?;
    if !is_docker(&value) {
        return parse::profile(&value, duplicates).map(Parsed::Oci);
    }
    if duplicates.is_empty() { resolve(&value, context).map(Parsed::Docker) } else { Err(duplicates) }
}

/// Whether a document has a key that only this format has.
#[must_use]
pub fn is_docker(document: &Value) -> bool {
    let has = |object: &Value, keys: &[&str]| keys.iter().any(|key| object.get(key).is_some());
    has(document, document::PROFILE_KEYS)
        || document
            .get("syscalls")
            .and_then(Value::as_array)
            .is_some_and(|rules| rules.iter().any(|rule| has(rule, document::RULE_KEYS)))
}

/// Resolves a document: rules whose conditions don't hold are left out, the others keep their order.
///
/// Every rule is checked, whether it applies or not. A document without this format's keys comes out as it is.
///
/// # Errors
/// Everything that is wrong with the document, with its paths in the document. Besides what an OCI document can have
/// wrong: `name` with `names`, `archMap` with `architectures`, a word that is no capability, architecture, kernel version or
/// errno, and an `errno` that isn't its rule's `errnoRet`.
pub fn resolve(document: &Value, context: &Context) -> Result<Resolved, ParseErrors> {
    let (document, mut errors) = Document::read(document);
    let mut profile = match Profile::from_value(&document.oci, crate::Dialect::Oci) {
        Ok(profile) => profile,
        Err(more) => {
            errors.append(document.in_its_own_paths(more));
            return Err(errors);
        }
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    if let Some(arches) = document.architectures(context.arch) {
        profile.architectures = arches;
    }
    let (mut origins, mut left_out) = (Vec::new(), Vec::new());
    let mut applying = Vec::new();
    for (rule, conditions) in document.conditions.iter().enumerate() {
        match conditions.fails(context) {
            Some(because) => left_out.push(LeftOut { rule, because }),
            None => {
                origins.push(rule);
                applying.extend(profile.syscalls.get(rule).cloned());
            }
        }
    }
    profile.syscalls = applying;
    Ok(Resolved { profile, origins, left_out })
}

#[cfg(test)]
mod tests;
