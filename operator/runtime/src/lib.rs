//! Start-up shared by the server roles: logs, probes, metrics, shutdown, supervised tasks, reports, watches, leader lease.
//!
//! A role's life: [`start`] makes a [`Process`]; the role registers its readiness gates and metrics, spawns what must not end with
//! [`Process::supervise`], and runs inside [`Process::run`] until [`Process::shutdown`] is cancelled.

mod client;
mod explain;
#[cfg(test)]
mod fake_api;
pub mod lease;
mod logs;
mod metrics;
mod process;
mod readiness;
mod report;
mod server;
mod settings;
pub mod watch;

pub use client::{ClientError, client};
pub use explain::explain;
pub use process::{BoxError, Failure, Process, StartError, TaskOutcome, start};
pub use readiness::{Readiness, ReadinessGate};
pub use report::{Level, Report, Reporter};
pub use settings::{LogFormat, Settings};

/// This build's version, as `--version`, `portcullis_build_info` and `SeccompNode` say it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
