//! What a pod may name, and what it gives up for it: a tenant with the role `edit` and nothing else asks.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    core::v1::{EphemeralContainer, Pod},
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use portcullis_e2e::{
    Operator,
    testing::{
        NamespaceOptions, Seen, TestNamespace, busybox, eventually, profiles::PATIENCE, tenant_of,
        with_namespace, with_namespace_options,
    },
};
use serde_json::{Value, json};

use crate::support::permitted;

/// A tenant, its namespace, and what it asks for without making it.
struct Asking<'n> {
    namespace: &'n TestNamespace,
    client: Client,
}

impl<'n> Asking<'n> {
    async fn new(namespace: &'n TestNamespace) -> Result<Self> {
        let asking = Self { namespace, client: tenant_of(namespace).await? };
        // A new role counts a moment later.
        eventually("the tenant may make pods", PATIENCE, async || {
            let said = asking.refusal(&json!({})).await?;
            Ok(said.map_or(Seen::Done(()), Seen::NotYet))
        })
        .await?;
        Ok(asking)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    /// What refuses a pod of this spec.
    async fn refusal(&self, spec: &Value) -> Result<Option<String>> {
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        match self.pods().create(&parameters, &busybox("asked", spec)?).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) => {
                ensure!(status.code == 403, "{} instead of 403: {}", status.code, status.message);
                Ok(Some(status.message))
            }
            Err(error) => Err(error).context("a pod is asked for"),
        }
    }

    async fn ensure_taken(&self, specs: &[Value]) -> Result<()> {
        for spec in specs {
            let said = self.refusal(spec).await?;
            ensure!(said.is_none(), "{spec} is refused: {said:?}");
        }
        Ok(())
    }

    async fn ensure_refused(&self, specs: &[Value], words: &[&str]) -> Result<()> {
        for spec in specs {
            let said = self.refusal(spec).await?.with_context(|| format!("{spec} was taken"))?;
            for word in words {
                ensure!(said.contains(word), "{spec} is refused without {word:?}: {said}");
            }
        }
        Ok(())
    }
}

async fn with_tenant(
    purpose: &str,
    options: NamespaceOptions,
    test: impl AsyncFnOnce(Asking<'_>) -> Result<()>,
) -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace_options(operator.cluster(), purpose, options, async |namespace| {
        test(Asking::new(&namespace).await?).await
    })
    .await
}

fn profile_of(path: &str) -> Value {
    json!({ "type": "Localhost", "localhostProfile": path })
}

/// A pod's security context.
fn localhost(path: &str) -> Value {
    json!({ "seccompProfile": profile_of(path) })
}

/// A container with a security context.
fn container(context: &Value) -> Value {
    json!({ "name": "one", "image": "busybox", "securityContext": context })
}

/// The security context of a container that names a profile and gains no privileges.
fn modest(path: &str) -> Value {
    json!({ "seccompProfile": profile_of(path), "allowPrivilegeEscalation": false })
}

#[tokio::test]
async fn a_pod_names_no_profile_of_another_namespace() -> Result<()> {
    with_tenant("own", NamespaceOptions::default(), async |asking| {
        let own = asking.namespace.name();
        let never = container(&json!({ "allowPrivilegeEscalation": false }));
        let pod = |path: &str| json!({ "securityContext": localhost(path), "containers": [never] });
        let of = |list: &str, path: &str| json!({ list: [container(&modest(path))] });
        let web = format!("profiles/{own}/web.json");
        asking
            .ensure_taken(&[
                json!({}),
                json!({ "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } } }),
                pod(&web),
                pod(&format!("profiles/{own}/web@0123456789ab.json")),
                pod("profiles/web.json"),
                pod("elsewhere/shop/web.json"),
                of("initContainers", &web),
            ])
            .await?;
        let foreign = "profiles/shop/web.json";
        asking
            .ensure_refused(
                &[
                    pod(foreign),
                    pod("./profiles//./shop/web.json"),
                    of("initContainers", foreign),
                    of("containers", foreign),
                    // A pod's own word counts though no container heeds it: what is added for debugging would.
                    json!({ "securityContext": localhost(foreign), "containers": [container(&modest(&web))] }),
                ],
                &[&format!("{foreign} is a profile of namespace shop, and this pod is in {own}")],
            )
            .await?;
        let revision = "profiles/shop/web@0123456789ab.json is a profile of namespace shop";
        asking.ensure_refused(&[pod("profiles/shop/web@0123456789ab.json")], &[revision]).await?;
        // The agent's store has every namespace's contents.
        asking.ensure_refused(&[pod("profiles/.store/content/0123456789ab")], &["profiles/.store/"]).await
    })
    .await
}

#[tokio::test]
async fn a_container_under_a_profile_of_its_namespace_gains_no_privileges() -> Result<()> {
    with_tenant("modest", NamespaceOptions::default(), async |asking| {
        let own = asking.namespace.name();
        let path = format!("profiles/{own}/web.json");
        let bare = json!({ "seccompProfile": profile_of(&path) });
        let asks = json!({ "seccompProfile": profile_of(&path), "allowPrivilegeEscalation": true });
        let never = json!({ "allowPrivilegeEscalation": false });
        asking
            .ensure_refused(
                &[
                    json!({ "securityContext": localhost(&path), "containers": [container(&json!({}))] }),
                    json!({ "containers": [container(&bare)] }),
                    json!({ "containers": [container(&asks)] }),
                    json!({ "initContainers": [container(&bare)] }),
                    json!({ "containers": [container(&json!({ "seccompProfile": profile_of(&format!(".//profiles/{own}/./web.json")) }))] }),
                    json!({ "containers": [container(&json!({ "seccompProfile": profile_of(&format!("profiles/{own}/web@0123456789ab.json")) }))] }),
                ],
                &[
                    "container one: set securityContext.allowPrivilegeEscalation=false",
                    &format!("label namespace {own} with portcullis.dev/allow-looser-profiles=true"),
                ],
            )
            .await?;
        let default = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
        asking
            .ensure_taken(&[
                json!({ "securityContext": localhost(&path), "containers": [container(&never)] }),
                json!({ "securityContext": localhost(&path), "containers": [container(&default)] }),
                json!({ "initContainers": [container(&modest(&path))] }),
                // An administrator's own profile, and a container that no profile applies to.
                json!({ "containers": [container(&localhost("profiles/web.json"))] }),
                json!({ "securityContext": localhost(&path), "containers": [container(&json!({ "privileged": true }))] }),
            ])
            .await
    })
    .await
}

#[tokio::test]
async fn an_administrators_label_permits_to_gain_them() -> Result<()> {
    with_tenant("labelled", permitted(), async |asking| {
        let path = format!("profiles/{}/web.json", asking.namespace.name());
        asking.ensure_taken(&[json!({ "securityContext": localhost(&path) })]).await
    })
    .await
}

#[tokio::test]
async fn a_pod_names_the_current_path_of_a_cluster_profile_alone() -> Result<()> {
    with_tenant("current", permitted(), async |asking| {
        let revision = "profiles/base@0123456789ab.json";
        asking
            .ensure_refused(
                &[
                    json!({ "securityContext": localhost(revision) }),
                    json!({ "securityContext": localhost("profiles/.//base@0123456789ab.json") }),
                    json!({ "containers": [container(&modest(revision))] }),
                    json!({ "initContainers": [container(&modest(revision))] }),
                    // Kept because a pod names it, be it used or not.
                    json!({
                        "securityContext": localhost(revision),
                        "containers": [container(&modest("profiles/base.json"))],
                    }),
                ],
                &[&format!("{revision} is one revision of a ClusterSeccompProfile"), "name its current path"],
            )
            .await?;
        asking.ensure_taken(&[json!({ "containers": [container(&modest("profiles/base.json"))] })]).await
    })
    .await
}

#[tokio::test]
async fn nor_does_a_container_that_is_added_for_debugging() -> Result<()> {
    with_tenant("debug", NamespaceOptions::default(), async |asking| {
        let own = format!("profiles/{}/web.json", asking.namespace.name());
        let pods = asking.pods();
        // It need not run, only be there: no node has this name.
        let pod = busybox(
            "web",
            &json!({
                "nodeSelector": { "kubernetes.io/hostname": "none" },
                "securityContext": localhost(&own),
                "containers": [container(&json!({ "allowPrivilegeEscalation": false }))],
            }),
        )?;
        pods.create(&PostParams::default(), &pod).await?;
        // The role `edit` has no right on ephemeral containers; the policy holds whoever has.
        let pods: Api<Pod> = asking.namespace.api();
        let add = async |name: &str, context: Value| {
            let container: EphemeralContainer = serde_json::from_value(
                json!({ "name": name, "image": "busybox", "securityContext": context }),
            )?;
            let patch = Patch::Strategic(json!({ "spec": { "ephemeralContainers": [container] } }));
            let added = pods.patch_ephemeral_containers("web", &PatchParams::default(), &patch).await;
            Ok::<_, anyhow::Error>(added.err().map(|error| error.to_string()))
        };
        for (name, context, words) in [
            ("foreign", modest("profiles/shop/web.json"), "is a profile of namespace shop"),
            (
                "revision",
                modest("profiles/base@0123456789ab.json"),
                "is one revision of a ClusterSeccompProfile",
            ),
            ("gains", localhost(&own), "container gains: set securityContext.allowPrivilegeEscalation=false"),
            ("inherits", json!({}), "container inherits: set securityContext.allowPrivilegeEscalation=false"),
        ] {
            let said = add(name, context).await?.with_context(|| format!("{name} was taken"))?;
            ensure!(said.contains(words), "{said}");
        }
        for (name, context) in
            [("own", modest(&own)), ("default", json!({ "seccompProfile": { "type": "RuntimeDefault" } }))]
        {
            ensure!(add(name, context).await?.is_none(), "{name} is refused");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn whoever_applies_a_workload_whose_pods_will_be_refused_is_warned() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "warned", async |namespace| {
        let path = format!("profiles/{}/web.json", namespace.name());
        let asks = json!({ "securityContext": localhost(&path), "containers": [container(&json!({}))] });
        let fine = json!({ "securityContext": localhost(&path), "containers": [container(&modest(&path))] });
        let foreign = json!({ "containers": [container(&modest("profiles/shop/web.json"))] });
        for (spec, words) in [
            (&asks, Some("container one: set securityContext.allowPrivilegeEscalation=false")),
            (&foreign, Some("is a profile of namespace shop")),
            (&fine, None),
        ] {
            for workload in workloads(spec) {
                let said = warnings(&namespace, &workload)?;
                let so = words.map_or(!said.contains("Warning:"), |words| said.contains(words));
                ensure!(so, "{workload}: {said}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn whoever_applies_a_path_that_no_profile_can_have_is_warned() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "hinted", async |namespace| {
        let own = format!("profiles/{}/web.json", namespace.name());
        for (path, words) in [
            (format!("localhost/{own}"), Some("write it without localhost/")),
            (format!("var/lib/kubelet/seccomp/{own}"), Some("write it without /var/lib/kubelet/seccomp/")),
            (own.replace(".json", ""), Some("is no path of a profile: a SeccompProfile has profiles/")),
            (own.replace("/web", "/a/web"), Some("is no path of a profile")),
            ("profile/web.json".to_owned(), Some("is not below profiles/, where Portcullis writes")),
            ("web.json".to_owned(), Some("is not below profiles/, where Portcullis writes")),
            (own.clone(), None),
            (own.replace(".json", "@0123456789ab.json"), None),
            ("profiles/web.json".to_owned(), None),
            ("operator/shop/web.json".to_owned(), None),
        ] {
            let spec = json!({ "containers": [container(&modest(&path))] });
            let pod =
                json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web" }, "spec": spec });
            for object in workloads(&spec).into_iter().chain([pod]) {
                let said = warnings(&namespace, &object)?;
                let so = words.map_or(!said.contains("Warning:"), |words| said.contains(words));
                ensure!(so, "{object}: {said}");
            }
        }
        Ok(())
    })
    .await
}

/// A workload of each kind with this pod's spec.
fn workloads(spec: &Value) -> Vec<Value> {
    let template = |restart: &str| {
        let mut spec = spec.clone();
        spec["restartPolicy"] = json!(restart);
        json!({ "metadata": { "labels": { "app": "web" } }, "spec": spec })
    };
    let job = json!({ "template": template("Never") });
    let mut all: Vec<Value> = ["Deployment", "StatefulSet", "DaemonSet"]
        .into_iter()
        .map(|kind| {
            let selector = json!({ "matchLabels": { "app": "web" } });
            json!({ "apiVersion": "apps/v1", "kind": kind, "spec": { "selector": selector, "template": template("Always") } })
        })
        .collect();
    all.push(json!({ "apiVersion": "batch/v1", "kind": "Job", "spec": job }));
    all.push(json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "spec": { "schedule": "0 0 1 1 *", "jobTemplate": { "spec": job } },
    }));
    for one in &mut all {
        one["metadata"] = json!({ "name": "web" });
    }
    all
}

/// What `kubectl apply` says beside its answer. Nothing is made.
fn warnings(namespace: &TestNamespace, workload: &Value) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), workload.to_string())?;
    let mut kubectl = namespace.cluster().kubectl();
    kubectl
        .args(["apply", "--dry-run=server", "--namespace", namespace.name(), "--filename"])
        .arg(file.path());
    let output = kubectl.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{workload}: {said}");
    Ok(said)
}

/// A field that a policy misspells is found where it is evaluated, or never.
#[tokio::test]
async fn the_policies_have_the_types_that_the_api_server_knows() -> Result<()> {
    let operator = Operator::from_env().await?;
    let api: Api<ValidatingAdmissionPolicy> = Api::all(operator.cluster().client());
    let ours = ListParams::default().labels("app.kubernetes.io/name=portcullis");
    eventually("the policies' types are checked", PATIENCE, async || {
        for policy in api.list(&ours).await? {
            let name = policy.metadata.name.unwrap_or_default();
            let Some(checked) = policy.status.and_then(|status| status.type_checking) else {
                return Ok(Seen::NotYet(format!("{name} is not checked")));
            };
            let warnings = checked.expression_warnings.unwrap_or_default();
            ensure!(warnings.is_empty(), "{name}: {warnings:?}");
        }
        Ok(Seen::Done(()))
    })
    .await
}
