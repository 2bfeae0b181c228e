//! Reads profile objects: one that is broken is reported in its own status and stops no other.

use std::sync::Arc;

use kube::{Resource, core::DeserializeGuard};
use portcullis_api::{InvalidOwner, Owner, ProfileKind, ProfileResource};

use crate::{
    resolve::{Wishes, prepare},
    world::{Observed, Seen, Spec},
};

/// Whose object this is.
///
/// # Errors
/// Where no path may be made of its name.
pub(crate) fn owner_of<K: ProfileResource>(object: &DeserializeGuard<K>) -> Result<Owner, InvalidOwner> {
    let metadata = object.meta();
    let name = metadata.name.as_deref().unwrap_or_default();
    match K::KIND {
        ProfileKind::SeccompProfile => {
            Owner::namespaced(metadata.namespace.as_deref().unwrap_or_default(), name)
        }
        ProfileKind::ClusterSeccompProfile => Owner::cluster(name),
    }
}

/// Takes an object apart. Its document is parsed unless `is_known` says of the UID and generation that they were seen.
pub(crate) fn observe<K: ProfileResource>(
    owner: Owner,
    object: DeserializeGuard<K>,
    is_known: impl FnOnce(&str, i64) -> bool,
) -> Observed {
    let DeserializeGuard(object) = object;
    let (mut metadata, status, spec) = match object {
        Ok(mut object) => {
            let metadata = std::mem::take(object.meta_mut());
            (metadata, Seen::Status(object.profile_status().cloned().map(Box::new)), Ok(object))
        }
        Err(broken) => (broken.metadata, Seen::Unreadable, Err(broken.error)),
    };
    metadata.managed_fields = None;
    metadata.annotations = None;
    let known =
        is_known(metadata.uid.as_deref().unwrap_or_default(), metadata.generation.unwrap_or_default());
    let spec = (!known).then(|| match spec {
        Ok(object) => {
            let spec = object.profile_spec();
            Spec { wishes: Wishes::of(spec), source: prepare(spec).map(Arc::new) }
        }
        Err(error) => Spec {
            wishes: Wishes::default(),
            source: Err(format!("the object can't be read: {error}. Correct it, or delete it")),
        },
    });
    Observed { owner, metadata, status, spec }
}

#[cfg(test)]
mod tests {
    use portcullis_api::SeccompProfile;
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: &Value) -> DeserializeGuard<SeccompProfile> {
        serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "SeccompProfile",
            "metadata": {"namespace": "shop", "name": "web", "uid": "u", "generation": 2},
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn a_broken_object_keeps_its_name_and_says_what_is_wrong() {
        let broken = object(&json!({"mode": "Sometimes"}));
        let owner = owner_of(&broken).unwrap();
        let observed = observe(owner, broken, |_, _| false);
        assert_eq!(observed.owner.to_string(), "SeccompProfile shop/web");
        assert_eq!(observed.metadata.generation, Some(2));
        assert!(matches!(observed.status, Seen::Unreadable));
        let problem = observed.spec.unwrap().source.unwrap_err();
        assert!(problem.contains("Sometimes"), "{problem}");
    }

    #[test]
    fn a_known_generation_is_not_parsed_again() {
        let whole = object(&json!({"profile": {"defaultAction": "SCMP_ACT_ERRNO"}}));
        let owner = owner_of(&whole).unwrap();
        let observed = observe(owner.clone(), whole.clone(), |uid, generation| (uid, generation) == ("u", 2));
        assert!(observed.spec.is_none());
        let observed = observe(owner, whole, |_, _| false);
        assert!(observed.spec.unwrap().source.unwrap().document.is_some());
    }
}
