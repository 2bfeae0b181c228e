//! Manifests that have to be refused, and kubectl, which brings them to the API server.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::testing::TestNamespace;
use serde_json::{Value, json};

/// The ways in which a user's manifest reaches the API server. On trial: what is refused is refused all the same.
pub(crate) const WAYS: [&[&str]; 3] = [
    &["create", "--dry-run=server"],
    &["apply", "--dry-run=server"],
    &["apply", "--server-side", "--dry-run=server"],
];

/// A manifest that has to be refused, and what has to be said.
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) spec: Value,
    /// The field, as the answer names it.
    pub(crate) path: &'static str,
    pub(crate) words: &'static [&'static str],
}

impl Refused {
    pub(crate) fn profile(
        name: &'static str,
        profile: Value,
        path: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self::spec(name, json!({ "profile": profile }), path, words)
    }

    pub(crate) fn rule(
        name: &'static str,
        rule: Value,
        path: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule] });
        Self::profile(name, profile, path, words)
    }

    pub(crate) fn arg(
        name: &'static str,
        arg: Value,
        path: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        let rule = json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg] });
        Self::rule(name, rule, path, words)
    }

    pub(crate) const fn spec(
        name: &'static str,
        spec: Value,
        path: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self { name, kind: "SeccompProfile", spec, path, words }
    }

    pub(crate) fn manifest(&self) -> Value {
        json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": self.kind,
            "metadata": { "name": self.name },
            "spec": self.spec,
        })
    }

    /// Whether what kubectl said of this object names the field and says the words.
    pub(crate) fn check(&self, way: &[&str], output: &Output) -> Result<()> {
        let (said, taken) =
            (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        ensure!(!taken.contains(&format!("/{} ", self.name)), "{way:?} took {}:\n{taken}", self.name);
        // kubectl says it in a sentence for one object, and in a line for each of several.
        let begin = format!("\"{}\" is invalid: ", self.name);
        let answer = said
            .split(&begin)
            .nth(1)
            .with_context(|| format!("{way:?}: nothing is said of {}:\n{said}", self.name))?;
        let answer = answer.split("\nError from server").next().unwrap_or_default();
        for words in std::iter::once(&self.path).chain(self.words) {
            ensure!(answer.contains(words), "{way:?} of {} does not say {words:?}:\n{answer}", self.name);
        }
        Ok(())
    }
}

/// kubectl with a manifest on its standard input.
pub(crate) fn kubectl(namespace: &TestNamespace, arguments: &[&str], manifest: &Value) -> Result<Output> {
    let mut kubectl = namespace.cluster().kubectl();
    kubectl.args(["--namespace", namespace.name()]).args(arguments);
    feed(&mut kubectl, manifest)
}

pub(crate) fn feed(kubectl: &mut Command, manifest: &Value) -> Result<Output> {
    let mut child = kubectl
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("kubectl can't be started")?;
    let mut input = child.stdin.take().context("kubectl's input is not connected")?;
    input.write_all(manifest.to_string().as_bytes()).context("kubectl did not read the manifest")?;
    drop(input);
    child.wait_with_output().context("kubectl was lost")
}

/// Every one of the manifests is refused, by every way, with its words.
pub(crate) fn ensure_refused(namespace: &TestNamespace, cases: &[Refused]) -> Result<()> {
    let manifests: Vec<_> = cases.iter().map(Refused::manifest).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": manifests });
    for way in WAYS {
        let output = kubectl(namespace, way, &list)?;
        for case in cases {
            case.check(way, &output)?;
        }
    }
    Ok(())
}
