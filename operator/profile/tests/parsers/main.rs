//! The properties that `make fuzz` tries ten million times, on fewer inputs and with the stable toolchain.
//!
//! Inputs are the seeds of the fuzz targets with a few bytes changed, parts of them joined, and bytes of no sense.

#[macro_use]
mod harness;
mod properties;

use proptest::prelude::*;

parsers!(profile, docker, strace, strace_table, audit, hook, argument, program);
