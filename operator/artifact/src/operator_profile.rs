//! What the Security Profiles Operator publishes: its custom resources in YAML, a layer for each platform.
//!
//! Source: security-profiles-operator's `internal/pkg/artifact`, `profileName`.

use oci_spec::image::{Descriptor, ImageManifest};
use portcullis_profile::{
    Profile,
    spo::{self, GROUP, KIND},
};
use serde_json::Value;

use crate::{
    Platform,
    error::{shown, yaml_problem},
};

/// The annotation that oras puts a file's name into.
pub(crate) const TITLE: &str = "org.opencontainers.image.title";
/// The longest document that is read, in bytes.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

fn title(layer: &Descriptor) -> Option<&str> {
    layer.annotations().as_ref()?.get(TITLE).map(String::as_str)
}

/// Whether a manifest without a type of its own holds what the operator publishes.
pub(crate) fn is_one(manifest: &ImageManifest) -> bool {
    let named = |layer| {
        let stem = title(layer).and_then(|title| title.strip_suffix(".yaml"));
        stem.is_some_and(|stem| stem == "profile" || stem.starts_with("profile-"))
    };
    let layers = manifest.layers();
    layers.iter().any(named)
        || matches!(layers.as_slice(), [layer] if title(layer).is_some_and(|title| title.ends_with(".yaml")))
}

/// The layer for a platform: the one that names it, the one for all, or the only one.
pub(crate) fn layer<'m>(manifest: &'m ImageManifest, platform: &Platform) -> Result<&'m Descriptor, String> {
    let Platform { os, architecture, variant } = platform;
    let variant = variant.as_ref().map(|variant| format!("-{variant}")).unwrap_or_default();
    let own = format!("profile-{os}-{architecture}{variant}.yaml");
    let layers = manifest.layers();
    let named = |name: &str| layers.iter().find(|layer| title(layer) == Some(name));
    if let Some(layer) = named(&own).or_else(|| named("profile.yaml")) {
        return Ok(layer);
    }
    match layers.as_slice() {
        [only] if !title(only).is_some_and(|title| title.starts_with("profile-")) => Ok(only),
        _ => {
            let names: Vec<String> = layers.iter().filter_map(title).take(20).map(shown).collect();
            Err(format!("it has neither {own} nor profile.yaml, only {}", names.join(", ")))
        }
    }
}

/// The profile in a custom resource of the operator.
pub(crate) fn profile(yaml: &[u8]) -> Result<Profile, String> {
    let resource: Value = serde_saphyr::from_slice(yaml)
        .map_err(|error| format!("its YAML can't be read: {}", yaml_problem(&error)))?;
    let field = |key: &str| resource[key].as_str().unwrap_or_default();
    let (kind, version) = (field("kind"), field("apiVersion"));
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if kind != KIND || group != GROUP {
        return Err(format!(
            "it holds a {:?} of {:?}, not a {KIND} of {GROUP}/v1",
            shown(kind),
            shown(version)
        ));
    }
    let read = spo::read(version, &resource["spec"]).map_err(|errors| errors.within("spec").to_string())?;
    match read.base {
        None => Ok(read.profile),
        Some(base) => Err(format!(
            "it is built on another profile (spec.baseProfileName: {}), without which it is not whole: merge the two",
            shown(&base)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: &str = "apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata: {name: x}
spec:
  disabled: false
  defaultAction: SCMP_ACT_ERRNO
  architectures: [SCMP_ARCH_X86_64]
  syscalls:
  - {action: SCMP_ACT_ALLOW, names: [read, write]}
";

    #[test]
    fn a_resource_holds_a_profile() {
        assert_eq!(profile(RESOURCE.as_bytes()).unwrap().syscalls[0].names, ["read", "write"]);
    }

    #[test]
    fn what_is_not_a_whole_profile_is_refused() {
        for (from, to, said) in [
            ("  disabled: false", "  baseProfileName: runc-v1.2", "spec.baseProfileName: runc-v1.2"),
            ("kind: SeccompProfile", "kind: SelinuxProfile", "\"SelinuxProfile\""),
            ("security-profiles-operator.x-k8s.io", "portcullis.dev", "\"portcullis.dev/v1beta1\""),
            ("SCMP_ACT_ALLOW", "SCMP_ACT_ALOW", "spec.syscalls[0].action"),
            ("kind:", "kind: [", "YAML can't be read"),
        ] {
            let error = profile(RESOURCE.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_layer_is_the_platforms_or_the_only_one() {
        let manifest = |titles: &[&str]| -> ImageManifest {
            let digest = format!("sha256:{}", "0".repeat(64));
            let layers: Vec<Value> = titles
                .iter()
                .map(|title| {
                    serde_json::json!({"mediaType": "x/y", "digest": digest, "size": 1, "annotations": {TITLE: title}})
                })
                .collect();
            let config = serde_json::json!({"mediaType": "x/y", "digest": digest, "size": 2});
            serde_json::from_value(
                serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers}),
            )
            .unwrap()
        };
        let arm: Platform = "linux/arm64".parse().unwrap();
        let chosen = |titles: &[&str]| {
            let manifest = manifest(titles);
            layer(&manifest, &arm).map(|layer| title(layer).unwrap().to_owned())
        };
        assert_eq!(
            chosen(&["profile.yaml", "profile-linux-arm64.yaml"]).unwrap(),
            "profile-linux-arm64.yaml"
        );
        assert_eq!(chosen(&["profile.yaml", "profile-linux-amd64.yaml"]).unwrap(), "profile.yaml");
        assert_eq!(chosen(&["nginx.yaml"]).unwrap(), "nginx.yaml");
        assert!(chosen(&["profile-linux-amd64.yaml"]).unwrap_err().contains("only profile-linux-amd64.yaml"));
        assert!(is_one(&manifest(&["profile-linux-amd64.yaml", "x"])));
        assert!(is_one(&manifest(&["x.yaml"])) && !is_one(&manifest(&["x.json"])));
    }
}
