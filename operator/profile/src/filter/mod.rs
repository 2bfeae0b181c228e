//! What the kernel enforces: programs of classic BPF, read.
//!
//! A container runtime makes a program of a profile, and the kernel knows nothing but the program. Here a program is checked as the
//! kernel checks it ([`Program`]), run as the kernel runs it ([`Program::run`], [`enforced`]), read along all of its paths at once
//! ([`Reading`]), and compared with a profile by the comparison that two profiles have ([`Reading::changes_from`]). Where the words came
//! from is nobody's business here: a task's filter by ptrace(2), a file, a probe in the kernel.

mod assembly;
mod check;
mod instruction;
mod read;
mod relation;
mod returned;
mod run;
mod summary;
mod write;

pub use assembly::Assembly;
pub use check::{Fault, Program, Reject};
pub use instruction::{INSTRUCTION_BYTES, Instruction};
pub use read::{Reading, Reservation, TooComplex, Unsaid};
pub use relation::Standing;
pub use returned::outcome;
pub use run::{Data, enforced};
pub use summary::{Decided, Others, Summary};
pub use write::Written;

pub(crate) use returned::{action, architecture, audit_architecture};
