//! A committed profile in its file, of which only some fields are replaced.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_api::{GROUP, RecordedFrom, SeccompDocument, SeccompProfile, VERSION};
use portcullis_profile::Profile;
use serde::Serialize;

use super::places::{self, Place};
use crate::manifest;

/// The longest file that is read, in bytes: 16 profiles of the greatest size.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
const KIND: &str = "SeccompProfile";

/// A file with a profile in it.
#[derive(Debug)]
pub(super) struct Committed {
    text: String,
    /// The object as it stands there.
    pub(super) object: SeccompProfile,
    document: Place,
}

/// What becomes of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) text: String,
    /// How many comments stood in what was replaced.
    pub(super) comments: usize,
}

impl Committed {
    /// Finds the one SeccompProfile of a file, or the one of a name.
    pub(super) fn read(path: &Path, name: Option<&str>) -> Result<Self> {
        let shown = path.display();
        let length = fs::metadata(path).with_context(|| format!("can't read {shown}"))?.len();
        ensure!(length <= MAX_BYTES, "{shown} has more than 4 MiB: no file of profiles has");
        let text = fs::read_to_string(path).with_context(|| format!("can't read {shown}"))?;
        Self::find(text, name).with_context(|| shown.to_string())
    }

    fn find(text: String, name: Option<&str>) -> Result<Self> {
        let is_profile = |place: &Place| {
            place.word("kind") == Some(KIND)
                && place.word("apiVersion") == Some(format!("{GROUP}/{VERSION}").as_str())
        };
        let named = |place: &Place| {
            place.field("metadata").and_then(|field| field.value.word("name")).unwrap_or_default().to_owned()
        };
        let mut all = places::documents(&text)?;
        let mut found: Vec<Place> = all.extract_if(.., |place| is_profile(place)).collect();
        let names: Vec<String> = found.iter().map(named).collect();
        if found.is_empty() && all.iter().any(|place| place.field("defaultAction").is_some()) {
            bail!(
                "holds a profile as runtimes or Docker read it, and --update changes a {KIND} of {GROUP}/{VERSION} in its place: make one of it \
                 with `kubectl seccomp convert --to cr --name NAME FILE > web.yaml`, where --cap, --cap-drop, --kernel and --arch say which container \
                 Docker's format is read for, and name that file here"
            );
        }
        if found.is_empty() {
            bail!(
                "holds no {KIND} of {GROUP}/{VERSION} (what is inside of a List does not count): write one first, with \
                 `kubectl seccomp record export` without --update"
            );
        }
        if let Some(name) = name {
            found.retain(|place| named(place) == name);
        }
        let document = match found.len() {
            1 => found.swap_remove(0),
            0 => bail!("holds no {KIND} {:?}, but {}", name.unwrap_or_default(), names.join(", ")),
            _ => bail!("holds several ({}): choose one with --name", names.join(", ")),
        };
        // From the line's beginning, so that columns are what they are in the file.
        let begin = line_start(&text, document.range.start);
        let own = &text[begin..document.range.end];
        let object: SeccompProfile = serde_saphyr::from_str(own)
            .map_err(|error| anyhow::anyhow!("the {KIND} can't be read: {error}"))?;
        ensure!(document.field("spec").is_some(), "the {KIND} has no spec");
        Ok(Self { text, object, document })
    }

    /// The file with another document in `spec.profile`, another `spec.recordedFrom`, and all else as it is.
    pub(super) fn with(&self, profile: Option<&Profile>, from: &RecordedFrom) -> Result<Edited> {
        let mut edits = Vec::new();
        if let Some(profile) = profile {
            let yaml = manifest::profile_field(profile)?;
            edits.push(self.edit("profile", &yaml, &SeccompDocument::from(profile))?);
        }
        edits.push(self.edit("recordedFrom", &manifest::recorded_from_field(from)?, from)?);
        // From the end on, so that what is before keeps its place; of two at one place the first stands first.
        edits.reverse();
        edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        let mut text = self.text.clone();
        let mut comments = 0;
        for (range, new) in edits {
            comments += self.text[range.clone()].lines().filter(|line| has_comment(line)).count();
            text.replace_range(range, &new);
        }
        let edited = Edited { text, comments };
        self.check(&edited, profile, from)?;
        Ok(edited)
    }

    /// What to replace by a field of the spec.
    fn edit(&self, key: &str, yaml: &str, value: &impl Serialize) -> Result<(Range<usize>, String)> {
        let spec = &self.document.field("spec").context("the object has no spec")?.value;
        if spec.flow { self.flow(spec, key, value) } else { self.block(spec, key, yaml) }
    }

    /// Between brackets, as in JSON.
    fn flow(&self, spec: &Place, key: &str, value: &impl Serialize) -> Result<(Range<usize>, String)> {
        let first = spec.fields.first().context("spec is empty")?;
        let in_lines = self.text[spec.range.clone()].contains('\n');
        let indent = &self.text[line_start(&self.text, first.at)..first.at];
        let indent: String = indent.chars().take_while(|one| *one == ' ' || *one == '\t').collect();
        let json = match in_lines {
            true => serde_json::to_string_pretty(value)?.replace('\n', &format!("\n{indent}")),
            false => serde_json::to_string(value)?,
        };
        Ok(match spec.field(key) {
            Some(field) => (field.value.range.clone(), self.lines(json)),
            None => {
                let between = if in_lines { format!("\n{indent}") } else { " ".to_owned() };
                (first.at..first.at, self.lines(format!("\"{key}\": {json},{between}")))
            }
        })
    }

    /// In lines of its own.
    fn block(&self, spec: &Place, key: &str, yaml: &str) -> Result<(Range<usize>, String)> {
        let first = spec.fields.first().context("spec is empty")?;
        let begin = |at: usize| line_start(&self.text, at);
        let indent = &self.text[begin(first.at)..first.at];
        ensure!(
            indent.chars().all(|one| one == ' '),
            "the fields of spec don't begin lines of their own, so they can't be replaced: write them in block style"
        );
        let mut new = String::new();
        for line in yaml.lines() {
            new.push_str(indent);
            new.push_str(line);
            new.push('\n');
        }
        let range = match spec.field(key) {
            Some(field) => begin(field.at)..self.line_end(field.value.range.end.max(field.at)),
            None => {
                let end = self.line_end(spec.range.end);
                end..end
            }
        };
        if range.start > 0 && !self.text[..range.start].ends_with('\n') {
            new.insert(0, '\n');
        }
        if range.end == self.text.len() && !self.text.ends_with('\n') {
            new.pop();
        }
        Ok((range, self.lines(new)))
    }

    /// With the line ends of the file.
    fn lines(&self, text: String) -> String {
        if self.text.contains("\r\n") { text.replace('\n', "\r\n") } else { text }
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    /// The edited text says what it should, and of all other documents what it said.
    fn check(&self, edited: &Edited, profile: Option<&Profile>, from: &RecordedFrom) -> Result<()> {
        let name = self.object.metadata.name.as_deref();
        let again = Self::find(edited.text.clone(), name)
            .context("it could not be read again after the change, so it is left as it is")?;
        let mut wished = self.object.clone();
        wished.spec.profile.recorded_from = Some(from.clone());
        if let Some(profile) = profile {
            wished.spec.profile.profile = Some(SeccompDocument::from(profile));
        }
        let others = |committed: &Self| {
            let text = &committed.text;
            (
                text[..committed.document.range.start].to_owned(),
                text[committed.document.range.end..].to_owned(),
            )
        };
        let same = again.object.metadata == wished.metadata && again.object.spec == wished.spec;
        ensure!(
            same && others(&again) == others(self),
            "the change would not be what it should, so it is left as it is: write spec in block style, without anchors"
        );
        Ok(())
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

fn has_comment(line: &str) -> bool {
    line.trim_start().starts_with('#') || line.contains(" #")
}

#[cfg(test)]
mod tests {
    use portcullis_profile::Dialect;
    use serde_json::json;

    use super::*;

    const FILE: &str = "\
# The shop.
apiVersion: v1
kind: ConfigMap   # not ours
metadata: {name: x}
---
# Reviewed by hand.
apiVersion: portcullis.dev/v1alpha1
kind: SeccompProfile
metadata:
  name: web  # the name
  labels: {team: shop}
spec:
  mode: Enforce
  profile:
    defaultAction: SCMP_ACT_ERRNO
    # why read
    syscalls:
    - {names: [read], action: SCMP_ACT_ALLOW}

  # The last one was bad.
  revisionHistoryLimit: 5
---
kind: Other
";

    fn profile(names: &[&str]) -> Profile {
        let document = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]});
        Profile::from_value(&document, Dialect::Oci).unwrap()
    }

    fn from() -> RecordedFrom {
        RecordedFrom {
            recording: Some("web".to_owned()),
            runs: vec!["smoke".to_owned()],
            ..RecordedFrom::default()
        }
    }

    fn find(text: &str, name: Option<&str>) -> Result<Committed> {
        Committed::find(text.to_owned(), name)
    }

    #[test]
    fn only_the_fields_are_replaced_and_every_other_byte_stays() {
        let edited = find(FILE, None).unwrap().with(Some(&profile(&["read", "write"])), &from()).unwrap();
        let before = FILE.split("  profile:").next().unwrap();
        let after = "
  # The last one was bad.
  revisionHistoryLimit: 5
  recordedFrom:
    recording: web
    runs:
    - smoke
---
kind: Other
";
        assert!(edited.text.starts_with(before), "{}", edited.text);
        assert!(edited.text.ends_with(after), "{}", edited.text);
        assert!(
            edited.text.contains("    - action: SCMP_ACT_ALLOW\n      names:\n      - read\n      - write\n")
        );
        assert_eq!(edited.comments, 1, "one stood in the document that was replaced");
        let origin_alone = find(FILE, None).unwrap().with(None, &from()).unwrap();
        assert_eq!(
            origin_alone.text.replace("  recordedFrom:\n    recording: web\n    runs:\n    - smoke\n", ""),
            FILE
        );
        let twice = find(&origin_alone.text, None).unwrap().with(None, &from()).unwrap();
        assert_eq!(twice.text, origin_alone.text);
    }

    #[test]
    fn line_ends_and_a_missing_last_one_are_kept() {
        let windows = FILE.replace('\n', "\r\n");
        let edited = find(&windows, None).unwrap().with(Some(&profile(&["write"])), &from()).unwrap().text;
        assert_eq!(edited.matches('\n').count(), edited.matches("\r\n").count());
        let short = FILE.split("\n\n").next().unwrap();
        let edited = find(short, None).unwrap().with(None, &from()).unwrap().text;
        assert_eq!(edited, format!("{short}\n  recordedFrom:\n    recording: web\n    runs:\n    - smoke"));
    }

    #[test]
    fn json_stays_json() {
        for pretty in [true, false] {
            let object = json!({
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile", "metadata": {"name": "web"},
                "spec": {"profile": SeccompDocument::from(&profile(&["read"])), "mode": "Audit"},
            });
            let text = if pretty { format!("{object:#}\n") } else { object.to_string() };
            let edited =
                find(&text, None).unwrap().with(Some(&profile(&["read", "write"])), &from()).unwrap().text;
            let object: SeccompProfile = serde_json::from_str(&edited).unwrap();
            assert_eq!(object.spec.profile.recorded_from, Some(from()));
            assert_eq!(
                object.spec.profile.profile,
                Some(SeccompDocument::from(&profile(&["read", "write"])))
            );
            assert_eq!(edited.contains('\n'), pretty, "{edited}");
        }
    }

    #[test]
    fn which_profile_is_meant_must_be_clear() {
        let two = format!("{FILE}---\n{}", FILE.replace("name: web", "name: api"));
        let error = find(&two, None).unwrap_err().to_string();
        assert_eq!(error, "holds several (web, api): choose one with --name");
        assert_eq!(find(&two, Some("api")).unwrap().object.metadata.name.as_deref(), Some("api"));
        let error = find(&two, Some("db")).unwrap_err().to_string();
        assert_eq!(error, "holds no SeccompProfile \"db\", but web, api");
        assert!(
            find("kind: ConfigMap\n", None).unwrap_err().to_string().starts_with("holds no SeccompProfile")
        );
        for document in [
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [], "syscalls": []}"#,
            "defaultAction: SCMP_ACT_ERRNO\n",
        ] {
            let error = find(document, None).unwrap_err().to_string();
            assert!(error.contains("kubectl seccomp convert --to cr --name NAME FILE"), "{error}");
        }
        let error =
            find(&FILE.replace("defaultAction: SCMP_ACT_ERRNO", "defaultAction: [1]"), None).unwrap_err();
        assert!(error.to_string().starts_with("the SeccompProfile can't be read: "), "{error}");
    }

    #[test]
    fn what_can_not_be_changed_in_place_is_left_alone() {
        let aliased = FILE
            .replace("  profile:\n", "  profile: &all\n")
            .replace("  revisionHistoryLimit: 5\n", "  revisionHistoryLimit: 5\n  extra: *all\n");
        let error = format!(
            "{:#}",
            find(&aliased, None).unwrap().with(Some(&profile(&["write"])), &from()).unwrap_err()
        );
        assert!(error.contains("so it is left as it is"), "{error}");
    }
}
