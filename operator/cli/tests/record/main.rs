//! `record` as a user sees it, on the running kernel. What is done by eBPF needs root; the container needs runc and busybox.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod command;
mod container;
mod machine;
mod root;
mod threads;
