//! Reads profile objects: one that is broken is reported in its own status and stops no other.

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use portcullis_api::{InvalidOwner, Owner, ProfileKind, ProfileResource};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    resolve::{Outline, Wishes},
    world::{Observed, Seen, Spec},
};

/// A profile object of which only the metadata is read. A page of a list is read at once, and what it says may take fourteen times its
/// bytes; what can't be read must not keep the others of its page from being read.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Unread<K> {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<Box<RawValue>>,
    #[serde(skip)]
    kind: PhantomData<K>,
}

impl<K: ProfileResource> Resource for Unread<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Whose object this is.
///
/// # Errors
/// Where no path may be made of its name.
pub(crate) fn owner_of<K: ProfileResource>(object: &Unread<K>) -> Result<Owner, InvalidOwner> {
    let metadata = object.meta();
    let name = metadata.name.as_deref().unwrap_or_default();
    match K::KIND {
        ProfileKind::SeccompProfile => {
            Owner::namespaced(metadata.namespace.as_deref().unwrap_or_default(), name)
        }
        ProfileKind::ClusterSeccompProfile => Owner::cluster(name),
    }
}

/// Takes an object apart, and leaves its document as it is. Its spec is not looked at where `is_known` says of the UID and generation that
/// they were seen.
pub(crate) fn observe<K: ProfileResource>(
    owner: Owner,
    object: Unread<K>,
    is_known: impl FnOnce(&str, i64) -> bool,
) -> Observed {
    let Unread { mut metadata, spec, status, kind: _ } = object;
    metadata.managed_fields = None;
    metadata.annotations = None;
    let status = match status.map(|status| serde_json::from_str(status.get())) {
        None => Seen::Status(None),
        Some(Ok(status)) => Seen::Status(status),
        Some(Err(_)) => Seen::Unreadable,
    };
    let known =
        is_known(metadata.uid.as_deref().unwrap_or_default(), metadata.generation.unwrap_or_default());
    let read = || {
        let spec = spec.as_deref().map_or("{}", RawValue::get);
        match serde_json::from_str::<Outline>(spec) {
            Ok(outline) => Spec { wishes: Wishes::of(&outline), source: Ok(Arc::new(outline.source())) },
            Err(error) => Spec {
                wishes: Wishes::default(),
                source: Err(format!("the object can't be read: {error}. Correct it, or delete it")),
            },
        }
    };
    let spec = (!known).then(read);
    Observed { owner, metadata, status, spec }
}

#[cfg(test)]
mod tests {
    use portcullis_api::SeccompProfile;
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: &Value) -> Unread<SeccompProfile> {
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
        let problem = observed.spec.unwrap().source.unwrap_err();
        assert!(problem.contains("Sometimes"), "{problem}");
    }

    #[test]
    fn a_broken_status_is_nobodys_word() {
        let mut object = serde_json::to_value(json!({"metadata": {}, "spec": {}})).unwrap();
        object["status"] = json!({"revisions": "none"});
        let object: Unread<SeccompProfile> = serde_json::from_value(object).unwrap();
        let observed = observe(Owner::cluster("web").unwrap(), object, |_, _| false);
        assert!(matches!(observed.status, Seen::Unreadable));
    }

    /// Lists and watches are read in one go, so what an object takes there is a flood's to multiply.
    #[test]
    fn a_list_and_a_watch_leave_the_document_as_it_is() {
        let one = r#"{"apiVersion":"portcullis.dev/v1alpha1","kind":"SeccompProfile","metadata":{"name":"web"},"spec":{"profile":{"syscalls":7}}}"#;
        let list = format!(
            r#"{{"apiVersion":"v1","kind":"List","metadata":{{}},"items":[{one},{{"metadata":{{"name":"bare"}}}}]}}"#
        );
        let list: kube::core::ObjectList<Unread<SeccompProfile>> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items[0].spec.as_ref().unwrap().get(), r#"{"profile":{"syscalls":7}}"#);
        let event = format!(r#"{{"type":"ADDED","object":{one}}}"#);
        let event: kube::core::WatchEvent<Unread<SeccompProfile>> = serde_json::from_str(&event).unwrap();
        let kube::core::WatchEvent::Added(object) = event else { panic!("{event:?}") };
        let observed = observe(Owner::namespaced("shop", "web").unwrap(), object, |_, _| false);
        assert_eq!(observed.spec.unwrap().source.unwrap().bytes(), r#"{"syscalls":7}"#.len());
    }

    #[test]
    fn a_known_generation_is_not_read_again() {
        let whole = object(&json!({"profile": {"defaultAction": "SCMP_ACT_ERRNO"}}));
        let owner = owner_of(&whole).unwrap();
        let observed = observe(owner.clone(), whole.clone(), |uid, generation| (uid, generation) == ("u", 2));
        assert!(observed.spec.is_none());
        let observed = observe(owner, whole, |_, _| false);
        assert!(observed.spec.unwrap().source.unwrap().document.is_some());
    }
}
