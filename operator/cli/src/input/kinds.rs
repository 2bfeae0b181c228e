//! What a document is, and the profile in it.

use std::sync::Arc;

use portcullis_api::{BaseReference, GROUP, Mode, ProfileKind};
use portcullis_profile::{
    Dialect, ParseErrors, Profile,
    docker::{self, Context, Resolved},
    printable, spo, take_idle_keys,
};
use serde_json::Value;

use super::{
    File, Loaded,
    problem::{Problem, Unreadable},
    shape,
    source::{Format, Source},
    tree::{Content, Document, MAX_OBJECTS, Node},
};
use crate::{manifest, platform};

/// A document with what its profiles are read with.
pub(super) struct Reading<'r> {
    /// The file's text.
    pub(super) text: &'r str,
    /// The container and node that Docker's format is resolved for.
    pub(super) container: &'r Context,
    pub(super) root: Arc<Node>,
    /// The comment before the document.
    pub(super) title: Option<String>,
    /// The text that the document is, where it is a text in another: see [`Source::text_of`].
    pub(super) text_of: Option<String>,
}

/// Adds the profiles in a document to its file.
pub(super) fn sort(document: Document, text: &str, container: &Context, file: &mut File) {
    let Document { root, problems, title } = document;
    let root = Arc::new(root);
    if root.is_null() {
        return;
    }
    let before = file.profiles.len();
    if let Some(advice) = shape::advice(&root) {
        file.profiles.push(Err(Unreadable::new(&file.name, Problem::at(root.at, advice))));
        return;
    }
    let items = items(&root);
    if items.len() > MAX_OBJECTS {
        let problem = Problem::at(root.at, format!("the list has more than {MAX_OBJECTS} items: split it"));
        file.profiles.push(Err(Unreadable::new(&file.name, problem)));
        return;
    }
    let reading = Reading { text, container, root: Arc::clone(&root), title, text_of: None };
    for (prefix, item) in items {
        reading.object(item, &prefix, file);
    }
    // An object of another kind may have them as it likes.
    if file.profiles.len() > before && !problems.is_empty() {
        let file_name = file.name.clone();
        file.profiles.truncate(before);
        let omitted = problems.len().saturating_sub(20);
        let problems = problems.into_iter().take(20).collect();
        file.profiles.push(Err(Unreadable { file: file_name, problems, omitted, unopened: false }));
    }
}

/// The objects in a document: itself, or the items of a list that kubectl wrote.
fn items(root: &Node) -> Vec<(String, &Node)> {
    let is_list =
        root.text("apiVersion").is_some() && root.text("kind").is_some_and(|kind| kind.ends_with("List"));
    match root.get("items").map(|items| &items.content) {
        Some(Content::List(items)) if is_list => {
            items.iter().enumerate().map(|(index, item)| (format!("items[{index}]"), item)).collect()
        }
        _ => vec![(String::new(), root)],
    }
}

impl Reading<'_> {
    /// Reads one object.
    fn object(&self, item: &Node, prefix: &str, file: &mut File) {
        let (Some(version), Some(kind)) = (item.text("apiVersion"), item.text("kind")) else {
            return self.document(item, prefix, file);
        };
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let own = [ProfileKind::SeccompProfile, ProfileKind::ClusterSeccompProfile]
            .into_iter()
            .find(|one| group == GROUP && one.as_str() == kind);
        if let Some(kind) = own {
            if let Some(bases) = only_bases(item) {
                let object = shown(&metadata(item, "name"));
                let note = format!("{kind} {object}: has no profile of its own, only bases: {bases}");
                return file.notes.push(format!("{}: {note}", file.name));
            }
            let format = Format::Portcullis { kind, mode: mode(item), bases: bases(item) };
            file.profiles.push(portcullis(item, self.source(item, format, [prefix, "spec.profile"], file)));
        } else if group == spo::GROUP && kind == spo::KIND {
            let source = |format| self.source(item, format, [prefix, "spec"], file);
            let read = security_profiles_operator(item, version, source);
            file.profiles.push(read);
        } else if version == "v1" && kind == "ConfigMap" {
            self.config_map(item, file);
        } else if is_kubescapes(group) {
            self.kubescape(item, prefix, file);
        } else {
            file.passed_over += 1;
        }
    }

    /// Reads an object that is no resource: what a runtime is given.
    pub(super) fn document(&self, item: &Node, prefix: &str, file: &mut File) {
        // A runtime's own specification of a container.
        if item.text("ociVersion").is_some() {
            return match item.get("linux").and_then(|linux| linux.get("seccomp")) {
                Some(seccomp) => {
                    let source = self.source(item, Format::Oci, [prefix, "linux.seccomp"], file);
                    file.profiles.push(oci(&seccomp.to_value(), source));
                }
                None => file.notes.push(format!(
                    "{}: the container of this runtime specification has no seccomp profile",
                    file.name
                )),
            };
        }
        let mut value = item.to_value();
        let idle_keys = take_idle_keys(&mut value);
        let read = match docker::is_docker(&value) {
            true => {
                let source = self.source(item, Format::Docker, [prefix, ""], file);
                resolved(&value, self.container, source)
            }
            false => oci(&value, self.source(item, Format::Oci, [prefix, ""], file)),
        };
        file.profiles.push(read.map(|loaded| with_idle_keys(loaded, idle_keys)));
    }

    /// Where the part of an object that is the profile stands.
    pub(super) fn source(&self, item: &Node, format: Format, path: [&str; 2], file: &File) -> Source {
        // The name of a container or file that a resource can have too.
        let named = || self.title.clone().filter(|title| manifest::is_name(title));
        Source {
            file: file.name.clone(),
            format,
            namespace: metadata(item, "namespace"),
            object: metadata(item, "name").or_else(named),
            besides: besides(item),
            title: self.title.clone(),
            text_of: self.text_of.clone(),
            prefix: path.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("."),
            root: Arc::clone(&self.root),
            origins: None,
        }
    }
}

/// Whether an API group is one of Kubescape's.
fn is_kubescapes(group: &str) -> bool {
    group == "kubescape.io" || group.ends_with(".kubescape.io")
}

/// A word of an object's metadata. It is shown to people, and to an API server nothing else would be a name.
pub(super) fn metadata(item: &Node, key: &str) -> Option<String> {
    item.get("metadata").and_then(|metadata| metadata.text(key)).map(printable)
}

/// A profile, or what is wrong with it.
pub(super) type Read = Result<Loaded, Unreadable>;

pub(super) fn loaded(profile: Profile, source: Source, notes: Vec<String>) -> Loaded {
    let kind = match &source.format {
        Format::Portcullis { kind, .. } => kind.as_str(),
        _ => "SeccompProfile",
    };
    let object = [source.namespace.as_deref(), source.object.as_deref()];
    let object: Vec<&str> = object.into_iter().flatten().collect();
    let which = match (&source.title, &object[..]) {
        (Some(title), _) => title.clone(),
        (None, []) => format!("line {}", source.position("").line),
        (None, _) => format!("{kind} {}", object.join("/")),
    };
    let notes = notes.into_iter().chain(placeholder(&profile)).collect();
    Loaded {
        name: format!("{} ({which})", source.file),
        profile,
        source,
        notes,
        idle_keys: Vec::new(),
        not_json: None,
    }
}

/// That a name is no call: Inspektor Gadget lists the byte behind its 500 calls, its own mark that runc was seen, as call 500.
///
/// Source: `SYSCALLS_MAP_VALUE_FOOTER_SIZE` in inspektor-gadget's `gadgets/advise_seccomp/program.bpf.c`, and `go/program.go`.
fn placeholder(profile: &Profile) -> Option<String> {
    const NAMES: [&str; 2] = ["syscall_1f4", "unknown_syscall_500"];
    let mut names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    let name = names.find(|name| NAMES.contains(&name.as_str()))?;
    Some(format!("{name} is no call but a mark of Inspektor Gadget's own: remove it"))
}

/// What was read, or what is wrong with it in its places.
pub(super) fn finished(read: Result<Profile, ParseErrors>, source: Source, notes: Vec<String>) -> Read {
    match read {
        Ok(profile) => Ok(loaded(profile, source, notes)),
        Err(errors) => Err(Unreadable::of_profile(&errors, &source)),
    }
}

/// A profile with the keys that its format has not, fit to be shown.
fn with_idle_keys(mut loaded: Loaded, idle_keys: Vec<String>) -> Loaded {
    loaded.idle_keys = idle_keys.iter().map(|path| printable(path)).collect();
    loaded
}

fn oci(value: &Value, source: Source) -> Read {
    finished(Profile::from_value(value, Dialect::Oci), source, Vec::new())
}

fn resolved(value: &Value, container: &Context, mut source: Source) -> Read {
    let mut notes = Vec::new();
    let read = docker::resolve(value, container).map(|Resolved { profile, origins, left_out }| {
        notes.push(platform::dockers(container, left_out.len()));
        // Where it can't be resolved, paths are the file's own.
        source.origins = Some(origins);
        profile
    });
    finished(read, source, notes)
}

/// The bases of an object of this project that has no document.
fn only_bases(item: &Node) -> Option<String> {
    let has_document = item.get("spec").is_some_and(|spec| spec.get("profile").is_some());
    let bases = bases(item);
    (!has_document && !bases.is_empty()).then(|| names(&bases))
}

fn names(bases: &[BaseReference]) -> String {
    let names: Vec<String> = bases.iter().map(|base| printable(&base.name)).collect();
    names.join(", ")
}

/// An object's bases; what isn't one is the API server's to refuse.
fn bases(item: &Node) -> Vec<BaseReference> {
    let value = item.get("spec").and_then(|spec| spec.get("bases")).map_or(Value::Null, Node::to_value);
    serde_json::from_value(value).unwrap_or_default()
}

fn mode(item: &Node) -> Mode {
    match item.get("spec").and_then(|spec| spec.text("mode")) {
        Some("Audit") => Mode::Audit,
        _ => Mode::Enforce,
    }
}

/// What an author may have written into an object besides its name and its profile.
fn besides(item: &Node) -> Vec<String> {
    const WRITTEN: &[(&str, &[&str])] = &[
        ("metadata", &["labels", "annotations", "finalizers", "ownerReferences"]),
        ("spec", &["pin", "revisionHistoryLimit"]),
    ];
    let found = WRITTEN.iter().flat_map(|(part, fields)| {
        let part = (*part, item.get(part));
        fields.iter().filter_map(move |field| part.1?.get(field).map(|_| format!("{}.{field}", part.0)))
    });
    found.collect()
}

fn portcullis(item: &Node, source: Source) -> Read {
    let document = item.get("spec").and_then(|spec| spec.get("profile")).map_or(Value::Null, Node::to_value);
    let bases = bases(item);
    let notes = (!bases.is_empty())
        .then(|| format!("what its bases allow besides is not in the file: {}", names(&bases)));
    let read = Profile::from_value(&document, Dialect::CustomResource);
    finished(read, source, notes.into_iter().collect())
}

/// A resource of the Security Profiles Operator.
fn security_profiles_operator(item: &Node, version: &str, source: impl FnOnce(Format) -> Source) -> Read {
    let spec = item.get("spec").map_or(Value::Null, Node::to_value);
    match spo::read(version, &spec) {
        Ok(resource) => {
            let notes = notes_of(&resource);
            let spo::Resource { profile, base, .. } = resource;
            Ok(loaded(profile, source(Format::SecurityProfilesOperator { base }), notes))
        }
        Err(errors) => {
            Err(Unreadable::of_profile(&errors, &source(Format::SecurityProfilesOperator { base: None })))
        }
    }
}

/// What to know of what the Security Profiles Operator, or Kubescape, holds.
pub(super) fn notes_of(resource: &spo::Resource) -> Vec<String> {
    let spo::Resource { base, disabled, is_native, .. } = resource;
    let base = base.as_ref().map(|name| format!("what its base allows besides is not in the file: {name}"));
    let disabled = disabled.then(|| "it is disabled there".to_owned());
    let native = is_native
        .then(|| "SCMP_ARCH_NATIVE is left out: the node's own architecture is filtered anyway".to_owned());
    [base, disabled, native].into_iter().flatten().collect()
}

fn shown(name: &Option<String>) -> String {
    name.as_deref().unwrap_or("without a name").chars().take(60).collect()
}
