//! Pods for tests, and what a pod's status says.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ContainerStateWaiting, Pod};
use serde_json::{Value, json};

use crate::image::BUSYBOX;

/// A pod of one busybox container that sleeps and ends at once when it is asked to. `spec` is merged over the pod's: a node's
/// name, a security context.
///
/// # Errors
/// Where `spec` has fields that no pod has.
pub fn busybox(name: &str, spec: &Value) -> Result<Pod> {
    let mut pod = json!({
        "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "busybox",
                "image": BUSYBOX,
                "command": ["sleep", "infinity"],
            }],
        },
    });
    merge(&mut pod["spec"], spec);
    serde_json::from_value(pod).with_context(|| format!("{name} is no pod"))
}

/// Puts every field of an object over another's, objects within objects too; lists are replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Whether all containers of a pod run.
#[must_use]
pub fn is_running(pod: &Pod) -> bool {
    let statuses =
        pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let running = |state: &k8s_openapi::api::core::v1::ContainerState| state.running.is_some();
    !statuses.is_empty() && statuses.iter().all(|status| status.state.as_ref().is_some_and(running))
}

/// Whether a pod is Ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Why the first container that waits does so, such as `CreateContainerError`.
#[must_use]
pub fn waiting_reason(pod: &Pod) -> Option<&ContainerStateWaiting> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
    statuses.iter().find_map(|status| status.state.as_ref()?.waiting.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_spec_is_merged_over_the_usual_one() {
        let spec = json!({ "nodeName": "node2", "terminationGracePeriodSeconds": 5 });
        let pod = busybox("x", &spec).unwrap().spec.unwrap();
        assert_eq!(pod.node_name.as_deref(), Some("node2"));
        assert_eq!(pod.termination_grace_period_seconds, Some(5));
        assert_eq!(pod.containers[0].image.as_deref(), Some(BUSYBOX));
    }

    #[test]
    fn a_pod_without_statuses_does_not_run() {
        assert!(!is_running(&Pod::default()) && !is_ready(&Pod::default()));
        assert_eq!(waiting_reason(&Pod::default()), None);
    }
}
