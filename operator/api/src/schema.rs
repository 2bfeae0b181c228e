//! Pieces of the schemas that the API server checks objects by: enums, patterns, bounds, and the keys of Docker's format.
//!
//! A schema can only refuse what it declares: the API server prunes an undeclared key without a word, so a rule of Docker's format
//! would lose the capability it was tied to and hold for everyone. Such keys are declared here, and refused in words.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use portcullis_profile::{Action, Arch, Flag, Operator};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::{
    ClusterSeccompProfile, MAX_NAME_LENGTH, SeccompNode, SeccompProfile, SeccompRecording,
    SeccompRecordingPart, SeccompRevision,
    constants::{MAX_ERRNO, MAX_SYSCALL_NAME_LENGTH},
};

/// The custom resource definitions, as they are installed. Use these and not kube's `crd()` of a type, which knows nothing of what
/// [`tidy`] takes away.
///
/// # Errors
/// Where a derived schema can't be read back; a test shows that it can.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [
        SeccompProfile::crd(),
        ClusterSeccompProfile::crd(),
        SeccompRevision::crd(),
        SeccompNode::crd(),
        SeccompRecording::crd(),
        SeccompRecordingPart::crd(),
    ]
    .into_iter()
    .map(|crd| {
        let mut crd = serde_json::to_value(crd)?;
        tidy(&mut crd);
        serde_json::from_value(crd)
    })
    .collect()
}

/// Takes from derived schemas what Kubernetes has no use for: `nullable` (the API server then drops a null, so that no rule has to
/// tell a null from an absent field) and Rust's integer formats, for which it warns.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("nullable");
            if let Some(format) = object.get_mut("format") {
                match format.as_str() {
                    Some("uint8" | "uint16") => *format = json!("int32"),
                    Some("uint32" | "uint64") => *format = json!("int64"),
                    _ => {}
                }
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

pub(crate) fn one_of(names: impl Iterator<Item = &'static str>) -> Schema {
    json_schema!({"type": "string", "enum": names.collect::<Vec<_>>()})
}

pub(crate) fn action(_: &mut SchemaGenerator) -> Schema {
    one_of(Action::ALL.iter().map(|action| action.as_str()))
}

pub(crate) fn operator(_: &mut SchemaGenerator) -> Schema {
    one_of(Operator::ALL.iter().map(|operator| operator.as_str()))
}

pub(crate) fn architectures(_: &mut SchemaGenerator) -> Schema {
    let items = one_of(Arch::ALL.iter().map(|arch| arch.as_str()));
    json_schema!({"type": "array", "maxItems": Arch::ALL.len(), "items": items})
}

pub(crate) fn flags(_: &mut SchemaGenerator) -> Schema {
    let items = one_of(Flag::ALL.iter().map(|flag| flag.as_str()));
    json_schema!({"type": "array", "maxItems": Flag::ALL.len(), "items": items})
}

/// An errno that a filter can return: 0 would tell the caller that the call was made, and the kernel caps it at MAX_ERRNO,
/// <https://man7.org/linux/man-pages/man2/seccomp.2.html> (SECCOMP_RET_ERRNO).
pub(crate) fn errno(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": MAX_ERRNO})
}

pub(crate) fn syscall_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": crate::MAX_NAMES,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_SYSCALL_NAME_LENGTH,
            "pattern": "^[a-z_][a-z0-9_]*$",
        },
    })
}

/// A `sha256:` digest.
pub(crate) fn digest(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "maxLength": 71})
}

/// A name of an object: a DNS subdomain of at most 63 characters.
pub(crate) fn profile_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_LENGTH,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    })
}

/// Conditions as `metav1.Condition` bounds them, a list-map on `type`.
/// <https://github.com/kubernetes/apimachinery/blob/v0.36.3/pkg/apis/meta/v1/types.go> (`type Condition struct`).
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    conditions_of("What the condition speaks of: Ready, Reconciling or Stalled.")
}

/// The same, for conditions of other types.
pub(crate) fn conditions_of(types: &str) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "description": types,
                    "type": "string",
                    "maxLength": 316,
                },
                "status": {
                    "description": "Whether it holds.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "description": "A word for the cause.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "The cause in words, and what to do.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "The generation of the spec that the condition speaks of.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string",
                    "format": "date-time",
                },
            },
        },
    })
}

/// A key of Docker's format.
struct DockerKey {
    name: &'static str,
    /// Its form, so that CEL can see it.
    schema: fn() -> Value,
    /// What a container runtime makes of a file with it.
    consequence: &'static str,
    /// What to write instead.
    remedy: &'static str,
}

fn text() -> Value {
    json!({"type": "string", "maxLength": 4096})
}

fn object() -> Value {
    json!({"type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": true})
}

fn objects() -> Value {
    json!({"type": "array", "maxItems": 64, "items": object()})
}

/// <https://github.com/moby/profiles/blob/main/seccomp/seccomp.go> (`type Seccomp struct`) and
/// <https://github.com/containers/common/blob/main/pkg/seccomp/types.go>, which adds the errno names.
const DOCUMENT_KEYS: &[DockerKey] = &[
    DockerKey {
        name: "archMap",
        schema: objects,
        consequence: "the filter would kill every call of the architectures that it lists",
        remedy: "list them, with their sub-architectures, in architectures",
    },
    DockerKey {
        name: "defaultErrno",
        schema: text,
        consequence: "denied calls would fail with EPERM instead",
        remedy: "write the number to defaultErrnoRet, 38 for ENOSYS",
    },
];

const RULE_KEYS: &[DockerKey] = &[
    DockerKey {
        name: "name",
        schema: text,
        consequence: "the rule would be for no call at all",
        remedy: "write the call's name to names, which is a list",
    },
    DockerKey {
        name: "comment",
        schema: text,
        consequence: "it would be lost",
        remedy: "use a comment of YAML, or an annotation",
    },
    DockerKey {
        name: "includes",
        schema: object,
        consequence: "the rule would hold for every container, whatever its capabilities, architecture and kernel",
        remedy: "remove it, and keep the rule only if every pod with this profile may have it",
    },
    DockerKey {
        name: "excludes",
        schema: object,
        consequence: "the rule would hold for every container, whatever its capabilities, architecture and kernel",
        remedy: "remove it, and keep the rule only if every pod with this profile may have it",
    },
    DockerKey {
        name: "errno",
        schema: text,
        consequence: "the calls would fail with EPERM instead",
        remedy: "write the number to errnoRet, 38 for ENOSYS",
    },
];

impl DockerKey {
    /// On the key itself: the API server evaluates the rule where the key is there, and nothing for the many that lack it.
    fn refusal(&self) -> Value {
        let Self { name, consequence, remedy, .. } = self;
        json!({
            "rule": "false",
            "message": format!(
                "{name} is Docker's format, which container runtimes ignore in a profile's file: {consequence}; {remedy}"
            ),
            "reason": "FieldValueForbidden",
        })
    }

    fn declaration(&self) -> Value {
        let mut schema = (self.schema)();
        schema["x-kubernetes-validations"] = json!([self.refusal()]);
        schema["description"] =
            json!(format!("Refused: a key of Docker's format. Instead, {}.", self.remedy));
        schema
    }
}

/// Declares, and refuses, the keys of Docker's format at a document's top.
pub(crate) fn refuse_document_keys(schema: &mut Schema) {
    refuse(schema, DOCUMENT_KEYS);
}

/// Declares, and refuses, the keys of Docker's format in a rule.
pub(crate) fn refuse_rule_keys(schema: &mut Schema) {
    refuse(schema, RULE_KEYS);
}

fn refuse(schema: &mut Schema, keys: &[DockerKey]) {
    let properties = schema.ensure_object().entry("properties").or_insert_with(|| Map::new().into());
    if let Value::Object(properties) = properties {
        properties.extend(keys.iter().map(|key| (key.name.to_owned(), key.declaration())));
    }
}
