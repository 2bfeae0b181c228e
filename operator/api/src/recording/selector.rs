//! A label selector with bounds, which Kubernetes' own has none of.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Which pods are recorded: those that meet all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSelector {
    /// Labels that a pod must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions on a pod's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<PodSelectorRequirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(self.operator == 'In' || self.operator == 'NotIn') == (has(self.values) && self.values.size() > 0)")
        .message("In and NotIn need values, Exists and DoesNotExist take none")
        .field_path(".values"),
)]
pub struct PodSelectorRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label's value is compared.
    pub operator: PodSelectorOperator,
    /// The values for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "label_values")]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodSelectorOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is missing.
    NotIn,
    /// It is there.
    Exists,
    /// It is missing.
    DoesNotExist,
}

impl From<&PodSelector> for LabelSelector {
    fn from(selector: &PodSelector) -> Self {
        let requirement = |requirement: &PodSelectorRequirement| LabelSelectorRequirement {
            key: requirement.key.clone(),
            operator: match requirement.operator {
                PodSelectorOperator::In => "In",
                PodSelectorOperator::NotIn => "NotIn",
                PodSelectorOperator::Exists => "Exists",
                PodSelectorOperator::DoesNotExist => "DoesNotExist",
            }
            .to_owned(),
            values: (!requirement.values.is_empty()).then(|| requirement.values.clone()),
        };
        Self {
            match_labels: Some(selector.match_labels.clone()),
            match_expressions: Some(selector.match_expressions.iter().map(requirement).collect()),
        }
    }
}

/// A label's value: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.
const VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": VALUE},
    })
}

fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {"type": "string", "maxLength": 63, "pattern": VALUE},
    })
}

#[cfg(test)]
mod tests {
    use kube::core::Selector;

    use super::*;

    #[test]
    fn selects_as_kubernetes_does() {
        let selector = PodSelector {
            match_labels: [("app".to_owned(), "web".to_owned())].into(),
            match_expressions: vec![PodSelectorRequirement {
                key: "tier".to_owned(),
                operator: PodSelectorOperator::NotIn,
                values: vec!["canary".to_owned()],
            }],
        };
        let selector = Selector::try_from(LabelSelector::from(&selector)).unwrap();
        assert_eq!(selector.to_string(), "app=web,tier notin (canary)");
        let everything = Selector::try_from(LabelSelector::from(&PodSelector::default())).unwrap();
        assert_eq!(everything.to_string(), "");
    }
}
