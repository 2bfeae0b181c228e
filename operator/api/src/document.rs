//! The OCI seccomp document as a custom resource carries it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;

/// An OCI seccomp document, every field of it. Docker's format is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::refuse_document_keys)]
#[x_kube(
    validation = Rule::new("has(self.defaultAction)")
        .message("defaultAction is missing: runc and CRI-O apply no filter at all without it; write SCMP_ACT_ERRNO to deny what no rule allows"),
    validation = Rule::new("!has(self.defaultAction) || self.defaultAction != 'SCMP_ACT_NOTIFY'")
        .message("SCMP_ACT_NOTIFY can't be the default action: runc refuses to start a container with it, because the call that hands over the notify descriptor would wait for itself")
        .field_path(".defaultAction"),
    validation = Rule::new("!has(self.syscalls) || self.syscalls.map(r, (has(r.names) ? r.names.join('\",\"').size() : 0) + 38 + (has(r.args) ? r.args.size() * 40 : 0)).sum() <= 262144")
        .message("the profile is larger than 256 KiB: remove names and rules that are repeated, or put what several profiles share into a base (spec.bases)")
        .field_path(".syscalls"),
)]
pub struct SeccompDocument {
    /// What happens to a call that no rule matches, for example SCMP_ACT_ERRNO.
    /// Required: without it runc and CRI-O apply no filter at all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::action")]
    pub default_action: String,
    /// The errno of a default action of SCMP_ACT_ERRNO or SCMP_ACT_TRACE; 38 is ENOSYS, 1 (EPERM) the default. 0 is refused: it
    /// would tell the caller of a denied call that it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::errno")]
    pub default_errno_ret: Option<u32>,
    /// The architectures that the filter knows, for example SCMP_ARCH_X86_64; a call through any other is killed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::architectures")]
    pub architectures: Vec<String>,
    /// Flags of seccomp(2). runc before 1.2 refuses to start a container with any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::flags")]
    pub flags: Vec<String>,
    /// The socket that a runtime sends the notify descriptor to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub listener_path: Option<String>,
    /// Opaque data that goes with the notify descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub listener_metadata: Option<String>,
    /// The rules. Of several for one call the first without conditions decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_RULES))]
    pub syscalls: Vec<SeccompRule>,
    /// Keys that no OCI document has. The API server keeps none; conversion refuses any, should an older schema let one through.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// An action for some calls, under conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::refuse_rule_keys)]
#[x_kube(
    validation = Rule::new("has(self.names)")
        .message("names is missing: it lists the system calls that the rule is for"),
    validation = Rule::new("self.action != 'SCMP_ACT_NOTIFY' || !has(self.names) || !('write' in self.names)")
        .message("SCMP_ACT_NOTIFY can't be the action of write: runc refuses to start a container with it, because it writes to hand over the notify descriptor")
        .field_path(".action"),
)]
pub struct SeccompRule {
    /// Names of system calls, for example openat. Required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::syscall_names")]
    pub names: Vec<String>,
    /// What happens to a matching call, for example SCMP_ACT_ALLOW.
    #[schemars(schema_with = "schema::action")]
    pub action: String,
    /// The errno of an action of SCMP_ACT_ERRNO or SCMP_ACT_TRACE. 0 is refused: it would tell the caller of a denied call that it was
    /// made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::errno")]
    pub errno_ret: Option<u32>,
    /// Conditions on arguments, at most one on each; all must hold. None means every call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6))]
    #[x_kube(
        validation = Rule::new("self.size() < 2 || self.all(a, self.exists_one(b, a.index == b.index))")
            .message("two conditions are on the same argument: a runtime makes two rules of them, either of which is enough; write two rules where that is meant"),
    )]
    pub args: Vec<SeccompArg>,
    /// Keys that no OCI document has.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// A condition on one argument of a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeccompArg {
    /// Which argument, 0 to 5.
    #[schemars(range(min = 0, max = 5))]
    pub index: u8,
    /// What to compare with, unsigned: an integer, or a string (decimal, or hexadecimal with 0x) for values from 2^63.
    /// For SCMP_CMP_MASKED_EQ the mask.
    pub value: ArgValue,
    /// For SCMP_CMP_MASKED_EQ the value that the masked argument must have, which needs no bit outside the mask; ignored by every
    /// other operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ArgValue")]
    pub value_two: Option<ArgValue>,
    /// The comparison, for example SCMP_CMP_EQ.
    #[schemars(schema_with = "schema::operator")]
    pub op: String,
    /// Keys that no OCI document has.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// A 64-bit argument value: an integer where the API server keeps it exactly (below 2^63), else a string.
///
/// `format: int64` refuses values from 2^63 and an undeclared number is rounded, so a string is the only safe form for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ArgValue {
    /// A JSON integer.
    Integer(i64),
    /// A decimal or, with `0x`, hexadecimal number.
    Text(String),
}

impl Default for ArgValue {
    fn default() -> Self {
        Self::Integer(0)
    }
}

impl JsonSchema for ArgValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ArgValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 20,
            "x-kubernetes-validations": [{
                "rule": "string(self).matches('^(0|[1-9][0-9]{0,19}|0x[0-9a-fA-F]{1,16})$') && \
                         (string(self).size() < 20 || string(self) <= '18446744073709551615')",
                "message": "must be a whole number from 0 to 2^64-1: an integer below 2^63, or a string for any, such as \
                            '18446744073709551615' or '0xffffffffffffffff'",
            }],
        })
    }
}
