//! Portcullis on a real cluster: what only kubelets, a runtime, an API server and two nodes can show. One binary, so that the
//! operator is built and installed once for all of it.

mod admission;
mod bases;
mod bounds;
mod crash;
mod deletion;
mod disk_full;
mod distribute;
mod drift;
mod faults;
mod flapping;
mod flood;
mod gate;
mod history;
mod hostile;
mod label;
mod pods;
mod requests;
mod restarts;
mod revoked;
mod status;
mod support;
mod watching;
