//! `deploy/examples` as their README says: applied, Ready, run, and refusing what they say that they refuse.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use portcullis_api::{ClusterSeccompProfile, SeccompProfile};
use portcullis_e2e::{
    Operator,
    image::{BUSYBOX, NGINX},
    settings::workspace_root,
    testing::{
        Seen, TestNamespace, await_object, eventually, is_ready,
        profiles::{PATIENCE, await_ready, owned_by},
        with_namespace,
    },
};
use serde_json::{Value, json};

const WRITTEN_FOR: &str = "portcullis-examples";
const BASE: &str = "runc-and-libc";

/// The manifests of an example, moved into the test's namespace and to images that the cluster has.
fn manifests(namespace: &TestNamespace, file: &str) -> Result<Vec<Value>> {
    let path = workspace_root().join("deploy/examples").join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let text = text.replace(WRITTEN_FOR, namespace.name()).replace(BASE, namespace.name());
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    for pod in documents.iter_mut().filter(|document| document["kind"] == "Pod") {
        let image = &mut pod["spec"]["containers"][0]["image"];
        let own = if image.as_str().is_some_and(|name| name.contains("nginx")) { NGINX } else { BUSYBOX };
        *image = json!(own);
    }
    Ok(documents)
}

/// Applies a profile and waits until it is Ready, then applies its pod and waits until that is.
async fn run(namespace: &TestNamespace, folder: &str, name: &str) -> Result<()> {
    for profile in manifests(namespace, &format!("{folder}/profile.yaml"))? {
        namespace.apply(&profile)?;
    }
    let status = await_ready(&namespace.api::<SeccompProfile>(), name).await?;
    for manifest in manifests(namespace, &format!("{folder}/pod.yaml"))? {
        if manifest["kind"] == "Pod" {
            let named = &manifest["spec"]["securityContext"]["seccompProfile"]["localhostProfile"];
            assert_eq!(named.as_str(), status.localhost_profile.as_deref(), "{folder} names another file");
        }
        namespace.apply(&manifest)?;
    }
    await_object(&namespace.api::<Pod>(), name, "ready", PATIENCE, is_ready).await.map(drop)
}

async fn apply_base(namespace: &TestNamespace) -> Result<()> {
    for mut base in manifests(namespace, "base/base.yaml")? {
        base["metadata"]["ownerReferences"] = json!([owned_by(namespace).await?]);
        namespace.apply(&base)?;
    }
    await_ready(&Api::<ClusterSeccompProfile>::all(namespace.client()), namespace.name()).await.map(drop)
}

/// What a command in a pod says when it is refused.
fn refusal(namespace: &TestNamespace, pod: &str, command: &[&str]) -> Result<String> {
    match namespace.exec(pod, command) {
        Ok(said) => anyhow::bail!("{command:?} was let through in {pod}: {said}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// A page as a client gets it, by way of the API server.
async fn page(namespace: &TestNamespace, pod: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy/", namespace.name());
    Ok(namespace.client().request_text(http::Request::get(path).body(Vec::new())?).await?)
}

#[tokio::test]
async fn nginx_serves_reloads_and_stops_under_its_profile_and_makes_no_namespace() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "nginx", async |namespace| {
        run(&namespace, "nginx", "nginx").await?;
        let status = namespace.exec("nginx", &["grep", "Seccomp:", "/proc/1/status"])?;
        assert_eq!(status.split_whitespace().last(), Some("2"), "nginx runs without a filter");
        let served = page(&namespace, "nginx").await?;
        ensure!(!served.is_empty(), "an empty page");
        for command in [
            &["unshare", "--mount", "true"][..],
            &["unshare", "--user", "true"],
            &["nsenter", "--target", "1", "--mount", "true"],
            &["umount", "/tmp"],
            &["perl", "-e", "@a = qw(none /tmp tmpfs); syscall(165, @a, 0, 0) == 0 or die qq(mount: $!\\n)"],
        ] {
            let said = refusal(&namespace, "nginx", command)?;
            // The filter's answer. For want of a capability it would be EPERM.
            assert!(said.contains("Function not implemented"), "{command:?}: {said}");
        }

        for (signal, said) in [("USR1", "reopening logs"), ("HUP", "reconfiguring")] {
            namespace.exec("nginx", &["kill", &format!("-{signal}"), "1"])?;
            eventually(&format!("nginx has taken {signal}"), PATIENCE, async || {
                let logs = namespace.kubectl(&["logs", "nginx"])?;
                Ok(if logs.contains(said) { Seen::Done(()) } else { Seen::NotYet(logs) })
            })
            .await?;
            assert_eq!(page(&namespace, "nginx").await?, served);
        }
        namespace.exec("nginx", &["kill", "-QUIT", "1"])?;
        let stopped = |pod: &Pod| {
            let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
            statuses.into_iter().flatten().any(|status| status.restart_count > 0)
        };
        await_object(&namespace.api::<Pod>(), "nginx", "stopped once", PATIENCE, stopped).await?;
        let logs = namespace.kubectl(&["logs", "nginx", "--previous"])?;
        assert!(logs.contains("gracefully shutting down"), "nginx did not stop in order: {logs}");
        for trouble in ["emerg", "alert", "Function not implemented", "Operation not permitted"] {
            assert!(!logs.contains(trouble), "nginx complains: {logs}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_profile_on_a_base_runs_whichever_comes_first() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "base", async |namespace| {
        for profile in manifests(&namespace, "base/profile.yaml")? {
            namespace.apply(&profile)?;
        }
        apply_base(&namespace).await?;
        run(&namespace, "base", "clock").await?;
        let said = refusal(&namespace, "clock", &["unshare", "--user", "true"])?;
        assert!(said.contains("Function not implemented"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_audited_program_runs_though_its_profile_lacks_calls() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "audit", async |namespace| {
        apply_base(&namespace).await?;
        run(&namespace, "audit", "audited").await?;
        eventually("the shell runs its loop", PATIENCE, async || {
            let logs = namespace.kubectl(&["logs", "audited"])?;
            Ok(if logs.lines().count() > 1 { Seen::Done(()) } else { Seen::NotYet(logs) })
        })
        .await?;
        // What the runtime default denies stays denied.
        refusal(&namespace, "audited", &["unshare", "--user", "true"]).map(drop)
    })
    .await
}

#[tokio::test]
async fn files_can_be_opened_for_reading_only() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "opens", async |namespace| {
        run(&namespace, "read-only-opens", "read-only-opens").await?;
        let pod = "read-only-opens";
        assert_eq!(namespace.exec(pod, &["cat", "/etc/hostname"])?.trim(), pod);
        for script in ["echo x > /tmp/a", "echo x >> /tmp/a", ": <> /tmp/a", "true 2>/dev/null"] {
            let said = refusal(&namespace, pod, &["sh", "-c", script])?;
            assert!(said.contains("Function not implemented"), "{script}: {said}");
        }
        assert_eq!(namespace.exec(pod, &["ls", "/tmp"])?, "", "something was written");
        Ok(())
    })
    .await
}
