//! The seccomp model: parse, lint, render, compose, compare and evaluate OCI seccomp profiles, and read the kernel's programs.
//!
//! This crate has no I/O, no async and knows nothing of Kubernetes.
#![forbid(unsafe_code)]

mod arguments;
pub mod audit;
mod combine;
pub mod compare;
pub mod compose;
pub mod constants;
mod digest;
pub mod docker;
pub mod errno;
pub mod evaluate;
pub mod explain;
pub mod filter;
mod goarch;
pub mod import;
pub mod lint;
pub mod merge;
mod model;
mod parse;
pub mod privileges;
pub mod program;
pub mod recording;
mod render;
pub mod runtime_base;
mod runtime_default;
pub mod simulate;
pub mod spo;
pub mod syscalls;
mod text;

pub use digest::{Digest, InvalidDigest};
pub use model::{Action, Arch, Arg, Flag, Operator, Profile, Rule};
pub use parse::{Dialect, MAX_DOCUMENT_BYTES, MAX_REVISION_BYTES, ParseError, ParseErrors, take_idle_keys};
pub use runtime_default::{
    Baseline, FALLBACKS, Fallback, RuntimeDefault, STRICTEST, fall_back, fallback, known_runtime_defaults,
    runtime_default, runtime_defaults, supported_runtime_defaults,
};
pub use text::{escaped, is_printable, printable};
