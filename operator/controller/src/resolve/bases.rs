//! Follows `spec.bases`: cycles, depth and what is missing end in a stall that names the way there, not in a loop.

use std::{collections::BTreeSet, sync::Arc};

use portcullis_api::{BaseReference, MAX_BASE_DEPTH, Owner, ProfileKind, Reason};
use portcullis_profile::Profile;

use crate::status::Stall;

/// What a profile has to give to those that build on it: its spec, whatever its mode or pin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// Its own document; none where it has bases only.
    pub(crate) document: Option<Arc<Profile>>,
    /// What it builds on itself.
    pub(crate) bases: Vec<BaseReference>,
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

/// A document that goes into a profile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// Where it was found, such as `spec.bases[0] (ClusterSeccompProfile base)`.
    pub(crate) at: String,
    /// Whether it is the profile's own.
    pub(crate) is_own: bool,
    pub(crate) document: Arc<Profile>,
}

/// What the bases came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Gathered {
    /// These have to be fetched first.
    Needs(Vec<Owner>),
    /// Every document, the profile's own first; each base once.
    Parts(Vec<Part>),
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
/// Where a base is missing, refused, or leads back or too deep.
pub(crate) fn gather(
    owner: &Owner,
    source: &Source,
    lookup: impl Fn(&Owner) -> Lookup,
) -> Result<Gathered, Stall> {
    let mut walk =
        Walk { lookup, path: vec![owner.clone()], done: BTreeSet::new(), needs: vec![], parts: vec![] };
    walk.parts.extend(source.document.clone().map(|document| Part {
        at: "spec.profile".to_owned(),
        is_own: true,
        document,
    }));
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
    parts: Vec<Part>,
}

impl<L: Fn(&Owner) -> Lookup> Walk<L> {
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
        self.parts.extend(source.document.clone().map(|document| Part {
            at: format!("{field} ({base})"),
            is_own: false,
            document,
        }));
        self.path.push(base.clone());
        self.bases(base, &source.bases, &format!(" of {base}"))?;
        self.path.pop();
        self.done.insert(base.clone());
        Ok(())
    }
}
