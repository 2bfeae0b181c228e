//! The SeccompProfile of the Security Profiles Operator: an OCI document whose fields stand in `spec`, beside others.
//!
//! Source: `SeccompProfileSpec` in security-profiles-operator's `api/seccompprofile/{v1alpha1,v1beta1,v1}/seccompprofile_types.go`
//! and `SpecBase` in `api/profilebase`.

use serde_json::{Map, Value};

use crate::{Dialect, ParseErrors, Profile, errno, parse::NATIVE, printable};

/// Its API group.
pub const GROUP: &str = "security-profiles-operator.x-k8s.io";
/// Its kind.
pub const KIND: &str = "SeccompProfile";
/// The versions whose `spec` is an OCI document.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

/// What such a resource holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The document in `spec`.
    pub profile: Profile,
    /// `spec.baseProfileName`: the profile that this one is added to, fit to be shown.
    pub base: Option<String>,
    /// Whether the operator is told to leave it alone.
    pub disabled: bool,
    /// Whether it lists the node's own architecture as such, which is filtered whether it is listed or not.
    pub is_native: bool,
}

/// Reads the `spec` of a resource of [`GROUP`] and [`KIND`] with this `apiVersion`.
///
/// # Errors
/// Everything that is wrong with it. Paths begin in `spec`: see [`ParseErrors::within`].
pub fn read(api_version: &str, spec: &Value) -> Result<Resource, ParseErrors> {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    if !VERSIONS.contains(&version) {
        let shown: String = version.chars().take(60).collect();
        let message = format!("version {shown:?} of {GROUP} is not read: write v1, v1beta1 or v1alpha1");
        return Err(ParseErrors::of_document(message));
    }
    if spec.get("defaultErrnoRet").is_some() {
        let message =
            "defaultErrnoRet is no field of the Security Profiles Operator, which drops it: remove it";
        return Err(ParseErrors::of_document(message.to_owned()));
    }
    document(spec)
}

/// Reads what the `spec` of any version holds, as other programs (Kubescape) write it too.
///
/// # Errors
/// Everything that is wrong with it. Paths begin in `spec`.
pub fn document(spec: &Value) -> Result<Resource, ParseErrors> {
    let mut spec = spec.clone();
    let (mut base, mut disabled, mut is_native) = (None, false, false);
    if let Some(fields) = spec.as_object_mut() {
        let mut own = |key| fields.remove(key).unwrap_or_default();
        base = own("baseProfileName").as_str().filter(|name| !name.is_empty()).map(printable);
        // Of v1beta1 and of v1.
        disabled = own("disabled") == true;
        disabled |= own("state") == "Disabled";
        // Of v1alpha1: a folder for the file.
        own("targetWorkload");
        unset(fields);
        if let Some(architectures) = fields.get_mut("architectures").and_then(Value::as_array_mut) {
            let listed = architectures.len();
            architectures.retain(|architecture| architecture != NATIVE);
            is_native = architectures.len() < listed;
        }
    }
    let profile = Profile::from_value(&spec, Dialect::Oci)?;
    Ok(Resource { profile, base, disabled, is_native })
}

/// Zero and empty values are unset ones there (`omitempty`), among them an `errnoRet` of 0, and a condition's `value` may be
/// absent. In v1alpha1 an `errnoRet` is a string.
fn unset(fields: &mut Map<String, Value>) {
    fields.retain(|key, value| !(key.starts_with("listener") && value == ""));
    let rules = fields.get_mut("syscalls").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
        let text = rule.get("errnoRet").and_then(Value::as_str).map(str::trim);
        if let Some(errno) = text.and_then(|text| text.parse().ok().or_else(|| errno::number(text))) {
            rule.insert("errnoRet".to_owned(), errno.into());
        }
        rule.retain(|key, value| !(key == "errnoRet" && (*value == 0 || *value == "")));
        let args = rule.get_mut("args").and_then(Value::as_array_mut);
        for arg in args.into_iter().flatten().filter_map(Value::as_object_mut) {
            arg.entry("value").or_insert_with(|| 0.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_its_own_are_no_part_of_the_profile() {
        let spec = json!({
            "baseProfileName": "runc-v1.3", "disabled": true, "defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 0, "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]}],
        });
        let read = read("security-profiles-operator.x-k8s.io/v1beta1", &spec).expect("it is one");
        assert_eq!((read.base.as_deref(), read.disabled), (Some("runc-v1.3"), true));
        let rule = &read.profile.syscalls[0];
        assert_eq!((rule.errno_ret, rule.args[0].value), (None, 0));
        assert_eq!(read.profile.listener_path, None);
    }

    #[test]
    fn both_versions_say_that_one_is_disabled() {
        for (field, value, expected) in [
            ("disabled", json!(true), true),
            ("disabled", json!(false), false),
            ("state", json!("Disabled"), true),
            ("state", json!("Enabled"), false),
            ("baseProfileName", json!(""), false),
        ] {
            let spec = json!({"defaultAction": "SCMP_ACT_ERRNO", field: value});
            let read = read("x/v1", &spec).expect("it is one");
            assert_eq!((read.disabled, read.base), (expected, None), "{field}");
        }
    }

    #[test]
    fn the_first_version_has_words_of_its_own() {
        let spec = |errno: &str| {
            json!({"defaultAction": "SCMP_ACT_ERRNO", "targetWorkload": "shop", "architectures": ["SCMP_ARCH_NATIVE", "SCMP_ARCH_ARM"],
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]})
        };
        for (errno, expected) in [("22", Some(22)), ("EINVAL", Some(22)), ("0", None), ("", None)] {
            let read = read("x/v1alpha1", &spec(errno)).expect("it is one");
            assert_eq!(read.profile.syscalls[0].errno_ret, expected, "{errno}");
            assert_eq!((read.profile.architectures, read.is_native), (vec![crate::Arch::Arm], true));
        }
        let said = read("x/v1alpha1", &spec("EINVALID")).expect_err("no errno").to_string();
        assert!(said.contains("syscalls[0].errnoRet"), "{said}");
    }

    #[test]
    fn what_the_operator_does_not_know_is_refused() {
        let spec = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38});
        assert!(read("x/v1", &spec).expect_err("a field").to_string().contains("which drops it"));
        let said = read("x/v2", &spec).expect_err("a version").to_string();
        assert!(said.contains("write v1, v1beta1 or v1alpha1"), "{said}");
        assert!(read("x/v1", &Value::Null).is_err());
    }
}
