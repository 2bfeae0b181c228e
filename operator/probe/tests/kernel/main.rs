//! Tests of the probe on the running kernel. They need root, BTF and gcc, and say so where one is missing.
//!
//! What is true is known beforehand: the subject (`subject.c`) makes exactly the calls that a test names. Each test has a node name
//! and cgroups of its own, so tests disturb neither each other nor a cluster on the same machine.
#![cfg(target_arch = "x86_64")]

mod application;
mod arguments;
mod calls;
mod denials;
mod identity;
mod lifecycle;
mod limits;
mod machine;
mod pins;
mod privileges;
