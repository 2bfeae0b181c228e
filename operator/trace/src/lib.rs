//! Which system calls a command makes, seen by ptrace(2): what a user who is not root can record with.
//!
//! A [`Tracer`] takes over a child that has stopped itself, follows everything that it starts, and counts as the probe does: from the
//! command's own execve(2) on, that call included, each call as it is entered. It does nothing by itself: whoever drives it calls
//! [`Tracer::advance`] whenever the process got a SIGCHLD.
//!
//! It stops each task twice a call, so it costs far more than the probe; docs/recording.md says how much. Other than the probe it
//! sees a call before the program's own filter does, so it counts what that filter denies as well.
//!
//! [`filters`] reads the seccomp filters that a task is under, which takes root.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod error;
mod filters;
mod request;
mod rights;
mod seen;
mod tracer;

pub use error::Error;
pub use filters::{Filter, Unread, filters};
pub use tracer::{Progress, Tracer};
