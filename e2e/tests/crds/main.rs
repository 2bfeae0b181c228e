//! The custom resource definitions on a real API server: what is taken value for value, what is refused and in which words, and
//! what `kubectl explain` says.

mod malformed;
mod recordings;
mod refused;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use kube::{Api, ResourceExt as _};
use portcullis_api::{ArgValue, MAX_CONTENT_BYTES, SeccompProfile};
use portcullis_e2e::{
    Cluster, command,
    settings::workspace_root,
    testing::{TestNamespace, with_namespace},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::refused::{Refused, WAYS, ensure_refused, feed, kubectl};

/// A cluster that has this build's definitions. Portcullis itself need not run on it.
async fn cluster() -> Result<Cluster> {
    static DEFINED: OnceCell<()> = OnceCell::const_new();
    let cluster = Cluster::from_env().await?;
    let _beside_other_tests = cluster.shared().await?;
    DEFINED.get_or_try_init(async || define(&cluster)).await?;
    Ok(cluster)
}

/// Applies `crds/` as Helm does, and marked as Helm's, so that an installation on the same cluster goes on with them.
fn define(cluster: &Cluster) -> Result<()> {
    for entry in fs::read_dir(workspace_root().join("crds"))? {
        let yaml = fs::read_to_string(entry?.path())?;
        let mut definition: Value = serde_saphyr::from_str(&yaml)?;
        definition["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "Helm" });
        definition["metadata"]["annotations"] = json!({ "meta.helm.sh/release-name": "portcullis", "meta.helm.sh/release-namespace": "portcullis-system" });
        let mut kubectl = cluster.kubectl();
        kubectl.args(["apply", "--server-side", "--force-conflicts", "--field-manager", "helm"]);
        let output = feed(&mut kubectl, &definition)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the API server refuses a definition: {said}");
    }
    let mut kubectl = cluster.kubectl();
    kubectl.args([
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd",
        "--selector",
        "app.kubernetes.io/managed-by=Helm",
    ]);
    command::output(&mut kubectl).map(drop)
}

/// A document of `rules` rules of 500 names of 20 characters each.
fn large_document(rules: usize) -> Value {
    let names: Vec<_> = (0..500).map(|number| format!("call_{number:015}")).collect();
    let rule = json!({ "names": names, "action": "SCMP_ACT_ALLOW" });
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": vec![rule; rules] })
}

#[tokio::test]
async fn a_large_profile_with_argument_rules_is_kept_value_for_value() -> Result<()> {
    let cluster = cluster().await?;
    with_namespace(&cluster, "crds-taken", async |namespace: TestNamespace| {
        let names: Vec<_> = (0..450).map(|number| format!("call_{number}")).collect();
        let numbers = [json!(i64::MAX), json!("18446744073709551615"), json!("0xffffffffffffffff")];
        let conditions: Vec<_> = numbers
            .iter()
            .enumerate()
            .map(|(index, value)| json!({ "index": index, "value": value, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" }))
            .collect();
        let document = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/listener.sock",
            "listenerMetadata": "x",
            "syscalls": [
                { "names": names, "action": "SCMP_ACT_ALLOW" },
                { "names": ["socket"], "action": "SCMP_ACT_TRACE", "errnoRet": 4095, "args": conditions },
            ],
        });
        let manifest = json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "SeccompProfile",
            "metadata": { "name": "large" },
            "spec": { "profile": document },
        });
        namespace.apply(&manifest)?;
        let kept: Value = serde_json::from_str(&namespace.kubectl(&["get", "seccompprofile", "large", "-o", "json"])?)?;
        ensure!(kept["spec"]["profile"] == document, "the document changed:\n{}", kept["spec"]["profile"]);
        let profiles: Api<SeccompProfile> = namespace.api();
        let profile = profiles.get("large").await?;
        let rule = profile.spec.profile.profile.as_ref().and_then(|document| document.syscalls.get(1));
        let read: Option<Vec<_>> = rule.map(|rule| rule.args.iter().map(|arg| arg.value.to_u64()).collect());
        let expected = vec![Some(i64::MAX.unsigned_abs()), Some(u64::MAX), Some(u64::MAX)];
        ensure!(read == Some(expected), "{} holds other values: {rule:?}", profile.name_any());
        ensure!(rule.is_some_and(|rule| matches!(rule.args[0].value, ArgValue::Integer(_))), "{rule:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn each_key_of_dockers_format_is_refused_in_words() -> Result<()> {
    let cluster = cluster().await?;
    let arch_map = json!([{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] }]);
    let with = |key: &str, value: Value| {
        let mut rule = json!({ "names": ["read"], "action": "SCMP_ACT_ALLOW" });
        rule[key] = value;
        rule
    };
    let words: &[&str] = &["Docker's format, which container runtimes ignore"];
    let cases = [
        Refused::profile(
            "arch-map",
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "archMap": arch_map }),
            "spec.profile.archMap: Forbidden",
            words,
        ),
        Refused::profile(
            "default-errno",
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS" }),
            "spec.profile.defaultErrno: Forbidden",
            words,
        ),
        Refused::rule(
            "name",
            json!({ "name": "read", "action": "SCMP_ACT_ALLOW" }),
            "spec.profile.syscalls[0].name: Forbidden",
            words,
        ),
        Refused::rule(
            "comment",
            with("comment", json!("")),
            "spec.profile.syscalls[0].comment: Forbidden",
            words,
        ),
        Refused::rule(
            "includes",
            with("includes", json!({ "caps": ["CAP_SYS_ADMIN"] })),
            "spec.profile.syscalls[0].includes: Forbidden",
            words,
        ),
        Refused::rule(
            "includes-empty",
            with("includes", json!({})),
            "spec.profile.syscalls[0].includes: Forbidden",
            words,
        ),
        Refused::rule(
            "excludes",
            with("excludes", json!({ "arches": ["s390"], "minKernel": "4.8" })),
            "spec.profile.syscalls[0].excludes: Forbidden",
            words,
        ),
        Refused::rule(
            "errno",
            with("errno", json!("ENOSYS")),
            "spec.profile.syscalls[0].errno: Forbidden",
            words,
        ),
    ];
    with_namespace(&cluster, "crds-docker", async |namespace: TestNamespace| {
        ensure_refused(&namespace, &cases)
    })
    .await
}

#[tokio::test]
async fn each_malformed_field_is_refused_in_words() -> Result<()> {
    let cluster = cluster().await?;
    with_namespace(&cluster, "crds-malformed", async |namespace: TestNamespace| {
        ensure_refused(&namespace, &malformed::documents())?;
        ensure_refused(&namespace, &malformed::rules())?;
        ensure_refused(&namespace, &malformed::specs())
    })
    .await
}

#[tokio::test]
async fn a_profile_over_256_kib_is_refused_in_words() -> Result<()> {
    let cluster = cluster().await?;
    let large = Refused::profile(
        "large",
        large_document(23),
        "spec.profile.syscalls",
        &["larger than 256 KiB", "base"],
    );
    ensure!(large.spec.to_string().len() > MAX_CONTENT_BYTES, "the document is not large");
    with_namespace(&cluster, "crds-size", async |namespace: TestNamespace| {
        for way in [WAYS[0], WAYS[2]] {
            large.check(way, &kubectl(&namespace, way, &large.manifest())?)?;
        }
        // The copy that client-side apply keeps in an annotation is too large first.
        let output = kubectl(&namespace, WAYS[1], &large.manifest())?;
        let applied = Refused { path: "metadata.annotations: Too long", words: &["262144 bytes"], ..large };
        applied.check(WAYS[1], &output)?;
        let fits = Refused::profile("fits", large_document(22), "", &[]);
        let output = kubectl(&namespace, WAYS[2], &fits.manifest())?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_misspelt_key_is_refused_by_kubectl() -> Result<()> {
    let cluster = cluster().await?;
    with_namespace(&cluster, "crds-unknown", async |namespace: TestNamespace| {
        let document = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoret": 1 });
        let manifest = Refused::profile("misspelt", document, "", &[]).manifest();
        for way in WAYS {
            let output = kubectl(&namespace, way, &manifest)?;
            let said = String::from_utf8_lossy(&output.stderr);
            let named = said.contains("spec.profile.defaultErrnoret");
            ensure!(!output.status.success() && named, "{way:?}: {said}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn kubectl_explains_every_field() -> Result<()> {
    let cluster = cluster().await?;
    let _beside_other_tests = cluster.shared().await?;
    let mut kubectl = cluster.kubectl();
    // What `kubectl explain` reads.
    let output = kubectl.args(["get", "--raw", "/openapi/v3/apis/portcullis.dev/v1alpha1"]).output()?;
    let document: Value =
        serde_json::from_slice(&output.stdout).context("the API server's OpenAPI can't be read")?;
    for kind in ["SeccompProfile", "ClusterSeccompProfile", "SeccompRevision", "SeccompNode"] {
        let schema = &document["components"]["schemas"][format!("dev.portcullis.v1alpha1.{kind}")];
        let mut unexplained = Vec::new();
        let fields = collect_unexplained(kind, schema, &mut unexplained);
        ensure!(fields > 3, "{kind}: only {fields} fields were found");
        ensure!(unexplained.is_empty(), "{kind}: nothing is said of {unexplained:?}");
    }
    let mut kubectl = cluster.kubectl();
    let output = kubectl.args(["explain", "csp.spec.profile.syscalls.args.value"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("For SCMP_CMP_MASKED_EQ the mask"), "{said}");
    Ok(())
}

/// Collects the paths of fields without a description, and counts all.
fn collect_unexplained(path: &str, schema: &Value, unexplained: &mut Vec<String>) -> usize {
    let mut fields = 0;
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            unexplained.push(path.clone());
        }
        let inner = if field["items"].is_object() { &field["items"] } else { field };
        fields += 1 + collect_unexplained(&path, inner, unexplained);
    }
    fields
}
