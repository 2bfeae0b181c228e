//! What end-to-end tests need besides a cluster: a namespace of their own that explains a failure, and waiting for conditions.

pub mod agents;
mod dump;
pub mod flood;
mod namespace;
mod pods;
pub mod profiles;
mod tokens;
pub mod torture;
mod users;
mod waiting;
mod watch;

pub use dump::dump;
pub use namespace::{NamespaceOptions, TestNamespace, with_namespace, with_namespace_options};
pub use pods::{busybox, is_ready, is_running, waiting_reason};
pub use tokens::with_token;
pub use users::{impersonating, tenant_of};
pub use waiting::{Seen, await_gone, await_object, eventually, wait_for};
pub use watch::Watch;
