//! What a profile is compared with.

use std::fmt;

use super::{KNOWN, RuntimeDefault, STRICTEST, runtime_default, runtime_defaults};
use crate::{Arch, Profile};

/// The filter that a container would have without a profile of its own, on nodes of each architecture.
#[derive(Clone, Debug, Default)]
pub struct Baseline(Filter);

#[derive(Clone, Debug, Default)]
enum Filter {
    #[default]
    Strictest,
    /// A runtime's own.
    Known(&'static str),
    /// Somebody's choice, on nodes of every architecture.
    Chosen { source: String, profile: Box<Profile> },
}

impl Baseline {
    /// The strictest supported runtime default.
    #[must_use]
    pub fn strictest() -> Self {
        Self::default()
    }

    /// A runtime's own default, such as `containerd@2.4`, or `strictest`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name == STRICTEST {
            return Some(Self::strictest());
        }
        KNOWN.iter().find(|known| known.name == name).map(|known| Self(Filter::Known(known.name)))
    }

    /// The names that [`Self::named`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let known = KNOWN.iter().filter(|known| known.arch == Arch::X86_64).map(|known| known.name);
        std::iter::once(STRICTEST).chain(known)
    }

    /// A profile, whatever the nodes; `source` says for people where it is from.
    #[must_use]
    pub fn chosen(source: String, profile: Profile) -> Self {
        Self(Filter::Chosen { source, profile: Box::new(profile) })
    }

    /// The filter on nodes of an architecture, where there is one.
    #[must_use]
    pub fn on(&self, arch: Arch) -> Option<&Profile> {
        match &self.0 {
            Filter::Strictest => runtime_default(arch).map(|default| &default.profile),
            Filter::Known(name) => known(name, arch).map(|known| &known.profile),
            Filter::Chosen { profile, .. } => Some(profile),
        }
    }

    /// What it is, for people: `the strictest of containerd 1.7.35, 2.4.2 and CRI-O 1.37`.
    #[must_use]
    pub fn source(&self) -> &str {
        match &self.0 {
            Filter::Strictest => runtime_defaults().first().map_or(STRICTEST, |default| &default.source),
            Filter::Known(name) => known(name, Arch::X86_64).map_or(name, |known| &known.source),
            Filter::Chosen { source, .. } => source,
        }
    }
}

/// The one phrase by which every message and page names it.
impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Filter::Strictest => write!(f, "the runtime default ({})", self.source()),
            Filter::Known(_) => write!(f, "the runtime default of {}", self.source()),
            Filter::Chosen { source, .. } => write!(f, "the baseline {source}"),
        }
    }
}

fn known(name: &str, arch: Arch) -> Option<&'static RuntimeDefault> {
    KNOWN.iter().find(|known| known.name == name && known.arch == arch)
}
