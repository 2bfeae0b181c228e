//! Follows `spec.bases`: cycles, depth and what is missing end in a stall that names the way there, not in a loop.

use std::{collections::BTreeSet, sync::Arc};

use portcullis_api::{BaseReference, MAX_BASE_DEPTH, Owner, ProfileKind, Reason};
use portcullis_profile::Profile;

use super::Document;
use crate::status::Stall;

/// Most bytes of the documents that make one profile, as the API server keeps them. Read, they take some fourteen times as much.
pub(crate) const MAX_GATHERED_BYTES: usize = 1024 * 1024;
/// Documents of a profile and its bases together: the time to unite them grows with their number.
const MAX_PARTS: usize = 32;

/// What a profile has to give to those that build on it: its spec, whatever its mode or pin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// Its own document; none where it has bases only.
    pub(crate) document: Option<Document>,
    /// What it builds on itself.
    pub(crate) bases: Vec<BaseReference>,
}

impl Source {
    /// How many bytes its document has.
    pub(crate) fn bytes(&self) -> usize {
        self.document.as_ref().map_or(0, Document::len)
    }
}

/// What looking for a base came to.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    /// It does not exist.
    Absent,
    /// It exists; its document has to be fetched first.
    NotHeld,
    /// Its own document is refused.
    Refused(String),
    /// Here it is.
    Found(Arc<Source>),
}

/// A document that goes into a profile: as it came, or read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part<D = Arc<Profile>> {
    /// Where it was found, such as `spec.bases[0] (ClusterSeccompProfile base)`.
    pub(crate) at: String,
    /// Whether it is the profile's own.
    pub(crate) is_own: bool,
    pub(crate) document: D,
}

/// What the bases came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Gathered {
    /// These have to be fetched first.
    Needs(Vec<Owner>),
    /// Every document, the profile's own first; each base once.
    Parts(Vec<Part<Document>>),
}

/// The base that a reference names, seen from a profile.
///
/// # Errors
/// Where it can't be one: a cluster profile has no namespace to look for a `SeccompProfile` in.
pub(crate) fn owner_of_base(owner: &Owner, base: &BaseReference) -> Result<Owner, String> {
    match (base.kind, owner.namespace()) {
        (ProfileKind::ClusterSeccompProfile, _) => Owner::cluster(&base.name),
        (ProfileKind::SeccompProfile, Some(namespace)) => Owner::namespaced(namespace, &base.name),
        (ProfileKind::SeccompProfile, None) => {
            return Err("a ClusterSeccompProfile can only build on ClusterSeccompProfiles".to_owned());
        }
    }
    .map_err(|error| error.to_string())
}

/// Collects a profile's documents.
///
/// # Errors
/// Where a base is missing, refused, or leads back or too deep, or all documents together are too large.
pub(crate) fn gather(
    owner: &Owner,
    source: &Source,
    lookup: impl Fn(&Owner) -> Lookup,
) -> Result<Gathered, Stall> {
    let mut walk = Walk {
        lookup,
        path: vec![owner.clone()],
        done: BTreeSet::new(),
        needs: vec![],
        parts: vec![],
        bytes: 0,
    };
    walk.take("spec.profile".to_owned(), true, source)?;
    walk.bases(owner, &source.bases, "")?;
    if !walk.needs.is_empty() {
        return Ok(Gathered::Needs(walk.needs));
    }
    if walk.parts.is_empty() {
        return Err(Stall {
            reason: Reason::InvalidProfile,
            message: "spec: neither spec.profile nor any of spec.bases holds a document: give one".to_owned(),
        });
    }
    Ok(Gathered::Parts(walk.parts))
}

struct Walk<L> {
    lookup: L,
    path: Vec<Owner>,
    done: BTreeSet<Owner>,
    needs: Vec<Owner>,
    parts: Vec<Part<Document>>,
    bytes: usize,
}

impl<L: Fn(&Owner) -> Lookup> Walk<L> {
    fn take(&mut self, at: String, is_own: bool, source: &Source) -> Result<(), Stall> {
        let Some(document) = source.document.clone() else { return Ok(()) };
        if self.parts.len() == MAX_PARTS {
            return Err(Stall {
                reason: Reason::BasesTooLarge,
                message: format!(
                    "{at}: it is more than the {MAX_PARTS} documents that a profile may be made of, with all bases of its bases: build on \
                     fewer"
                ),
            });
        }
        self.bytes += document.len();
        if self.bytes > MAX_GATHERED_BYTES {
            return Err(Stall {
                reason: Reason::BasesTooLarge,
                message: format!(
                    "{at}: with it the documents of the profile and its bases have {} bytes, more than {MAX_GATHERED_BYTES} (1 MiB) \
                     together: build on fewer, or on smaller ones",
                    self.bytes
                ),
            });
        }
        self.parts.push(Part { at, is_own, document });
        Ok(())
    }

    fn bases(&mut self, of: &Owner, bases: &[BaseReference], via: &str) -> Result<(), Stall> {
        for (index, reference) in bases.iter().enumerate() {
            let field = format!("spec.bases[{index}]{via}");
            let base = owner_of_base(of, reference).map_err(|problem| Stall {
                reason: Reason::BaseNotFound,
                message: format!("{field}: {problem}"),
            })?;
            self.base(&base, &field)?;
        }
        Ok(())
    }

    fn base(&mut self, base: &Owner, field: &str) -> Result<(), Stall> {
        if let Some(start) = self.path.iter().position(|owner| owner == base) {
            let way: Vec<String> = self.path[start..].iter().chain([base]).map(ToString::to_string).collect();
            return Err(Stall {
                reason: Reason::BaseCycle,
                message: format!("{field}: the bases lead in a circle: {}", way.join(" -> ")),
            });
        }
        // A base that is reached in two ways is united once.
        if self.done.contains(base) {
            return Ok(());
        }
        if self.path.len() > MAX_BASE_DEPTH {
            return Err(Stall {
                reason: Reason::BaseTooDeep,
                message: format!(
                    "{field}: {base} is more than {MAX_BASE_DEPTH} bases away: build on it more directly"
                ),
            });
        }
        let source = match (self.lookup)(base) {
            Lookup::Absent => {
                return Err(Stall {
                    reason: Reason::BaseNotFound,
                    message: format!("{field}: {base} does not exist: create it, or take it out"),
                });
            }
            Lookup::Refused(problem) => {
                return Err(Stall {
                    reason: Reason::BaseInvalid,
                    message: format!("{field}: {base} is refused itself: {problem}"),
                });
            }
            Lookup::NotHeld => {
                self.needs.push(base.clone());
                self.done.insert(base.clone());
                return Ok(());
            }
            Lookup::Found(source) => source,
        };
        self.take(format!("{field} ({base})"), false, &source)?;
        self.path.push(base.clone());
        self.bases(base, &source.bases, &format!(" of {base}"))?;
        self.path.pop();
        self.done.insert(base.clone());
        Ok(())
    }
}
