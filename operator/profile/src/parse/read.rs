//! From a JSON value to a profile, collecting errors.

use serde_json::{Map, Value};

use super::{
    Dialect, NATIVE, ParseErrors,
    error::{Path, shown},
    keys::{self, Keys},
};
use crate::{Action, Arch, Arg, Flag, Operator, Profile, Rule, is_printable};

/// Reads a whole profile; `errors` may hold some already.
pub(super) fn profile(value: &Value, dialect: Dialect, errors: ParseErrors) -> Result<Profile, ParseErrors> {
    let mut reader = Reader { errors, dialect };
    let profile = reader.profile(value);
    match profile {
        Some(profile) if reader.errors.is_empty() => Ok(profile),
        _ => Err(reader.errors),
    }
}

/// The candidate nearest to a word, where one is near: two edits at most, or the same but for case.
pub(crate) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    if word.len() > 60 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), *candidate))
        .filter(|&(distance, _)| distance <= 2)
        .min()
        .map(|(_, candidate)| candidate)
}

struct Reader {
    errors: ParseErrors,
    dialect: Dialect,
}

/// An object's fields, and where it stands.
struct Fields<'v> {
    object: &'v Map<String, Value>,
    path: &'v Path<'v>,
}

impl<'v> Fields<'v> {
    /// A field; `null` counts as absent, as it does for Go's decoder.
    fn get(&self, key: &str) -> Option<&'v Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }
}

impl Reader {
    fn profile(&mut self, value: &Value) -> Option<Profile> {
        if value.as_object().is_some_and(Map::is_empty) {
            self.errors.push(
                &Path::Root,
                "an empty profile means no filter at all to runc and CRI-O: name at least a defaultAction"
                    .to_owned(),
            );
            return None;
        }
        let fields = self.fields(value, &Path::Root, &keys::PROFILE)?;
        let default_action = self.required(&fields, "defaultAction", Self::action);
        let default_errno_ret = self.optional(&fields, "defaultErrnoRet", Self::errno);
        let architectures = self.list(&fields, "architectures", Self::architecture);
        let flags = self.list(&fields, "flags", |reader, value, path| {
            reader.word(value, path, "flag", Flag::ALL, Flag::as_str)
        });
        let listener_path = self.optional(&fields, "listenerPath", Self::text);
        let listener_metadata = self.optional(&fields, "listenerMetadata", Self::text);
        let syscalls = self.list(&fields, "syscalls", Self::rule);
        Some(Profile {
            default_action: default_action?,
            default_errno_ret,
            architectures,
            flags,
            listener_path,
            listener_metadata,
            syscalls,
        })
    }

    fn rule(&mut self, value: &Value, path: &Path<'_>) -> Option<Rule> {
        let fields = self.fields(value, path, &keys::RULE)?;
        let names = self.names(&fields);
        let action = self.required(&fields, "action", Self::action);
        let errno_ret = self.optional(&fields, "errnoRet", Self::errno);
        let args = self.list(&fields, "args", Self::arg);
        Some(Rule { names, action: action?, errno_ret, args })
    }

    fn names(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let path = Path::Key(fields.path, "names");
        if fields.get("names").is_none() {
            // The complaint about a singular `name` says it all.
            if !fields.object.contains_key("name") {
                self.errors.push(&path, "is missing: list the names of system calls".to_owned());
            }
            return Vec::new();
        }
        if fields.object.get("names").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            self.errors.push(
                &path,
                "is empty, so the rule does nothing: name system calls, or remove the rule".to_owned(),
            );
        }
        self.list(fields, "names", |reader, value, path| {
            let name = reader.text(value, path)?;
            if name.is_empty() {
                reader.errors.push(path, "is empty: write the name of a system call".to_owned());
                return None;
            }
            // No call has such a name, and names are shown wherever a profile is.
            if !name.chars().all(is_printable) {
                let shown = shown(&name);
                let message = format!("{shown:?} has control characters: write the name of a system call");
                reader.errors.push(path, message);
                return None;
            }
            Some(name)
        })
    }

    fn arg(&mut self, value: &Value, path: &Path<'_>) -> Option<Arg> {
        let fields = self.fields(value, path, &keys::ARG)?;
        let index = self.required(&fields, "index", Self::index);
        let value = self.required(&fields, "value", Self::argument);
        let value_two = self.optional(&fields, "valueTwo", Self::argument);
        let op = self.required(&fields, "op", |reader, value, path| {
            reader.word(value, path, "operator", Operator::ALL, Operator::as_str)
        });
        Some(Arg { index: index?, value: value?, value_two: value_two.unwrap_or(0), op: op? })
    }

    fn fields<'v>(&mut self, value: &'v Value, path: &'v Path<'v>, keys: &Keys) -> Option<Fields<'v>> {
        let Some(object) = value.as_object() else {
            let message = format!("is {}: {} is an object", kind(value), keys.object);
            self.errors.push(path, message);
            return None;
        };
        for key in object.keys().filter(|key| !keys.known.contains(&key.as_str())) {
            self.errors.push(&Path::Key(path, key), keys.complaint(key));
        }
        Some(Fields { object, path })
    }

    fn required<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Value, &Path<'_>) -> Option<T>,
    ) -> Option<T> {
        if fields.get(key).is_none() {
            self.errors.push(&Path::Key(fields.path, key), "is missing, and required".to_owned());
        }
        self.optional(fields, key, read)
    }

    fn optional<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Value, &Path<'_>) -> Option<T>,
    ) -> Option<T> {
        read(self, fields.get(key)?, &Path::Key(fields.path, key))
    }

    fn list<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        mut read: impl FnMut(&mut Self, &Value, &Path<'_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = fields.get(key) else { return Vec::new() };
        let path = Path::Key(fields.path, key);
        let Some(items) = value.as_array() else {
            self.errors.push(&path, format!("is {}: write a list", kind(value)));
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .filter_map(|(position, item)| read(self, item, &Path::Item(&path, position)))
            .collect()
    }

    fn action(&mut self, value: &Value, path: &Path<'_>) -> Option<Action> {
        self.word(value, path, "action", Action::ALL, Action::as_str)
    }

    fn architecture(&mut self, value: &Value, path: &Path<'_>) -> Option<Arch> {
        if value == NATIVE {
            let message = "SCMP_ARCH_NATIVE is no architecture to a runtime: remove it, because the node's own is filtered \
                           whether it is listed or not";
            self.errors.push(path, message.to_owned());
            return None;
        }
        self.word(value, path, "architecture", Arch::ALL, Arch::as_str)
    }

    /// One word of a fixed set. runc refuses an unknown one when the container starts
    /// (`libcontainer/seccomp/config.go`), which is too late.
    fn word<T: Copy>(
        &mut self,
        value: &Value,
        path: &Path<'_>,
        what: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(value, path)?;
        let found = all.iter().copied().find(|&candidate| name(candidate) == text);
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(|&candidate| name(candidate)).collect();
            let shown = shown(&text);
            let meant =
                nearest(&text, &names).map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            let message = format!("{shown:?} is no {what}{meant} (valid: {})", names.join(", "));
            self.errors.push(path, message);
        }
        found
    }

    fn text(&mut self, value: &Value, path: &Path<'_>) -> Option<String> {
        let text = value.as_str();
        if text.is_none() {
            self.errors.push(path, format!("is {}: write a string", kind(value)));
        }
        text.map(str::to_owned)
    }

    fn index(&mut self, value: &Value, path: &Path<'_>) -> Option<u8> {
        let index = self.integer(value, path)?;
        let valid = u8::try_from(index).ok().filter(|&index| index <= 5);
        if valid.is_none() {
            self.errors.push(path, format!("{index} is no argument: a system call has arguments 0 to 5"));
        }
        valid
    }

    fn errno(&mut self, value: &Value, path: &Path<'_>) -> Option<u32> {
        if value.is_string() {
            let message = "is a string: write the errno's number, for example 38 for ENOSYS or 1 for EPERM";
            self.errors.push(path, message.to_owned());
            return None;
        }
        let errno = self.integer(value, path)?;
        let valid = u32::try_from(errno).ok();
        if valid.is_none() {
            self.errors.push(path, format!("{errno} is no errno: an errno has at most 32 bits"));
        }
        valid
    }

    /// A 64-bit value of a condition.
    fn argument(&mut self, value: &Value, path: &Path<'_>) -> Option<u64> {
        let Value::String(text) = value else { return self.integer(value, path) };
        if self.dialect == Dialect::Oci {
            let message = "is a string: write a decimal number, without quotes (runtimes refuse a string)";
            self.errors.push(path, message.to_owned());
            return None;
        }
        let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            // from_str_radix takes a sign.
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                u64::from_str_radix(digits, 16).ok()
            }
            Some(_) => None,
            None if text.bytes().all(|digit| digit.is_ascii_digit()) => text.parse().ok(),
            None => None,
        };
        if parsed.is_none() {
            let shown = shown(text);
            let message = format!(
                "{shown:?} is no 64-bit number: write decimal digits, or 0x and hexadecimal digits, up to {}",
                u64::MAX
            );
            self.errors.push(path, message);
        }
        parsed
    }

    fn integer(&mut self, value: &Value, path: &Path<'_>) -> Option<u64> {
        let Value::Number(number) = value else {
            self.errors.push(path, format!("is {}: write a whole number", kind(value)));
            return None;
        };
        let integer = number.as_u64();
        if integer.is_none() {
            let message = if number.as_i64().is_some() {
                format!("{number} is negative: write the unsigned number of the same bits")
            } else if number.as_f64().is_some_and(|float| float >= 18_446_744_073_709_551_616.0) {
                format!("{number} is over {}, the largest 64-bit number", u64::MAX)
            } else {
                format!(
                    "{number} is not a whole number: write decimal digits only, as runtimes refuse a point or an exponent"
                )
            };
            self.errors.push(path, message);
        }
        integer
    }
}

/// What a JSON value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
