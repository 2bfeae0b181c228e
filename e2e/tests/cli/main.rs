//! `kubectl-seccomp` as a user runs it: the real program, on a real cluster with Portcullis on it.

mod completion;
mod examples;
mod loops;
mod rights;
mod tool;
mod watches;
mod why;
