//! Against a registry in memory, which tells the truth where it is not told to lie.

mod authentication;
mod fake;
mod images;
mod indexes;
mod lies;
mod profiles;
