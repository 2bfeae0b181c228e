//! The controller: resolves profiles into revisions, keeps their status true.
//!
//! Watches feed one picture of the cluster ([`world`]), pure and without I/O. It says which profiles a change concerns and what
//! the next step for a profile is; the reconciler takes these steps, 32 profiles at a time, each namespace in its turn, and leaves what takes
//! processor time to threads of its own. Where the files are follows from one
//! digest a node (see [`changelog`]), so a node's report costs each profile one comparison.

mod changelog;
mod cluster;
mod collect;
mod error;
mod lead;
mod metrics;
#[cfg(test)]
mod mock;
mod nodes;
mod observe;
mod plan;
mod pool;
mod queue;
mod reconcile;
mod recordings;
mod report_objects;
mod resolve;
mod revisions;
mod revocations;
mod settings;
mod shared;
mod sinks;
mod status;
mod usage;
mod world;

pub use error::Error;
pub use lead::run;
pub use settings::Settings;
