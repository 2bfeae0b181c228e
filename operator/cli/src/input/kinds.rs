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
    tree::{Content, Document, MAX_OBJECTS, Node, Position},
};
use crate::platform;

/// What a profile was in its file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    /// An OCI document.
    Oci,
    /// Docker's and Podman's format.
    Docker,
    /// A custom resource of this project.
    Portcullis {
        /// Its kind.
        kind: ProfileKind,
        /// `spec.mode`.
        mode: Mode,
        /// `spec.bases`.
        bases: Vec<BaseReference>,
    },
    /// A SeccompProfile of the Security Profiles Operator.
    SecurityProfilesOperator {
        /// `spec.baseProfileName`.
        base: Option<String>,
    },
}

/// Where a profile stands in its file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The file, for people.
    pub(crate) file: String,
    /// What it was.
    pub(crate) format: Format,
    /// The object's namespace.
    pub(crate) namespace: Option<String>,
    /// The object's name.
    pub(crate) object: Option<String>,
    /// What else its author wrote, by path: labels, a pin.
    pub(crate) besides: Vec<String>,
    /// The part of the file that is the OCI document, as a path: `spec.profile`.
    prefix: String,
    root: Arc<Node>,
    /// For each rule of the profile its index in the file, where they differ.
    origins: Option<Vec<usize>>,
}

impl Source {
    /// A path in the profile as a path in the file's document.
    pub(crate) fn path(&self, path: &str) -> String {
        let path = self.original(path);
        match (self.prefix.as_str(), path.as_str()) {
            ("", _) => path,
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        }
    }

    /// Where a path in the profile is.
    pub(crate) fn position(&self, path: &str) -> Position {
        self.root.locate(&self.path(path))
    }

    /// Where a path in the file's document is.
    pub(crate) fn own_position(&self, path: &str) -> Position {
        self.root.locate(path)
    }

    /// Whether the whole file is the profile, so that a runtime would be given the file.
    pub(super) fn is_a_runtimes_file(&self) -> bool {
        self.prefix.is_empty() && matches!(self.format, Format::Oci | Format::Docker)
    }

    /// A message about the profile, with the file's own indexes of rules.
    pub(crate) fn message(&self, message: &str) -> String {
        let mut parts = message.split("syscalls[");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (index, rest) =
                part.split_at(part.find(|one: char| !one.is_ascii_digit()).unwrap_or(part.len()));
            let place = self.original(&format!("syscalls[{index}]"));
            text += place.strip_suffix(']').unwrap_or(&place);
            text += rest;
        }
        text
    }

    /// Rules that don't apply are counted in the file, and a rule of one name may have `name`.
    fn original(&self, path: &str) -> String {
        let rule = || {
            let (index, rest) = path.strip_prefix("syscalls[")?.split_once(']')?;
            let index: usize = index.parse().ok()?;
            let index = self.origins.as_ref().map_or(Some(index), |origins| origins.get(index).copied())?;
            let within = match self.prefix.as_str() {
                "" => format!("syscalls[{index}].name"),
                prefix => format!("{prefix}.syscalls[{index}].name"),
            };
            let singular = self.format == Format::Docker && self.root.locate(&within) != self.parent(&within);
            match rest.strip_prefix(".names") {
                Some(rest) if singular => {
                    Some(format!("syscalls[{index}].name{}", rest.strip_prefix("[0]").unwrap_or(rest)))
                }
                _ => Some(format!("syscalls[{index}]{rest}")),
            }
        };
        rule().unwrap_or_else(|| path.to_owned())
    }

    /// Where the object that a path's last step is in begins.
    fn parent(&self, path: &str) -> Position {
        self.root.locate(path.rsplit_once('.').map_or("", |(parent, _)| parent))
    }
}

/// Adds the profiles in a document to its file.
pub(super) fn sort(document: Document, container: &Context, file: &mut File) {
    let Document { root, problems } = document;
    let root = Arc::new(root);
    if root.is_null() {
        return;
    }
    let before = file.profiles.len();
    let items = match &root.content {
        Content::Map(_) => items(&root),
        _ => {
            let problem = Problem::at(root.at, "is no object: a profile is one, in JSON or YAML");
            file.profiles.push(Err(Unreadable::new(&file.name, problem)));
            return;
        }
    };
    if items.len() > MAX_OBJECTS {
        let problem = Problem::at(root.at, format!("the list has more than {MAX_OBJECTS} items: split it"));
        file.profiles.push(Err(Unreadable::new(&file.name, problem)));
        return;
    }
    for (prefix, item) in items {
        object(&root, item, &prefix, container, file);
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

/// Reads one object.
fn object(root: &Arc<Node>, item: &Node, prefix: &str, container: &Context, file: &mut File) {
    let (version, kind) = (item.text("apiVersion"), item.text("kind"));
    // Shown to people, and to an API server nothing else would be a name.
    let metadata = |key| item.get("metadata").and_then(|metadata| metadata.text(key)).map(printable);
    let source = |format, within: &str| Source {
        file: file.name.clone(),
        format,
        namespace: metadata("namespace"),
        object: metadata("name"),
        besides: besides(item),
        prefix: [prefix, within].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("."),
        root: Arc::clone(root),
        origins: None,
    };
    let read = match (version, kind) {
        (Some(version), Some(kind)) => {
            let group = version.split_once('/').map_or("", |(group, _)| group);
            let own = [ProfileKind::SeccompProfile, ProfileKind::ClusterSeccompProfile]
                .into_iter()
                .find(|one| group == GROUP && one.as_str() == kind);
            match own {
                Some(kind) => match only_bases(item) {
                    Some(bases) => {
                        let object = shown(&metadata("name"));
                        let note = format!("{kind} {object}: has no profile of its own, only bases: {bases}");
                        return file.notes.push(format!("{}: {note}", file.name));
                    }
                    None => {
                        let bases = bases(item);
                        let format = Format::Portcullis { kind, mode: mode(item), bases };
                        portcullis(item, source(format, "spec.profile"))
                    }
                },
                None if group == spo::GROUP && kind == spo::KIND => {
                    security_profiles_operator(item, version, |format| source(format, "spec"))
                }
                None => {
                    file.passed_over += 1;
                    return;
                }
            }
        }
        // A runtime's own specification of a container.
        _ if item.text("ociVersion").is_some() => {
            match item.get("linux").and_then(|linux| linux.get("seccomp")) {
                Some(seccomp) => oci(&seccomp.to_value(), source(Format::Oci, "linux.seccomp")),
                None => {
                    let note = format!(
                        "{}: the container of this runtime specification has no seccomp profile",
                        file.name
                    );
                    return file.notes.push(note);
                }
            }
        }
        _ => {
            let mut value = item.to_value();
            let idle_keys = take_idle_keys(&mut value);
            let read = match docker::is_docker(&value) {
                true => resolved(&value, container, source(Format::Docker, "")),
                false => oci(&value, source(Format::Oci, "")),
            };
            read.map(|loaded| with_idle_keys(loaded, idle_keys))
        }
    };
    file.profiles.push(read);
}

/// A profile, or what is wrong with it.
type Read = Result<Loaded, Unreadable>;

fn loaded(profile: Profile, source: Source, notes: Vec<String>) -> Loaded {
    let kind = match &source.format {
        Format::Portcullis { kind, .. } => kind.as_str(),
        _ => "SeccompProfile",
    };
    let object = [source.namespace.as_deref(), source.object.as_deref()];
    let object: Vec<&str> = object.into_iter().flatten().collect();
    let which = match object[..] {
        [] => format!("line {}", source.position("").line),
        _ => format!("{kind} {}", object.join("/")),
    };
    Loaded {
        name: format!("{} ({which})", source.file),
        profile,
        source,
        notes,
        idle_keys: Vec::new(),
        not_json: None,
    }
}

/// What was read, or what is wrong with it in its places.
fn finished(read: Result<Profile, ParseErrors>, source: Source, notes: Vec<String>) -> Read {
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
        Ok(spo::Resource { profile, base, disabled }) => {
            let base_note =
                base.as_ref().map(|name| format!("what its base allows besides is not in the file: {name}"));
            let notes =
                base_note.into_iter().chain(disabled.then(|| "it is disabled there".to_owned())).collect();
            Ok(loaded(profile, source(Format::SecurityProfilesOperator { base }), notes))
        }
        Err(errors) => {
            Err(Unreadable::of_profile(&errors, &source(Format::SecurityProfilesOperator { base: None })))
        }
    }
}

fn shown(name: &Option<String>) -> String {
    name.as_deref().unwrap_or("without a name").chars().take(60).collect()
}
