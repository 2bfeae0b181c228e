//! The node's files: every operation is relative to a directory handle and follows no symbolic link.

mod directory;
mod file;
mod index;
mod store;
mod watches;

pub(crate) use directory::{Base, Directory, Namespace, OpenError, names};
pub(crate) use file::{Cause, Condition, Staged, examine, inode, read, remove, sync_all};
pub(crate) use index::Index;
pub(crate) use store::Store;
pub(crate) use watches::{Changes, Place, Watches};
