//! No way round the runtime default.

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use portcullis_api::{ALLOW_LOOSER_LABEL, ConditionType, Mode, Reason, SeccompProfile};
use portcullis_e2e::testing::{
    busybox, is_running,
    profiles::{
        PATIENCE, TELLING_ERRNO, allowing, await_ready, await_reason, confined_pod, current_content,
        denied_mkdir, denying, ensure_denied, ensure_served, local_operator, on_nodes, profile,
    },
    with_namespace,
};
use serde_json::json;

use crate::support::owner;

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_looser_profile_needs_an_administrators_label() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "looser", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let web = owner(&namespace, "web")?;
        namespace
            .apply(&profile("web", &json!({ "profile": denying(&["mkdir", "mkdirat"], TELLING_ERRNO) })))?;
        let looser = Reason::LooserThanRuntimeDefault;
        let message = await_reason(&profiles, "web", ConditionType::Stalled, looser).await?;
        let label = format!("{ALLOW_LOOSER_LABEL}=true");
        assert!(message.contains(&label) && message.contains(namespace.name()), "{message}");
        for file in on_nodes(&operator, &web.current_path())? {
            ensure!(!file.exists(), "{} is there", file.display());
        }
        // What is looser is named, and nothing else.
        let narrow = json!({ "profile": allowing(&["read", "bpf", "add_key"]) });
        namespace.apply(&profile("narrow", &narrow))?;
        let message = await_reason(&profiles, "narrow", ConditionType::Stalled, looser).await?;
        assert!(
            message.contains("bpf") && message.contains("add_key") && !message.contains("read,"),
            "{message}"
        );

        operator.permit_looser(namespace.name()).await?;
        await_ready(&profiles, "web").await?;
        let content = current_content(operator.cluster(), &web).await?;
        ensure_served(&operator, &web.current_path(), &content)?;
        let pod = confined_pod("pod", "node2", &format!("profiles/{}", web.current_path()))?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
        ensure_denied(&namespace, "pod")?;

        let unlabel = format!("{ALLOW_LOOSER_LABEL}-");
        namespace.kubectl(&["label", "namespace", namespace.name(), &unlabel])?;
        let message = await_reason(&profiles, "web", ConditionType::Stalled, looser).await?;
        assert!(message.contains("go on serving the last revision"), "{message}");
        // The permission is gone for what comes, not for the pods that need the file to start again.
        ensure_served(&operator, &web.current_path(), &content)?;
        namespace.apply(&profile("web", &json!({ "profile": denying(&["rmdir"], TELLING_ERRNO) })))?;
        await_reason(&profiles, "web", ConditionType::Stalled, looser).await?;
        ensure_served(&operator, &web.current_path(), &content)
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn an_audit_profile_lets_through_what_the_runtime_default_does_and_no_more() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "audit", async |namespace| {
        // Enforced, nothing could run under it.
        let spec = json!({ "mode": "Audit", "profile": allowing(&["read"]) });
        namespace.apply(&profile("web", &spec))?;
        let status = await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        assert_eq!(status.mode, Some(Mode::Audit));
        let web = owner(&namespace, "web")?;
        let content = current_content(operator.cluster(), &web).await?;
        assert!(content.contains("SCMP_ACT_LOG"), "{content}");

        let free = json!({ "securityContext": { "seccompProfile": { "type": "Unconfined" } } });
        namespace.run_pod(&busybox("free", &free)?, "running", PATIENCE, is_running).await?;
        let pod = confined_pod("audited", "node1", &format!("profiles/{}", web.current_path()))?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
        let status = namespace.exec("audited", &["grep", "Seccomp:", "/proc/self/status"])?;
        assert_eq!(status.split_whitespace().collect::<Vec<_>>(), ["Seccomp:", "2"]);
        assert_eq!(denied_mkdir(&namespace, "audited"), None, "the runtime default allows it");
        // A user namespace needs no capability, so without a filter it can be made.
        let unshare = ["unshare", "-U", "true"];
        namespace
            .exec("free", &unshare)
            .context("this machine allows no user namespaces: nothing is proven")?;
        let said = namespace.exec("audited", &unshare).err().context("the runtime default is got round")?;
        // The profile's own denial stays what it was: its default errno is ENOSYS.
        assert!(said.to_string().contains("Function not implemented"), "{said}");
        Ok(())
    })
    .await
}
