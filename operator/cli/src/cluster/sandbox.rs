//! Runtime classes whose containers have a kernel of their own.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::{Api, ResourceExt as _, api::ListParams};

use super::{
    Cluster,
    failure::{Attempt, FailureKind},
    pages,
};

/// Handlers of sandboxes, by how their names begin.
///
/// gVisor answers calls itself and loads no filter unless `runsc` has `--oci-seccomp`; Kata's agent loads none unless
/// `disable_guest_seccomp` is false.
///
/// Source: gVisor's runsc/config/flags.go; Kata's `src/runtime/config/configuration-qemu.toml.in`.
const SANDBOXES: [&str; 3] = ["runsc", "gvisor", "kata"];

/// Which handler each runtime class has.
#[derive(Debug, Default)]
pub(crate) struct RuntimeClasses(BTreeMap<String, String>);

impl RuntimeClasses {
    /// Reads those of a cluster; a user without the right to has a note instead, and their names must do.
    pub(crate) async fn read(cluster: &Cluster) -> Result<(Self, Option<String>)> {
        let attempt = Attempt::new::<RuntimeClass>("list", None);
        let mut handlers = BTreeMap::new();
        let api = Api::<RuntimeClass>::all(cluster.client.clone());
        let read = pages::each(&api, ListParams::default(), |class| {
            handlers.insert(class.name_any(), class.handler);
        });
        match read.await.map_err(|error| attempt.failed(&error)) {
            Ok(()) => Ok((Self(handlers), None)),
            Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
                Ok((Self::default(), Some(format!("runtime classes are judged by their names: {error:#}"))))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a class's containers run in a sandbox.
    pub(crate) fn is_sandbox(&self, class: &str) -> bool {
        let handler = self.0.get(class).map_or(class, String::as_str).to_ascii_lowercase();
        SANDBOXES.iter().any(|sandbox| handler.starts_with(sandbox))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_a_sandbox_by_its_handler_and_else_by_its_name() {
        let classes = RuntimeClasses(BTreeMap::from([
            ("strong".to_owned(), "kata-qemu".to_owned()),
            ("gvisor".to_owned(), "runc".to_owned()),
        ]));
        let found = ["strong", "gvisor", "runsc-kvm", "kata", "crun"].map(|class| classes.is_sandbox(class));
        assert_eq!(found, [true, false, true, true, false]);
    }
}
