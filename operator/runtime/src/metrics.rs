//! The registry that every role starts with.

use prometheus::{IntGaugeVec, Opts, Registry, process_collector::ProcessCollector};

use crate::VERSION;

/// A registry with build information and the process's own figures.
pub(crate) fn registry(role: &'static str) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let build = IntGaugeVec::new(
        Opts::new("portcullis_build_info", "1, labelled with this build's version and the process's role"),
        &["version", "role"],
    )?;
    build.with_label_values(&[VERSION, role]).set(1);
    registry.register(Box::new(build))?;
    Ok(registry)
}
