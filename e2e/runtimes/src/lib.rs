//! What container runtimes make of filters that answer their own calls, measured.
//!
//! A runtime loads a container's filter before it is done with it: without `no_new_privs` before it gives up privileges, and before it
//! closes descriptors in any case. So a filter can answer the runtime's own calls. Each measurement starts one container under the
//! runtime default but for one answer (or a few), looks at its process from outside, and compares that with what the container gets
//! under the runtime default itself. `operator/profile/data/privileges.tsv` is the result, and the model judges profiles by it.

mod answer;
mod base;
mod check;
mod command;
mod debian;
mod job;
mod observed;
mod pool;
mod request;
mod runtime;
mod setting;
mod stillness;
mod sweep;
mod table;
mod targets;

use std::path::Path;

pub use answer::{Answer, Filter, Target, answering};
pub use base::lacks_of_base;
pub use check::{differences, measure_sample};
pub use command::output;
pub use debian::Debian;
pub use job::serve;
pub use observed::{Effect, Observed};
pub use pool::{Effects, Expected, Pool, missing};
pub use request::Request;
pub use runtime::{Name, Runtime, Source};
pub use setting::{Setting, Way};
pub use sweep::{Depth, sweep};
pub use table::{Measured, Place, Table};

/// The repository's root, where the workspace's Cargo.toml is.
#[must_use]
pub fn workspace_root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}
