//! The probe: which system calls containers make, counted in the kernel by eBPF.
//!
//! A [`Probe`] is told what to [`watch`](Probe::watch): pods, containers, or cgroups. The kernel then finds the containers by itself,
//! by the names of their cgroups, and counts by container; [`Probe::snapshot`] reads what was counted. There is no stream of
//! events, so there is none to overflow: what a full map could not take is counted ([`Losses`], [`Lost`]).
//!
//! Everything is pinned in a BPF file system under the node's name, so a process that starts again goes on where the last one
//! ended, and [`uninstall`] removes all of it. `CAP_BPF` and `CAP_PERFMON` suffice. Linux 5.15 or later is needed.
#![forbid(unsafe_code)]

mod arguments;
mod cgroups;
mod clock;
mod error;
mod layout;
mod observation;
mod pins;
mod probe;
mod programs;
mod settings;
mod slots;
mod snapshot;
mod target;

pub use arguments::{KEPT_ARGUMENTS, KeptArgument, MAX_VALUES};
pub use cgroups::{Place, Places};
pub use error::Error;
pub use observation::{observation, seconds};
pub use pins::uninstall;
pub use probe::{Absence, Attachment, Probe};
pub use settings::{Capacity, Hierarchy, Settings, Tracing};
pub use snapshot::{
    Argument, Call, Container, ContainerKey, Count, Exit, Losses, Lost, Recorded, Snapshot, Values,
};
pub use target::{CgroupPath, ContainerId, InvalidTarget, PodUid, Start, Target, Watch};

/// Empty programs on the same tracepoints, for the bench: what the tracepoints cost by themselves.
#[doc(hidden)]
pub static EMPTY_PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/empty.o"));
