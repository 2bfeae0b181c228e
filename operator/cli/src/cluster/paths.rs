//! Paths that pods name and no profile has, and which path was meant.

use portcullis_api::DEFAULT_SUBDIRECTORY;

use super::{pod::clean, profiles::Profile};

/// The kubelet's directory, as people write it into the path.
const KUBELET: &str = "var/lib/kubelet/seccomp/";
/// How the annotation of Kubernetes before 1.27 began.
///
/// Source: `SeccompLocalhostProfileNamePrefix` in kubernetes staging/src/k8s.io/api/core/v1/annotation_key_constants.go.
const ANNOTATION: &str = "localhost/";

/// What is wrong with a path, and the profile that was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// In words: a clause, without a full stop.
    pub(crate) wrong: String,
    /// The right path, where a profile of that name is known.
    pub(crate) meant: Option<String>,
}

/// What is wrong with a path that no profile has.
pub(crate) fn hint(path: &str, namespace: &str, profiles: &[Profile]) -> Hint {
    let path = clean(path);
    let (rest, prefix) = strip(&path);
    let file = rest.rsplit('/').next().unwrap_or_default();
    let stem = file.strip_suffix(".json").unwrap_or(file);
    let (name, revision) = stem.split_once('@').map_or((stem, None), |(name, digest)| (name, Some(digest)));
    let profile = named(name, namespace, profiles);
    let current = profile.and_then(|profile| profile.status.localhost_profile.clone());
    let in_place = rest.strip_prefix(DEFAULT_SUBDIRECTORY).is_some_and(|rest| rest.starts_with('/'));
    let (wrong, meant) = match prefix {
        Some(prefix) => {
            (format!("the path is relative to the kubelet's seccomp directory, without {prefix:?}"), current)
        }
        None if !file.ends_with(".json") => ("the file's name ends with .json".to_owned(), current),
        None if revision.is_some() && profile.is_some() => {
            ("this revision of the profile is not kept".to_owned(), current)
        }
        None if in_place => match profile {
            Some(found) if current.is_some() => {
                (format!("no profile has it, {} has another", found.reference()), current)
            }
            Some(found) => (format!("{} has no revision yet", found.reference()), None),
            None => (format!("there is no profile {name:?} that it could be of"), None),
        },
        None => (format!("Portcullis's files are below {DEFAULT_SUBDIRECTORY}/"), current),
    };
    Hint { wrong, meant }
}

/// A path without what belongs in front of no path.
fn strip(path: &str) -> (&str, Option<&str>) {
    let mut rest = path;
    for prefix in [ANNOTATION, KUBELET] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let taken = path.len() - rest.len();
    (rest, (taken > 0).then(|| &path[..taken]))
}

/// The profile of a name that a namespace's pods may name: its own before the cluster's.
fn named<'p>(name: &str, namespace: &str, profiles: &'p [Profile]) -> Option<&'p Profile> {
    let of = |wanted: Option<&str>| {
        profiles.iter().find(|profile| profile.owner.name() == name && profile.owner.namespace() == wanted)
    };
    of(Some(namespace)).or_else(|| of(None))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use portcullis_api::{Mode, Owner, ProfileStatus};

    use super::*;

    fn profile(owner: Owner, path: &str) -> Profile {
        Profile {
            owner,
            metadata: ObjectMeta::default(),
            mode: Mode::Enforce,
            pin: None,
            status: ProfileStatus { localhost_profile: Some(path.to_owned()), ..ProfileStatus::default() },
        }
    }

    #[test]
    fn a_wrong_path_leads_to_the_right_one() {
        let profiles = [
            profile(Owner::namespaced("shop", "web").unwrap(), "profiles/shop/web.json"),
            profile(Owner::cluster("base").unwrap(), "profiles/base.json"),
        ];
        for (path, wrong, meant) in [
            ("localhost/profiles/shop/web.json", "without \"localhost/\"", Some("profiles/shop/web.json")),
            ("/profiles/shop/web.json", "no profile has it", Some("profiles/shop/web.json")),
            (
                "/var/lib/kubelet/seccomp/profiles/web.json",
                "without \"var/lib/kubelet/seccomp/\"",
                Some("profiles/shop/web.json"),
            ),
            ("profiles/shop/web", "ends with .json", Some("profiles/shop/web.json")),
            ("profiles/other/web.json", "sp/web has another", Some("profiles/shop/web.json")),
            ("profiles/shop/base.json", "csp/base has another", Some("profiles/base.json")),
            ("seccomp/web.json", "below profiles/", Some("profiles/shop/web.json")),
            ("web.json", "below profiles/", Some("profiles/shop/web.json")),
            ("profiles/shop/web@0123456789ab.json", "is not kept", Some("profiles/shop/web.json")),
            ("profiles/shop/wbe.json", "there is no profile \"wbe\"", None),
            ("", "ends with .json", None),
        ] {
            let hint = hint(path, "shop", &profiles);
            assert!(hint.wrong.contains(wrong), "{path}: {hint:?}");
            assert_eq!(hint.meant.as_deref(), meant, "{path}");
        }
    }
}
