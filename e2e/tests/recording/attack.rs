//! A tenant with the role `edit` and nothing else tries whatever it can think of; another tenant doesn't notice.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::{
    api::core::v1::{Namespace, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use portcullis_api::{
    ALLOW_LOOSER_LABEL, ConditionType, Reason, RecordingCondition, SeccompNode, SeccompProfile,
    SeccompRecording, SeccompRecordingPart, SeccompRevision,
};
use portcullis_e2e::{
    FIRST_NODES, Operator,
    operator::SYSTEM_NAMESPACE,
    testing::{
        Seen, TestNamespace, busybox, eventually,
        flood::{flooding, ports},
        is_running,
        profiles::{
            TELLING_ERRNO, allowing, await_ready, await_reason, condition, confined_pod, denying,
            ensure_denied, is_ready_now, numbered, profile,
        },
        tenant_of, with_namespace,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, await_status, condition as recording_condition, has_called, in_namespace, record, sh,
};

/// Seconds for which the operator's ports are flooded.
const FLOOD_SECONDS: u64 = 20;
/// Large profiles at a time.
const LARGE: u64 = 16;
/// The victim's profile, pod and recording.
const VICTIM: &str = "web";

#[tokio::test]
async fn what_a_tenant_with_the_role_edit_tries_harms_nobody_else() -> Result<()> {
    in_namespace("victim", async |operator, own| {
        let victim = Victim::start(&own).await?;
        with_namespace(operator.cluster(), "attacker", async |namespace| {
            let attacker = Attacker::new(&namespace, &own).await?;
            attacker.keeps_privileges().await?;
            attacker.goes_round_the_runtime_default().await?;
            attacker.floods(&operator).await?;
            attacker.forges_pods_and_parts().await?;
            attacker.takes_what_is_anothers().await?;
            attacker.permits_itself().await
        })
        .await?;
        victim.is_unharmed().await
    })
    .await
}

/// What the other tenant has.
struct Victim<'n> {
    namespace: &'n TestNamespace,
    ready_since: Option<Time>,
    pod: Option<String>,
}

impl<'n> Victim<'n> {
    async fn start(namespace: &'n TestNamespace) -> Result<Self> {
        let profiles: Api<SeccompProfile> = namespace.api();
        namespace
            .apply(&profile(VICTIM, &json!({ "profile": denying(&["mkdir", "mkdirat"], TELLING_ERRNO) })))?;
        let status = await_ready(&profiles, VICTIM).await?;
        record(namespace, VICTIM, &json!({})).await?;
        let path = status.localhost_profile.context("a Ready profile has a path")?;
        let mut pod = confined_pod(VICTIM, FIRST_NODES[0], &path)?;
        pod.metadata.labels = Some([("app".to_owned(), VICTIM.to_owned())].into());
        let pod = namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
        await_status(namespace, VICTIM, "begun", |status| status.calls > 0).await?;
        Ok(Self { namespace, ready_since: ready_since(&profiles.get(VICTIM).await?), pod: pod.uid() })
    }

    /// Ready all the while, the same pod under the same filter, and a recording that goes on and has lost nothing.
    async fn is_unharmed(&self) -> Result<()> {
        let namespace = self.namespace;
        let found = namespace.api::<SeccompProfile>().get(VICTIM).await?;
        ensure!(
            is_ready_now(&found) && ready_since(&found) == self.ready_since,
            "Ready was withdrawn: {:?}",
            found.status
        );
        let pod = namespace.api::<Pod>().get(VICTIM).await?;
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let restarts: i32 = statuses.map(|status| status.restart_count).sum();
        ensure!(
            pod.uid() == self.pod && is_running(&pod) && restarts == 0,
            "its pod is another: {:?}",
            pod.status
        );
        ensure_denied(namespace, VICTIM)?;
        sh(namespace, VICTIM, "busybox", "rmdir /none || true")?;
        let status =
            await_status(namespace, VICTIM, "going on", |status| has_called(status, &["rmdir"])).await?;
        let (state, reason, message) =
            recording_condition(&status, RecordingCondition::Recording).context("no condition Recording")?;
        ensure!(state == "True", "{reason}: {message}");
        let part = format!("{VICTIM}.{}", FIRST_NODES[0]);
        let part = namespace.api::<SeccompRecordingPart>().get(&part).await?;
        let losses = part.spec.ledger()?.total().total().losses;
        ensure!(losses.is_none(), "lost: {losses:?}");
        Ok(())
    }
}

fn ready_since(profile: &SeccompProfile) -> Option<Time> {
    condition(profile, ConditionType::Ready).map(|ready| ready.last_transition_time.clone())
}

/// A tenant with the role `edit` in its namespace.
struct Attacker<'n> {
    namespace: &'n TestNamespace,
    client: Client,
    victim: &'n TestNamespace,
}

impl<'n> Attacker<'n> {
    async fn new(namespace: &'n TestNamespace, victim: &'n TestNamespace) -> Result<Self> {
        let client = tenant_of(namespace).await?;
        let attacker = Self { namespace, client, victim };
        // A new role counts a moment later.
        eventually("the tenant may read pods", PATIENCE, async || {
            let pods: Api<Pod> = attacker.own();
            Ok(match pods.list(&kube::api::ListParams::default()).await {
                Ok(_) => Seen::Done(()),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
        .await?;
        Ok(attacker)
    }

    fn own<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    fn of_victim<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), self.victim.name())
    }

    async fn make(&self, name: &str, spec: &Value) -> Result<()> {
        let made: SeccompProfile = serde_json::from_value(profile(name, spec))?;
        self.own().create(&PostParams::default(), &made).await.map(drop).with_context(|| name.to_owned())
    }

    /// Asks for a pod, and says what refuses it.
    async fn refusal(&self, pod: &Pod) -> Result<Option<String>> {
        refused(&self.own(), pod).await
    }

    fn pod_under(&self, path: &str) -> Result<Pod> {
        confined_pod("tried", FIRST_NODES[0], path)
    }

    fn path(&self, name: &str) -> String {
        format!("profiles/{}/{name}.json", self.namespace.name())
    }

    /// 1: filters that answer the runtime's own calls.
    async fn keeps_privileges(&self) -> Result<()> {
        let profiles: Api<SeccompProfile> = self.own();
        let zero = denying(&["setuid", "setgid", "setgroups", "capset", "prctl"], 0);
        let said = self.make("zero", &json!({ "profile": zero })).await.err().context("errno 0 was taken")?;
        ensure!(format!("{said:#}").contains("errnoRet"), "{said:#}");
        let mut runtime = allowing(&["execve", "exit_group", "read", "write", "setuid", "setgid", "capset"]);
        runtime["syscalls"].as_array_mut().context("rules")?.push(json!({
            "names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
            "args": [{ "index": 0, "value": 24, "op": "SCMP_CMP_EQ" }],
        }));
        self.make("keeps", &json!({ "profile": runtime })).await?;
        await_reason(&profiles, "keeps", ConditionType::Stalled, Reason::KeepsPrivileges).await?;
        // The second wall stands whatever the profile says.
        self.make("ordinary", &json!({ "profile": numbered(1) })).await?;
        await_ready(&profiles, "ordinary").await?;
        let mut pod = self.pod_under(&self.path("ordinary"))?;
        for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
            container.security_context.get_or_insert_default().allow_privilege_escalation = None;
        }
        let said = self.refusal(&pod).await?.context("a pod may gain privileges")?;
        ensure!(said.contains("allowPrivilegeEscalation"), "{said}");
        Ok(())
    }

    /// 2: calls that one runtime's default allows and another's denies.
    async fn goes_round_the_runtime_default(&self) -> Result<()> {
        self.make("looser", &json!({ "profile": allowing(&["read", "io_uring_setup", "io_uring_enter"]) }))
            .await?;
        let looser = Reason::LooserThanRuntimeDefault;
        let said =
            await_reason::<SeccompProfile>(&self.own(), "looser", ConditionType::Stalled, looser).await?;
        ensure!(said.contains("io_uring_setup"), "{said}");
        Ok(())
    }

    /// 3 and 4: large documents, recordings beyond the bound, and connections to the operator's ports, at the same time.
    async fn floods(&self, operator: &Operator) -> Result<()> {
        let pod = flooding(&ports(operator).await?, FLOOD_SECONDS)?;
        self.own::<Pod>().create(&PostParams::default(), &pod).await?;
        let all = (0..LARGE).map(async |number| {
            let rules: Vec<Value> = (0..1_024).map(|rule| masked(number, rule)).collect();
            let document = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules });
            self.make(&format!("large-{number}"), &json!({ "profile": document })).await
        });
        try_join_all(all).await?;
        for number in 0..30 {
            let recording: SeccompRecording = serde_json::from_value(json!({
                "metadata": { "name": format!("all-{number}") },
                "spec": { "podSelector": {} },
            }))?;
            self.own().create(&PostParams::default(), &recording).await?;
        }
        let logs = || self.namespace.kubectl(&["logs", "flood"]);
        let opened = eventually("the flood is over", PATIENCE, async || {
            let phase = self.own::<Pod>().get("flood").await?.status.and_then(|status| status.phase);
            Ok(match phase.as_deref() {
                Some("Succeeded") => Seen::Done(logs()?),
                other => Seen::NotYet(format!("the pod is {other:?}")),
            })
        })
        .await?;
        ensure!(opened.starts_with("opened "), "{opened}");
        Ok(())
    }

    /// 5: pods that claim to be another's, and parts of a recording.
    async fn forges_pods_and_parts(&self) -> Result<()> {
        let other = self.victim.api::<Pod>().get(VICTIM).await?;
        let mut pod = busybox("mirror", &json!({ "nodeName": FIRST_NODES[0] }))?;
        let uid = other.uid().context("a pod has a UID")?;
        let claims = ["config.mirror", "config.hash", "config.source"].map(|key| {
            (
                format!("kubernetes.io/{key}"),
                if key == "config.source" { "file".to_owned() } else { uid.clone() },
            )
        });
        pod.metadata.annotations = Some(claims.into());
        pod.metadata.labels = Some([("app".to_owned(), VICTIM.to_owned())].into());
        // Whether it stays is the kubelet's to say.
        self.own::<Pod>().create(&PostParams::default(), &pod).await?;
        let recording = self.victim.api::<SeccompRecording>().get(VICTIM).await?;
        for namespace in [self.namespace.name(), self.victim.name()] {
            let part: SeccompRecordingPart = serde_json::from_value(json!({
                "metadata": { "name": format!("{VICTIM}.{}", FIRST_NODES[1]) },
                "spec": { "recording": VICTIM, "recordingUid": recording.uid(), "node": FIRST_NODES[1] },
            }))?;
            let parts = Api::namespaced(self.client.clone(), namespace);
            ensure!(refused(&parts, &part).await?.is_some(), "a part in {namespace} was taken");
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), SYSTEM_NAMESPACE);
        ensure!(
            is_forbidden(secrets.list(&kube::api::ListParams::default()).await.map(drop))?,
            "it reads secrets"
        );
        Ok(())
    }

    /// 6: what belongs to another namespace, or to the cluster.
    async fn takes_what_is_anothers(&self) -> Result<()> {
        let revoke =
            Patch::Merge(json!({ "metadata": { "annotations": { "portcullis.dev/revoked": "mine" } } }));
        let parameters = PatchParams::default();
        let everybodys: Api<SeccompRevision> = Api::all(self.client.clone());
        let revisions = Api::<SeccompRevision>::all(self.namespace.client());
        let some = revisions.list(&kube::api::ListParams::default().limit(1)).await?.items;
        let name = some.first().context("there is no revision")?.name_any();
        ensure!(is_forbidden(everybodys.patch(&name, &parameters, &revoke).await.map(drop))?, "it revokes");
        ensure!(
            is_forbidden(everybodys.delete(&name, &DeleteParams::default()).await.map(drop))?,
            "it deletes revisions"
        );
        let nodes: Api<SeccompNode> = Api::all(self.client.clone());
        let lie = Patch::Merge(json!({ "status": { "digest": "" } }));
        ensure!(
            is_forbidden(nodes.patch_status(FIRST_NODES[0], &parameters, &lie).await.map(drop))?,
            "it speaks for a node"
        );
        let gone = self.of_victim::<SeccompProfile>().delete(VICTIM, &DeleteParams::default()).await;
        ensure!(is_forbidden(gone.map(drop))?, "it deletes another's profile");
        let end = Patch::Merge(json!({ "spec": { "stop": true } }));
        let ended = self.of_victim::<SeccompRecording>().patch(VICTIM, &parameters, &end).await;
        ensure!(is_forbidden(ended.map(drop))?, "it ends another's recording");
        let path = format!("profiles/{}/{VICTIM}.json", self.victim.name());
        let said = self.refusal(&self.pod_under(&path)?).await?.context("a pod names another's profile")?;
        ensure!(said.contains(self.victim.name()), "{said}");
        Ok(())
    }

    /// 6: the label that lets a namespace have looser profiles.
    async fn permits_itself(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let label = Patch::Merge(json!({ "metadata": { "labels": { ALLOW_LOOSER_LABEL: "true" } } }));
        let labelled = namespaces.patch(self.namespace.name(), &PatchParams::default(), &label).await;
        ensure!(is_forbidden(labelled.map(drop))?, "it permits itself");
        Ok(())
    }
}

/// One rule of a document that is as hard to judge as the schema lets it be.
fn masked(number: u64, rule: u64) -> Value {
    let name = ["read", "write", "openat", "ioctl"]
        .into_iter()
        .cycle()
        .nth(usize::try_from(rule % 4).unwrap_or_default());
    json!({
        "names": [name],
        "action": if (rule / 4).is_multiple_of(2) { "SCMP_ACT_ALLOW" } else { "SCMP_ACT_LOG" },
        "args": [{ "index": rule % 6, "value": rule + number, "valueTwo": rule, "op": "SCMP_CMP_MASKED_EQ" }],
    })
}

/// Asks to make an object, without making it; what refuses it, if anything does.
async fn refused<K>(api: &Api<K>, object: &K) -> Result<Option<String>>
where
    K: Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    match api.create(&PostParams { dry_run: true, ..PostParams::default() }, object).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Some(status.message)),
        Err(error) => Err(error.into()),
    }
}

/// Whether the API server refused for want of a right; any other failure is an error.
fn is_forbidden(asked: Result<(), kube::Error>) -> Result<bool> {
    match asked {
        Ok(()) => Ok(false),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(true),
        Err(error) => Err(error.into()),
    }
}
