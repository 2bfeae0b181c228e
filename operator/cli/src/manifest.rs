//! A profile as a custom resource's manifest.

use anyhow::{Result, bail, ensure};
use portcullis_api::{
    BaseReference, GROUP, MAX_NAMES, MAX_RULES, Mode, Owner, ProfileKind, RecordedFrom, SeccompArg,
    SeccompDocument, SeccompRule, VERSION,
};
use portcullis_profile::{MAX_REVISION_BYTES, Profile};
use serde::Serialize;
use serde_saphyr::{FlowMap, FlowSeq};

/// What a manifest says besides the profile.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Its kind.
    pub(crate) kind: ProfileKind,
    /// `metadata.name`.
    pub(crate) name: String,
    /// `metadata.namespace`; absent, `kubectl apply -n` decides.
    pub(crate) namespace: Option<String>,
    /// `spec.mode`.
    pub(crate) mode: Mode,
    /// `spec.bases`.
    pub(crate) bases: Vec<BaseReference>,
    /// `spec.recordedFrom`.
    pub(crate) recorded_from: Option<RecordedFrom>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    api_version: String,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    mode: Mode,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    bases: &'a [BaseReference],
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_from: Option<&'a RecordedFrom>,
    profile: Document,
}

/// A [`SeccompDocument`] with its small lists and objects in one line each.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_errno_ret: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    architectures: Option<FlowSeq<Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<FlowSeq<Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_metadata: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    syscalls: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<FlowMap<SeccompArg>>,
    names: Vec<String>,
}

/// Whether a text can be a profile's name: one as Kubernetes takes it (RFC 1123's label).
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: char| inner(c) && c != '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(edge)
        && text.ends_with(edge)
}

/// A manifest in YAML, the profile in its canonical form.
///
/// # Errors
/// Where the API server would refuse the name, the namespace or the size.
pub(crate) fn render(profile: &Profile, object: &Object) -> Result<String> {
    let Object { kind, name, namespace, mode, bases, recorded_from } = object;
    match (kind, namespace.as_deref()) {
        (ProfileKind::SeccompProfile, namespace) => {
            Owner::namespaced(namespace.unwrap_or("default"), name)?;
        }
        (ProfileKind::ClusterSeccompProfile, None) => {
            Owner::cluster(name)?;
        }
        (ProfileKind::ClusterSeccompProfile, Some(namespace)) => {
            bail!("a ClusterSeccompProfile has no namespace: leave out {namespace:?}")
        }
    }
    let manifest = Manifest {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.as_str(),
        metadata: Metadata { name, namespace: namespace.as_deref() },
        spec: Spec {
            mode: *mode,
            bases,
            recorded_from: recorded_from.as_ref(),
            profile: document(&profile.canonical())?,
        },
    };
    Ok(serde_saphyr::to_string(&manifest)?)
}

/// The field `spec.profile` in YAML, at the left margin, its rules as they are.
///
/// # Errors
/// Where the API server would refuse the size.
pub(crate) fn profile_field(profile: &Profile) -> Result<String> {
    #[derive(Serialize)]
    struct Field {
        profile: Document,
    }
    Ok(serde_saphyr::to_string(&Field { profile: document(profile)? })?)
}

/// A rule as an item of a list in YAML, at the left margin.
pub(crate) fn rule(rule: &SeccompRule) -> Result<String> {
    let SeccompRule { names, action, errno_ret, args, unknown: _ } = rule.clone();
    let rule = Rule { action, errno_ret, args: args.into_iter().map(FlowMap).collect(), names };
    Ok(serde_saphyr::to_string(&[rule])?)
}

/// The field `spec.recordedFrom` in YAML, at the left margin.
pub(crate) fn recorded_from_field(recorded_from: &RecordedFrom) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Field<'a> {
        recorded_from: &'a RecordedFrom,
    }
    Ok(serde_saphyr::to_string(&Field { recorded_from })?)
}

fn document(profile: &Profile) -> Result<Document> {
    let bytes = profile.render().len();
    ensure!(
        bytes <= MAX_REVISION_BYTES,
        "the profile has {bytes} bytes, and a custom resource holds at most {MAX_REVISION_BYTES} (256 KiB): name fewer calls, or \
         put what several profiles share into a base"
    );
    let SeccompDocument {
        default_action,
        default_errno_ret,
        architectures,
        flags,
        listener_path,
        listener_metadata,
        syscalls,
        unknown: _,
    } = SeccompDocument::from(profile);
    ensure!(
        syscalls.len() <= MAX_RULES,
        "the profile has {} rules, and a custom resource at most {MAX_RULES}: give rules of one action several names",
        syscalls.len()
    );
    let flow = |list: Vec<String>| (!list.is_empty()).then_some(FlowSeq(list));
    let syscalls = syscalls.into_iter().map(|rule| {
        let SeccompRule { names, action, errno_ret, args, unknown: _ } = rule;
        ensure!(
            names.len() <= MAX_NAMES,
            "a rule names {} system calls, and one of a custom resource at most {MAX_NAMES}: remove those that don't exist",
            names.len()
        );
        Ok(Rule { action, errno_ret, args: args.into_iter().map(FlowMap).collect(), names })
    });
    Ok(Document {
        default_action,
        default_errno_ret,
        architectures: flow(architectures),
        flags: flow(flags),
        listener_path,
        listener_metadata,
        syscalls: syscalls.collect::<Result<_>>()?,
    })
}
