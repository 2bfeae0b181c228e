//! What `/readyz` waits for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The gates between start-up and readiness.
///
/// A role registers all its gates before it awaits anything; a process without a gate is not ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

/// One thing that has to happen before the process is ready. Dropped unopened it stays closed for good.
#[derive(Debug)]
pub struct ReadinessGate {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Registers a closed gate; `/readyz` names it until it is opened.
    #[must_use]
    pub fn gate(&self, name: &'static str) -> ReadinessGate {
        self.set(name, false);
        ReadinessGate { name, readiness: self.clone() }
    }

    /// Whether there are gates and all are open.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.closed().is_some_and(|closed| closed.is_empty())
    }

    /// The gates that are closed; none at all while no gate is registered.
    pub(crate) fn closed(&self) -> Option<Vec<&'static str>> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        (!gates.is_empty()).then(|| gates.iter().filter(|(_, open)| !**open).map(|(name, _)| *name).collect())
    }

    fn set(&self, name: &'static str, open: bool) {
        // A map of flags is whole after any panic.
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).insert(name, open);
    }
}

impl ReadinessGate {
    /// Opens the gate. Opening it again changes nothing.
    pub fn open(&self) {
        self.readiness.set(self.name, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_when_every_gate_is_open() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready(), "ready before any gate");
        let (first, second) = (readiness.gate("first"), readiness.gate("second"));
        first.open();
        assert_eq!(readiness.closed(), Some(vec!["second"]));
        second.open();
        assert!(readiness.is_ready());
    }
}
