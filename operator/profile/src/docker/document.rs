//! A document of the format, taken apart: what OCI has, and what it hasn't.

use serde_json::{Map, Value};

use super::{CAPABILITIES, Context, Kernel, arch_name, arch_of};
use crate::{
    Arch, ParseErrors, errno,
    parse::{Path, nearest, shown},
};

/// The keys of a document that only this format has.
pub(super) const PROFILE_KEYS: &[&str] = &["archMap", "defaultErrno"];
/// The keys of a rule that only this format has.
pub(super) const RULE_KEYS: &[&str] = &["name", "comment", "includes", "excludes", "errno"];

/// A document, its rules' conditions apart.
pub(super) struct Document {
    /// What OCI has: the same rules, at the same indexes.
    pub(super) oci: Value,
    /// Each rule's conditions.
    pub(super) conditions: Vec<Conditions>,
    arch_map: Option<Vec<(Arch, Vec<Arch>)>>,
    /// The rules that had `name`.
    singular: Vec<usize>,
}

/// Of a rule: all of the first must hold and none of the second.
#[derive(Default)]
pub(super) struct Conditions {
    includes: Filter,
    excludes: Filter,
}

#[derive(Default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<Arch>,
    min_kernel: Option<Kernel>,
}

impl Conditions {
    /// The first condition that keeps the rule from applying, in words.
    ///
    /// `caps` are those of the bounding set. All of `includes.caps` must be held, and one of `excludes.caps` is enough;
    /// of `arches` the node's own name counts. containers/common has no `minKernel`.
    pub(super) fn fails(&self, context: &Context) -> Option<String> {
        let arch = arch_name(context.arch);
        let held = |cap: &&String| context.capabilities.contains(*cap);
        let reached = |kernel: &Kernel| context.kernel >= *kernel;
        let Self { includes, excludes } = self;
        if excludes.arches.contains(&context.arch) {
            return Some(format!("excludes.arches: the node is {arch}"));
        }
        if let Some(cap) = excludes.caps.iter().find(held) {
            return Some(format!("excludes.caps: {cap} is held"));
        }
        if let Some(kernel) = excludes.min_kernel.filter(reached) {
            return Some(format!("excludes.minKernel: {} is {kernel} or later", context.kernel));
        }
        if !includes.arches.is_empty() && !includes.arches.contains(&context.arch) {
            return Some(format!("includes.arches: the node is {arch}"));
        }
        if let Some(cap) = includes.caps.iter().find(|cap| !held(cap)) {
            return Some(format!("includes.caps: {cap} is not held"));
        }
        if let Some(kernel) = includes.min_kernel.filter(|kernel| !reached(kernel)) {
            return Some(format!("includes.minKernel: {} is before {kernel}", context.kernel));
        }
        None
    }
}

impl Document {
    /// Takes a document apart, and says what is wrong with the parts that OCI hasn't.
    pub(super) fn read(document: &Value) -> (Self, ParseErrors) {
        let mut reader = Reader { errors: ParseErrors::default() };
        let mut oci = document.clone();
        let mut read =
            Self { oci: Value::Null, conditions: Vec::new(), arch_map: None, singular: Vec::new() };
        if let Some(fields) = oci.as_object_mut() {
            read.arch_map = reader.arch_map(fields);
            let path = |key| Path::Key(&Path::Root, key);
            reader.errno(fields, "defaultErrno", "defaultErrnoRet", &path("defaultErrno"));
            let list = Path::Key(&Path::Root, "syscalls");
            let rules = fields.get_mut("syscalls").and_then(Value::as_array_mut);
            for (position, rule) in rules.into_iter().flatten().enumerate() {
                let (conditions, singular) = reader.rule(rule, &Path::Item(&list, position));
                read.conditions.push(conditions);
                read.singular.extend(singular.then_some(position));
            }
        }
        read.oci = oci;
        (read, reader.errors)
    }

    /// The architectures of a node's filter; `None` where the document lists them itself. An `archMap` without the
    /// node's architecture gives none, which leaves the filter with the native one.
    pub(super) fn architectures(&self, arch: Arch) -> Option<Vec<Arch>> {
        let map = self.arch_map.as_ref()?;
        let entry = map.iter().find(|(one, _)| *one == arch);
        Some(entry.map_or_else(Vec::new, |(arch, others)| {
            std::iter::once(*arch).chain(others.iter().copied()).collect()
        }))
    }

    /// Errors about `names[0]` where the document has `name`.
    pub(super) fn in_its_own_paths(&self, errors: ParseErrors) -> ParseErrors {
        errors.map_paths(|path| {
            self.singular
                .iter()
                .find_map(|rule| {
                    let rest = path.strip_prefix(&format!("syscalls[{rule}].names"))?;
                    Some(format!("syscalls[{rule}].name{}", rest.strip_prefix("[0]").unwrap_or(rest)))
                })
                .unwrap_or_else(|| path.clone())
        })
    }
}

struct Reader {
    errors: ParseErrors,
}

impl Reader {
    fn arch_map(&mut self, fields: &mut Map<String, Value>) -> Option<Vec<(Arch, Vec<Arch>)>> {
        let map = fields.remove("archMap").filter(|map| !map.is_null())?;
        let path = Path::Key(&Path::Root, "archMap");
        let Some(entries) = map.as_array() else {
            self.errors.push(
                &path,
                "is no list: write [{\"architecture\": ..., \"subArchitectures\": [...]}]".into(),
            );
            return None;
        };
        let listed =
            fields.get("architectures").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if listed && !entries.is_empty() {
            let message = "stands beside architectures, which Docker and Podman refuse: keep one of them";
            self.errors.push(&path, message.to_owned());
        }
        let mut read = Vec::new();
        for (position, entry) in entries.iter().enumerate() {
            let path = Path::Item(&path, position);
            let Some(entry) = entry.as_object() else {
                self.errors.push(&path, "is no object: write architecture and subArchitectures".to_owned());
                continue;
            };
            let known = ["architecture", "subArchitectures"];
            self.keys(entry, &known, &path);
            let arch = entry.get("architecture").and_then(Value::as_str);
            let key = Path::Key(&path, "architecture");
            let arch = self.arch(arch.unwrap_or_default(), &key);
            let key = Path::Key(&path, "subArchitectures");
            let others = self.texts(entry.get("subArchitectures"), &key);
            let others: Vec<Arch> = others
                .iter()
                .enumerate()
                .filter_map(|(position, name)| self.arch(name, &Path::Item(&key, position)))
                .collect();
            read.extend(arch.map(|arch| (arch, others)));
        }
        (!entries.is_empty() || !listed).then_some(read)
    }

    fn arch(&mut self, name: &str, path: &Path<'_>) -> Option<Arch> {
        let arch = Arch::ALL.iter().copied().find(|arch| arch.as_str() == name);
        if arch.is_none() {
            let names: Vec<&str> = Arch::ALL.iter().map(|arch| arch.as_str()).collect();
            let meant =
                nearest(name, &names).map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            self.errors.push(path, format!("{:?} is no architecture{meant}", shown(name)));
        }
        arch
    }

    /// Turns a rule into OCI's. Answers with its conditions, and whether it had `name`.
    fn rule(&mut self, rule: &mut Value, path: &Path<'_>) -> (Conditions, bool) {
        let Some(fields) = rule.as_object_mut() else { return (Conditions::default(), false) };
        fields.remove("comment");
        let includes = self.filter(fields.remove("includes"), &Path::Key(path, "includes"));
        let excludes = self.filter(fields.remove("excludes"), &Path::Key(path, "excludes"));
        self.errno(fields, "errno", "errnoRet", &Path::Key(path, "errno"));
        let name = fields.remove("name").filter(|name| !name.is_null() && name != "");
        let singular = name.is_some();
        if let Some(name) = name {
            let several =
                fields.get("names").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
            if several {
                let message = "stands beside names, which Docker and Podman refuse: keep one of them";
                self.errors.push(&Path::Key(path, "name"), message.to_owned());
            } else {
                fields.insert("names".to_owned(), Value::Array(vec![name]));
            }
        }
        (Conditions { includes, excludes }, singular)
    }

    fn filter(&mut self, filter: Option<Value>, path: &Path<'_>) -> Filter {
        let Some(filter) = filter.filter(|filter| !filter.is_null()) else { return Filter::default() };
        let Some(fields) = filter.as_object() else {
            self.errors.push(path, "is no object: write caps, arches or minKernel".to_owned());
            return Filter::default();
        };
        self.keys(fields, &["caps", "arches", "minKernel"], path);
        let key = Path::Key(path, "caps");
        let caps = self.texts(fields.get("caps"), &key);
        for (position, cap) in
            caps.iter().enumerate().filter(|(_, cap)| !CAPABILITIES.contains(&cap.as_str()))
        {
            let meant = CAPABILITIES
                .iter()
                .find(|one| one.strip_prefix("CAP_").is_some_and(|bare| bare.eq_ignore_ascii_case(cap)))
                .copied()
                .or_else(|| nearest(cap, CAPABILITIES))
                .map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            self.errors.push(
                &Path::Item(&key, position),
                format!("{:?} is no capability, so no container has it{meant}", shown(cap)),
            );
        }
        let key = Path::Key(path, "arches");
        let names = self.texts(fields.get("arches"), &key);
        let mut arches = Vec::new();
        for (position, name) in names.iter().enumerate() {
            match arch_of(name) {
                Some(arch) => arches.push(arch),
                None => self.errors.push(
                    &Path::Item(&key, position),
                    format!(
                        "{:?} is no architecture here, so no node has it: write libseccomp's short name, for example amd64 or arm64",
                        shown(name)
                    ),
                ),
            }
        }
        let key = Path::Key(path, "minKernel");
        let min_kernel = match fields.get("minKernel") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(value) => match value.as_str().unwrap_or_default().parse::<Kernel>() {
                Ok(kernel) => Some(kernel),
                Err(_) => {
                    let message = format!(
                        "{} is no kernel version: write two numbers in quotes, for example \"4.8\"",
                        shown(&value.to_string())
                    );
                    self.errors.push(&key, message);
                    None
                }
            },
        };
        Filter { caps, arches, min_kernel }
    }

    /// Puts an errno by name where OCI has its number. Podman reads the name where there is one, and Docker the number.
    fn errno(&mut self, fields: &mut Map<String, Value>, name: &str, number: &'static str, path: &Path<'_>) {
        let errno = match fields.remove(name) {
            None | Some(Value::Null) => return,
            Some(Value::String(text)) if text.is_empty() => return,
            Some(Value::String(text)) => match errno::number(&text) {
                Some(errno) => errno,
                None => {
                    let message = format!(
                        "{:?} is no errno of Linux: write its name or number, for example EPERM",
                        shown(&text)
                    );
                    return self.errors.push(path, message);
                }
            },
            Some(value) => match value.as_u64().and_then(|errno| u32::try_from(errno).ok()) {
                Some(errno) => errno,
                None => {
                    return self
                        .errors
                        .push(path, "is no errno: write its name, for example EPERM".to_owned());
                }
            },
        };
        match fields.get(number).filter(|other| !other.is_null()) {
            Some(other) if other.as_u64() != Some(u64::from(errno)) => {
                let message = format!(
                    "is {errno}, and {number} {}: Podman reads the one and Docker the other, so make them equal",
                    shown(&other.to_string())
                );
                self.errors.push(path, message);
            }
            _ => {
                fields.insert(number.to_owned(), errno.into());
            }
        }
    }

    fn texts(&mut self, list: Option<&Value>, path: &Path<'_>) -> Vec<String> {
        let list = match list {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.errors.push(path, "is no list: write a list of strings".to_owned());
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (position, item) in list.iter().enumerate() {
            match item.as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => {
                    self.errors.push(&Path::Item(path, position), "is no string: write a string".to_owned())
                }
            }
        }
        texts
    }

    fn keys(&mut self, fields: &Map<String, Value>, known: &[&str], path: &Path<'_>) {
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let message =
                format!("there is no such key here, and a runtime drops it (valid: {})", known.join(", "));
            self.errors.push(&Path::Key(path, key), message);
        }
    }
}
