//! What to apply: custom resources as they stand in a file, or a profile that one is made of.

use std::{fs, io::Read, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_api::{GROUP, Mode, Owner, ProfileKind, SeccompDocument, VERSION};
use portcullis_profile::{
    Dialect, Profile,
    docker::Context,
    lint::{Finding, LintContext, lint},
};
use serde_json::{Value, json};

use crate::input;

/// The longest file that is read, in bytes: some hundred profiles.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What a profile that is no custom resource becomes.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: Option<String>,
    pub(super) kind: ProfileKind,
    pub(super) mode: Option<Mode>,
    /// The container that Docker's format is read for.
    pub(super) container: Context,
}

/// An object to apply.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) owner: Owner,
    pub(super) object: Value,
    /// What the linter says of its document.
    pub(super) findings: Vec<Finding>,
}

/// The objects of a file, or of standard input where the path is `-`. `namespace` is for those that name none, and `explicit` whether
/// the user has named it.
pub(super) fn read(path: &Path, wanted: &Wanted, namespace: &str, explicit: bool) -> Result<Vec<Manifest>> {
    let name = path.display().to_string();
    let text = text(path).with_context(|| format!("can't read {name}"))?;
    let documents = match documents(&text) {
        Ok(documents) => documents,
        // What Inspektor Gadget writes before a profile is no YAML, and holds no custom resource.
        Err(_) if text.trim_start().starts_with("//") => Vec::new(),
        Err(error) => return Err(error.context(name)),
    };
    let is_object = |document: &Value| document.get("apiVersion").is_some() || document.get("kind").is_some();
    if documents.iter().any(is_object) && documents.iter().any(is_ours) {
        ensure!(
            wanted.name.is_none() && wanted.mode.is_none(),
            "{name} holds custom resources, which are applied as they are: leave out --name and --mode"
        );
        let numbered = documents.into_iter().enumerate();
        return numbered
            .map(|(number, document)| {
                resource(document, namespace, explicit)
                    .with_context(|| format!("{name}: document {}", number + 1))
            })
            .collect();
    }
    let profile = only(&name, text, &wanted.container)?;
    Ok(vec![made(&profile, wanted, namespace).with_context(|| name)?])
}

fn only(name: &str, text: String, container: &Context) -> Result<Profile> {
    let mut profiles = input::profiles_of(name, text.into_bytes(), container)?;
    match (profiles.pop(), profiles.is_empty()) {
        (Some(only), true) => Ok(only.profile),
        _ => {
            bail!("{name} holds several profiles, and one name is not enough for them: apply them one by one")
        }
    }
}

fn text(path: &Path) -> Result<String> {
    let mut text = Vec::new();
    let mut read = |reader: &mut dyn Read| reader.take(MAX_BYTES + 1).read_to_end(&mut text);
    if path == Path::new("-") {
        read(&mut std::io::stdin())?
    } else {
        read(&mut fs::File::open(path)?)?
    };
    ensure!(text.len() as u64 <= MAX_BYTES, "it has more than 16 MiB: apply fewer profiles at once");
    String::from_utf8(text).context("it is no UTF-8 text")
}

/// YAML is a superset of JSON.
fn documents(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("is neither YAML nor JSON")?;
    let documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
    ensure!(!documents.is_empty(), "holds no profile");
    Ok(documents)
}

fn is_ours(document: &Value) -> bool {
    let group = document.get("apiVersion").and_then(Value::as_str);
    group.and_then(|text| text.split_once('/')).is_some_and(|(group, _)| group == GROUP)
}

/// A custom resource, as it is.
fn resource(mut object: Value, namespace: &str, explicit: bool) -> Result<Manifest> {
    let string = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (version, kind) = (string("/apiVersion").unwrap_or_default(), string("/kind").unwrap_or_default());
    let kind = match kind.as_str() {
        "SeccompProfile" if is_ours(&object) => ProfileKind::SeccompProfile,
        "ClusterSeccompProfile" if is_ours(&object) => ProfileKind::ClusterSeccompProfile,
        _ => bail!(
            "is a {kind:?} of {version:?}: this command applies profiles only, `kubectl apply -f` the rest"
        ),
    };
    ensure!(version == format!("{GROUP}/{VERSION}"), "apiVersion is {version:?}: write {GROUP}/{VERSION}");
    let name = string("/metadata/name").context("metadata.name is missing, or is no text")?;
    let named = string("/metadata/namespace");
    ensure!(
        named.is_some() || object.pointer("/metadata/namespace").is_none(),
        "metadata.namespace is no text: put it into quotes"
    );
    let owner = match kind {
        ProfileKind::ClusterSeccompProfile => {
            ensure!(named.is_none(), "metadata.namespace: a ClusterSeccompProfile is in no namespace");
            Owner::cluster(&name)?
        }
        ProfileKind::SeccompProfile => {
            let namespace = match named.as_deref() {
                Some(named) => {
                    ensure!(
                        !explicit || named == namespace,
                        "metadata.namespace is {named}, and --namespace is {namespace}: leave one out"
                    );
                    named
                }
                None => namespace,
            };
            object["metadata"]["namespace"] = json!(namespace);
            Owner::namespaced(namespace, &name)?
        }
    };
    let findings = match object.pointer("/spec/profile") {
        Some(document) => {
            let profile = Profile::from_value(document, Dialect::CustomResource)
                .map_err(|errors| errors.within("spec.profile"))?;
            let found = lint(&profile, &LintContext::default()).into_iter();
            found.map(|finding| finding.within("spec.profile")).collect()
        }
        None => Vec::new(),
    };
    Ok(Manifest { owner, object, findings })
}

/// A custom resource of a profile.
fn made(profile: &Profile, wanted: &Wanted, namespace: &str) -> Result<Manifest> {
    let name = wanted
        .name
        .as_deref()
        .context("is no custom resource, so its object needs a name: give --name NAME")?;
    let owner = match wanted.kind {
        ProfileKind::SeccompProfile => Owner::namespaced(namespace, name)?,
        ProfileKind::ClusterSeccompProfile => Owner::cluster(name)?,
    };
    let mut object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": wanted.kind,
        "metadata": { "name": name },
        "spec": { "profile": SeccompDocument::from(profile) },
    });
    if let Some(namespace) = owner.namespace() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    if let Some(mode) = wanted.mode {
        object["spec"]["mode"] = json!(mode);
    }
    Ok(Manifest { owner, object, findings: lint(profile, &LintContext::default()) })
}

#[cfg(test)]
mod tests {
    use portcullis_profile::Arch;

    use super::*;
    use crate::platform;

    fn read_text(text: &str, wanted: &Wanted) -> Result<Vec<Manifest>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        read(file.path(), wanted, "shop", false)
    }

    fn wanted(name: Option<&str>) -> Wanted {
        Wanted {
            name: name.map(str::to_owned),
            kind: ProfileKind::SeccompProfile,
            mode: None,
            container: platform::usual_container(Arch::X86_64),
        }
    }

    const DOCUMENT: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}"#;

    #[test]
    fn every_format_is_read_and_a_pipe_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let docker = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":[]}],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, docker).unwrap()
        });
        let made = read(&pipe, &wanted(Some("web")), "shop", false).unwrap().remove(0);
        writer.join().unwrap();
        assert_eq!(made.object.pointer("/spec/profile/syscalls/0/names"), Some(&json!(["read"])));
    }

    #[test]
    fn a_document_becomes_an_object_and_keeps_large_values() {
        let made = read_text(DOCUMENT, &wanted(Some("web"))).unwrap().remove(0);
        assert_eq!(made.owner, Owner::namespaced("shop", "web").unwrap());
        assert_eq!(made.object["metadata"], json!({"name": "web", "namespace": "shop"}));
        let value = made.object.pointer("/spec/profile/syscalls/0/args/0/value");
        assert_eq!(
            value,
            Some(&json!("18446744073709551615")),
            "an API server keeps no integer of that size"
        );
        assert!(!made.findings.is_empty());
    }

    #[test]
    fn a_profile_after_a_comment_is_one_and_a_capability_counts() {
        let docker = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}}]}"#;
        let mut wanted = wanted(Some("web"));
        wanted.container.capabilities.insert("CAP_BPF".to_owned());
        let made = read_text(&format!("// shop/web(main)\n{docker}"), &wanted).unwrap().remove(0);
        assert_eq!(made.object.pointer("/spec/profile/syscalls/0/names"), Some(&json!(["bpf"])));
    }

    #[test]
    fn a_resource_is_applied_as_it_is() {
        let text = "---\n# nothing\n---\napiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nmetadata: {name: web, labels: {a: b}}\n\
                    spec:\n  mode: Audit\n  bases: [{kind: ClusterSeccompProfile, name: base}]\n";
        let read = read_text(text, &wanted(None)).unwrap().remove(0);
        assert_eq!(read.object["metadata"]["labels"]["a"], "b");
        assert_eq!(read.object["metadata"]["namespace"], "shop");
        assert_eq!(read.object["spec"]["bases"][0]["name"], "base");
    }

    #[test]
    fn what_can_not_be_applied_is_refused_in_words() {
        let ours =
            |kind: &str, rest: &str| format!("apiVersion: portcullis.dev/v1alpha1\nkind: {kind}\n{rest}");
        let both = format!(
            "{}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: x}}\n",
            ours("SeccompProfile", "metadata: {name: web}\n")
        );
        for (text, says) in [
            (DOCUMENT.to_owned(), "give --name NAME"),
            (String::new(), "holds no profile"),
            ("\t[".to_owned(), "is neither YAML nor JSON"),
            (ours("SeccompNode", "metadata: {name: x}"), "this command applies profiles only"),
            (both, "document 2: is a \"Namespace\" of \"v1\""),
            (ours("SeccompProfile", "spec: {}"), "metadata.name is missing"),
            (ours("SeccompProfile", "metadata: {name: ../x}"), "can't be a file's name"),
            (ours("ClusterSeccompProfile", "metadata: {name: x, namespace: shop}"), "is in no namespace"),
            (ours("SeccompProfile", "metadata: {name: x, namespace: yes}"), "put it into quotes"),
            (
                ours("SeccompProfile", "metadata: {name: web}\nspec: {profile: {defaultAction: DENY}}"),
                "spec.profile.defaultAction",
            ),
            (ours("SeccompProfile", "metadata: {name: web}\nmetadata: {name: api}"), "duplicate"),
        ] {
            let error = format!("{:#}", read_text(&text, &wanted(None)).unwrap_err());
            assert!(error.contains(says), "{text}\n{error}");
        }
    }

    #[test]
    fn a_namespace_that_is_named_twice_is_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "{\"apiVersion\":\"portcullis.dev/v1alpha1\",\"kind\":\"SeccompProfile\",\"metadata\":{\"name\":\"web\",\"namespace\":\"other\"}}";
        fs::write(file.path(), text).unwrap();
        let read = |explicit| read(file.path(), &wanted(None), "shop", explicit);
        assert_eq!(read(false).unwrap()[0].owner.namespace(), Some("other"));
        assert!(format!("{:#}", read(true).unwrap_err()).contains("leave one out"));
    }
}
