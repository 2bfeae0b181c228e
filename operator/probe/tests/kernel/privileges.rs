//! Which capabilities are enough.

use std::thread;

use portcullis_probe::{Attachment, Probe, uninstall};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::machine::{DENIALS, Node};

/// Capabilities belong to a thread, so one that ends with its test can give its own up.
fn with(capabilities: CapabilitySet, test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        let sets = CapabilitySets {
            effective: capabilities,
            permitted: capabilities,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).expect("capabilities can be given up");
        test();
    });
    thread.join().expect("the test passes");
}

#[test]
fn cap_bpf_and_cap_perfmon_suffice() {
    let mut node = Node::new();
    let settings = node.settings.clone();
    let pod = node.pod();
    let target = pod.target();
    node.close();
    uninstall(&settings.pins, &settings.node).expect("pins can be removed");
    with(CapabilitySet::BPF | CapabilitySet::PERFMON, move || {
        let mut probe = Probe::open(&settings).expect("two capabilities suffice");
        probe.watch(&target, DENIALS).expect("programs can be attached");
        assert_eq!(probe.attachment(), Attachment::Typed);
        probe.snapshot().expect("maps can be read");
        drop(probe);
        assert!(uninstall(&settings.pins, &settings.node).expect("pins can be removed"));
    });
}

#[test]
fn a_missing_capability_is_named() {
    let mut node = Node::new();
    let settings = node.settings.clone();
    node.close();
    uninstall(&settings.pins, &settings.node).expect("pins can be removed");
    for capabilities in [CapabilitySet::empty(), CapabilitySet::PERFMON, CapabilitySet::BPF] {
        let settings = settings.clone();
        with(capabilities, move || {
            let error = Probe::open(&settings).expect_err("a capability is missing");
            assert!(error.to_string().contains("CAP_BPF"), "{error}");
        });
    }
}
