//! The filter that a container gets with `type: RuntimeDefault` and no added capability.
//!
//! Runtimes and their versions have different ones, and a profile is served to nodes of all. So what a profile is compared with
//! is the strictest: what the default of every supported runtime allows. The documents are in `data/runtime-default`; where
//! each comes from stands in `data/README.md`.

use std::sync::LazyLock;

use crate::{Arch, Profile};

/// Two documents of each source: for nodes of x86-64 and of aarch64.
macro_rules! documents {
    ($($name:literal, $source:literal, $file:literal;)*) => {
        pub(super) const DOCUMENTS: &[super::Document] = &[$(
            super::Document {
                name: $name,
                source: $source,
                arch: crate::Arch::X86_64,
                bytes: include_bytes!(concat!("../../data/runtime-default/", $file, "-x86_64.json")),
            },
            super::Document {
                name: $name,
                source: $source,
                arch: crate::Arch::Aarch64,
                bytes: include_bytes!(concat!("../../data/runtime-default/", $file, "-aarch64.json")),
            },
        )*];
    };
}

mod baseline;
mod documents;
mod fallbacks;

pub use baseline::Baseline;
pub use fallbacks::{FALLBACKS, Fallback, fall_back, fallback};

/// A runtime's default on nodes of one architecture, and its source.
#[derive(Debug)]
pub struct RuntimeDefault {
    /// The node's architecture.
    pub arch: Arch,
    /// What to call it on a command line: `containerd@2.4`.
    pub name: &'static str,
    /// The runtime and its version.
    pub source: String,
    /// The filter, in canonical form.
    pub profile: Profile,
}

/// The name of the strictest.
pub const STRICTEST: &str = "strictest";

/// A committed document.
struct Document {
    name: &'static str,
    source: &'static str,
    arch: Arch,
    bytes: &'static [u8],
}

impl Document {
    fn read(&self, source: String) -> RuntimeDefault {
        // The bytes are part of the program, and a test reads them.
        let profile = Profile::parse(self.bytes).expect("the committed runtime default is a profile");
        RuntimeDefault { arch: self.arch, name: self.name, source, profile }
    }
}

static STRICTEST_DEFAULTS: LazyLock<Vec<RuntimeDefault>> = LazyLock::new(|| {
    let document = |arch, bytes| Document { name: STRICTEST, source: "", arch, bytes };
    let documents = [
        document(Arch::X86_64, include_bytes!("../../data/runtime-default/strictest-x86_64.json")),
        document(Arch::Aarch64, include_bytes!("../../data/runtime-default/strictest-aarch64.json")),
    ];
    documents.iter().map(|document| document.read(strictest_of())).collect()
});

/// A runtime that is out of support and not among those of which the strictest is made, but still what some nodes have.
const OBSOLETE: [Document; 2] = [
    Document {
        name: "containerd@1.6",
        source: "containerd 1.6.20",
        arch: Arch::X86_64,
        bytes: include_bytes!("../../data/runtime-default/containerd-1.6.20-x86_64.json"),
    },
    Document {
        name: "containerd@1.6",
        source: "containerd 1.6.20",
        arch: Arch::Aarch64,
        bytes: include_bytes!("../../data/runtime-default/containerd-1.6.20-aarch64.json"),
    },
];

static KNOWN: LazyLock<Vec<RuntimeDefault>> = LazyLock::new(|| {
    let all = documents::DOCUMENTS.iter().chain(&OBSOLETE);
    all.map(|document| document.read(document.source.to_owned())).collect()
});

/// `the strictest of containerd 1.7.35, 2.4.2 and CRI-O 1.37`.
fn strictest_of() -> String {
    let mut sources: Vec<&str> = documents::DOCUMENTS.iter().map(|document| document.source).collect();
    sources.dedup();
    let mut words = "the strictest of ".to_owned();
    for (position, source) in sources.iter().enumerate() {
        let runtime = |source: &str| source.split_once(' ').map(|(runtime, _)| runtime.to_owned());
        let again = position > 0 && runtime(sources[position - 1]) == runtime(source);
        words.push_str(match position {
            0 => "",
            _ if position + 1 == sources.len() => " and ",
            _ => ", ",
        });
        words.push_str(if again {
            source.split_once(' ').map_or(source, |(_, version)| version)
        } else {
            source
        });
    }
    words
}

/// The strictest supported runtime default on nodes of an architecture: x86-64 and aarch64 have one here, no other.
///
/// It allows what the defaults of all supported runtimes allow, so a profile that is nowhere looser is nowhere looser than
/// `RuntimeDefault` on any node with one of them.
#[must_use]
pub fn runtime_default(arch: Arch) -> Option<&'static RuntimeDefault> {
    runtime_defaults().iter().find(|default| default.arch == arch)
}

/// The strictest supported runtime default of each architecture that has one here.
#[must_use]
pub fn runtime_defaults() -> &'static [RuntimeDefault] {
    &STRICTEST_DEFAULTS
}

/// The runtimes' own defaults: of each runtime and architecture that is known here one.
#[must_use]
pub fn known_runtime_defaults() -> &'static [RuntimeDefault] {
    &KNOWN
}

/// Those of which the strictest is made.
pub fn supported_runtime_defaults() -> impl Iterator<Item = &'static RuntimeDefault> {
    KNOWN.iter().take(documents::DOCUMENTS.len())
}

#[cfg(test)]
mod tests;
