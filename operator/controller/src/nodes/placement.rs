//! Whether the agent's DaemonSet puts a pod onto a node, as the DaemonSet controller and the scheduler decide it.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration},
};

/// The label that says which operating system a node runs:
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-os>.
pub(crate) const OS_LABEL: &str = "kubernetes.io/os";

/// Taints that the DaemonSet controller makes every one of its pods tolerate:
/// <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations>.
const ALWAYS_TOLERATED: [&str; 6] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unschedulable",
];

/// Where the DaemonSet wants its pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placement {
    node_selector: BTreeMap<String, String>,
    affinity: Option<NodeSelector>,
    tolerations: Vec<Toleration>,
}

impl Placement {
    /// Reads it off the pod template.
    pub(crate) fn of(daemon_set: DaemonSet) -> Self {
        let Some(spec) = daemon_set.spec.and_then(|spec| spec.template.spec) else { return Self::default() };
        Self {
            node_selector: spec.node_selector.unwrap_or_default(),
            affinity: spec
                .affinity
                .and_then(|affinity| affinity.node_affinity)
                .and_then(|node| node.required_during_scheduling_ignored_during_execution),
            tolerations: spec.tolerations.unwrap_or_default(),
        }
    }

    /// Whether a node of this name, with these labels and taints, gets a pod.
    pub(crate) fn matches(&self, name: &str, labels: &BTreeMap<String, String>, taints: &[Taint]) -> bool {
        self.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.affinity.as_ref().is_none_or(|affinity| {
                affinity.node_selector_terms.iter().any(|term| term_matches(term, name, labels))
            })
            && taints.iter().all(|taint| self.tolerates(taint))
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        // PreferNoSchedule keeps no pod away.
        !matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            || ALWAYS_TOLERATED.contains(&taint.key.as_str())
            || self.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    }
}

/// <https://github.com/kubernetes/api/blob/v0.36.0/core/v1/toleration.go#L52>.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
    if given(&toleration.effect).is_some_and(|effect| effect != taint.effect)
        || given(&toleration.key).is_some_and(|key| key != taint.key)
    {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    }
}

/// A term matches where all of its requirements do; a term without any matches nothing:
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#NodeSelectorTerm>.
fn term_matches(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|requirement| {
            requirement_matches(requirement, labels.get(&requirement.key).map(String::as_str))
        })
        && fields.iter().all(|field| field.key == "metadata.name" && requirement_matches(field, Some(name)))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let named = actual.is_some_and(|actual| values.iter().any(|value| value == actual));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let limit = number(values.first().map(String::as_str));
    match requirement.operator.as_str() {
        "In" => named,
        "NotIn" => !named,
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => number(actual).zip(limit).is_some_and(|(actual, limit)| actual > limit),
        "Lt" => number(actual).zip(limit).is_some_and(|(actual, limit)| actual < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn placement(pod_spec: &Value) -> Placement {
        let mut spec = json!({"containers": []});
        spec.as_object_mut().unwrap().extend(pod_spec.as_object().unwrap().clone());
        Placement::of(
            serde_json::from_value(json!({
                "metadata": {},
                "spec": {"selector": {}, "template": {"spec": spec}},
            }))
            .unwrap(),
        )
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint {
            key: key.to_owned(),
            value: Some(value.to_owned()),
            effect: effect.to_owned(),
            ..Taint::default()
        }
    }

    #[test]
    fn a_node_selector_must_match_in_full() {
        let placement = placement(&json!({"nodeSelector": {"kubernetes.io/os": "linux", "pool": "a"}}));
        assert!(placement.matches(
            "n",
            &labels(&[("kubernetes.io/os", "linux"), ("pool", "a"), ("x", "y")]),
            &[]
        ));
        assert!(!placement.matches("n", &labels(&[("kubernetes.io/os", "linux"), ("pool", "b")]), &[]));
        assert!(!placement.matches("n", &labels(&[("pool", "a")]), &[]));
    }

    #[test]
    fn affinity_terms_are_alternatives_of_requirements_that_must_all_hold() {
        let placement = placement(&json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [
                    {"key": "pool", "operator": "In", "values": ["a", "b"]},
                    {"key": "cores", "operator": "Gt", "values": ["4"]},
                    {"key": "old", "operator": "DoesNotExist"},
                ]},
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["special"]}]},
                {},
            ]},
        }}}));
        assert!(placement.matches("n", &labels(&[("pool", "b"), ("cores", "8")]), &[]));
        assert!(!placement.matches("n", &labels(&[("pool", "b"), ("cores", "4")]), &[]));
        assert!(!placement.matches("n", &labels(&[("pool", "b"), ("cores", "8"), ("old", "")]), &[]));
        assert!(placement.matches("special", &labels(&[]), &[]));
        assert!(
            !placement.matches("other", &labels(&[]), &[]),
            "a term without requirements matches nothing"
        );
    }

    #[test]
    fn a_taint_that_is_not_tolerated_keeps_the_agent_away() {
        let strict = placement(&json!({}));
        assert!(!strict.matches("n", &labels(&[]), &[taint("gpu", "yes", "NoSchedule")]));
        assert!(strict.matches("n", &labels(&[]), &[taint("gpu", "yes", "PreferNoSchedule")]));
        assert!(strict.matches(
            "n",
            &labels(&[]),
            &[taint("node.kubernetes.io/unschedulable", "", "NoSchedule")]
        ));
        let equal =
            placement(&json!({"tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}));
        assert!(equal.matches("n", &labels(&[]), &[taint("gpu", "yes", "NoSchedule")]));
        assert!(!equal.matches("n", &labels(&[]), &[taint("gpu", "no", "NoSchedule")]));
        assert!(!equal.matches("n", &labels(&[]), &[taint("gpu", "yes", "NoExecute")]));
        let everything = placement(&json!({"tolerations": [{"operator": "Exists"}]}));
        assert!(everything.matches("n", &labels(&[]), &[taint("a", "b", "NoExecute")]));
    }
}
