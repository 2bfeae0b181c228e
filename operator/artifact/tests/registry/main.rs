//! Against a registry in memory, which tells the truth where it is not told to lie.
#![allow(clippy::unwrap_used, reason = "everything here is a test, the functions that tests share too")]

mod authentication;
mod fake;
mod images;
mod indexes;
mod lies;
mod profiles;
