//! The SeccompProfile of the Security Profiles Operator: an OCI document whose fields stand in `spec`.

use portcullis_profile::{Dialect, ParseErrors, Profile};
use serde_json::{Map, Value};

use super::{
    kinds::{Format, Read, Source, finished},
    tree::Node,
};

/// Its API group.
pub(super) const GROUP: &str = "security-profiles-operator.x-k8s.io";
/// Its kind.
pub(super) const KIND: &str = "SeccompProfile";

/// The versions whose `spec` is an OCI document.
const VERSIONS: &[&str] = &["v1", "v1beta1"];

/// What `spec` has besides.
///
/// Source: `SeccompProfileSpec` in security-profiles-operator's `api/seccompprofile/{v1beta1,v1}/seccompprofile_types.go`
/// and `SpecBase` in `api/profilebase`.
const OWN_KEYS: &[&str] = &["baseProfileName", "disabled", "state"];

/// Reads one.
pub(super) fn read(item: &Node, version: &str, mut source: Source) -> Read {
    let version = version.rsplit('/').next().unwrap_or_default();
    if !VERSIONS.contains(&version) {
        let message = format!("version {version:?} of {GROUP} is not read: write {}", VERSIONS.join(" or "));
        return finished(Err(ParseErrors::of_document(message)), source, Vec::new());
    }
    let mut spec = item.get("spec").map_or(Value::Null, Node::to_value);
    let mut notes = Vec::new();
    if let Some(fields) = spec.as_object_mut() {
        let own: Vec<(&str, Value)> =
            OWN_KEYS.iter().filter_map(|key| fields.remove(*key).map(|value| (*key, value))).collect();
        for (key, value) in own {
            match (key, &value) {
                ("baseProfileName", Value::String(name)) if !name.is_empty() => {
                    notes.push(format!("what its base allows besides is not in the file: {name}"));
                    source.format = Format::SecurityProfilesOperator { base: Some(name.clone()) };
                }
                ("disabled", Value::Bool(true)) => notes.push("it is disabled there".to_owned()),
                ("state", Value::String(state)) if state == "Disabled" => {
                    notes.push("it is disabled there".to_owned());
                }
                _ => {}
            }
        }
        unset(fields);
        if fields.contains_key("defaultErrnoRet") {
            let message =
                "defaultErrnoRet is no field of the Security Profiles Operator, which drops it: remove it";
            return finished(Err(ParseErrors::of_document(message.to_owned())), source, notes);
        }
    }
    finished(Profile::from_value(&spec, Dialect::Oci), source, notes)
}

/// Zero and empty values are unset ones there (`omitempty`), among them an `errnoRet` of 0, and a condition's `value` may be
/// absent.
fn unset(fields: &mut Map<String, Value>) {
    fields.retain(|key, value| !(key.starts_with("listener") && value == ""));
    let rules = fields.get_mut("syscalls").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
        rule.retain(|key, value| !(key == "errnoRet" && *value == 0));
        let args = rule.get_mut("args").and_then(Value::as_array_mut);
        for arg in args.into_iter().flatten().filter_map(Value::as_object_mut) {
            arg.entry("value").or_insert_with(|| 0.into());
        }
    }
}
