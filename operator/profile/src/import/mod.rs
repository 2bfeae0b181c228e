//! Profiles from what was seen: traces of strace(1), audit records, and the output of oci-seccomp-bpf-hook.
//!
//! The parsers are fed bytes in pieces of any size and keep no more than a bounded part of them, whatever they hold.
//! What can't be read is counted and its first examples kept ([`Unread`]); nothing is guessed.

pub mod audit;
mod calls;
mod generate;
pub mod hook;
mod lines;
mod observed;
pub mod strace;
pub mod trace;
mod unread;

pub use calls::CallName;
pub use generate::{Generated, Generation, Note};
pub use observed::{ArgumentRule, MAX_VALUES, Observed, RULED_ARGUMENTS};
pub use unread::{Example, MAX_EXAMPLES, Reason, Unread};
