//! Seccomp profiles in OCI registries: push, pull, profiles baked into images, and the index of shared profiles.
//!
//! Registries are other people's computers. Everything read from one is bounded in size and time, and nothing is
//! returned that was not verified against a digest: a manifest against the reference's (where it has one) and the
//! registry's own, a blob against its descriptor's.
//!
//! The requests are made here and not by a client crate, because of those bounds: `oci-client` 0.18 reads manifests,
//! tokens and errors whole whatever their length (`Response::bytes`, `Response::text` in its `src/client.rs`), and
//! panics on an upload location that is no URL (`Url::parse(location).unwrap()`, `push_monolithically`).
#![forbid(unsafe_code)]

mod access;
mod blob;
mod credentials;
mod error;
mod format;
mod image;
mod index;
mod inspect;
mod manifest;
mod operator_profile;
mod platform;
mod pull;
mod push;
mod reference;
mod repository;
#[doc(hidden)]
pub mod strangers;
mod token;
mod transport;

pub use access::Access;
pub use credentials::{Credential, CredentialFiles};
pub use error::{Error, Result};
pub use format::{MAX_ARTIFACT_BYTES, SECCOMP_MEDIA_TYPE, refusals};
pub use index::{
    Entry, INDEX_MEDIA_TYPE, Index, MAX_INDEX_BYTES, Maintainer, Source as IndexSource, Version,
    fetch as fetch_index,
};
pub use inspect::{Inspection, LayerSummary, ProfileSummary, inspect};
pub use manifest::Kind;
pub use platform::Platform;
pub use pull::{Pulled, Read, Wanted, pull};
pub use push::{Pushed, push};
pub use reference::Reference;
