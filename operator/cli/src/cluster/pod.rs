//! Pods, as far as seccomp goes, and what confines their containers.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api,
    api::ListParams,
    core::{ApiResource, Object},
};
use serde::{Deserialize, Serialize};

use super::{Cluster, Scope, failure::Attempt, pages};

/// Pods that have ended run no container.
const LIVING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// A pod. Everything that is not named here is never kept in memory.
pub(crate) type SlimPod = Object<SlimSpec, SlimStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SlimSpec {
    pub(crate) node_name: Option<String>,
    security_context: Option<SecurityContext>,
    containers: Vec<SlimContainer>,
    init_containers: Vec<SlimContainer>,
    ephemeral_containers: Vec<SlimContainer>,
    os: Option<Os>,
    pub(crate) runtime_class_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Os {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimContainer {
    name: String,
    security_context: Option<SecurityContext>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SecurityContext {
    privileged: Option<bool>,
    allow_privilege_escalation: Option<bool>,
    seccomp_profile: Option<SeccompProfile>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SeccompProfile {
    #[serde(rename = "type")]
    kind: String,
    localhost_profile: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SlimStatus {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    state: State,
    last_state: State,
    restart_count: i32,
}

/// What a container does now, or did before it was started again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    running: Option<Running>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Terminated {
    pub(crate) exit_code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Running {
    started_at: Option<Time>,
}

/// What confines a container, the riskiest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(tag = "type")]
pub(crate) enum Confinement {
    /// No filter at all, whatever the pod says.
    Privileged,
    /// No filter, because the pod asks for none.
    Unconfined,
    /// Nothing is said: no filter, unless the node's kubelet has `seccompDefault`, which the API does not tell.
    NotSet,
    /// A type that this program does not know.
    Other {
        /// The `type` as it stands there.
        named: String,
    },
    /// The runtime's own filter.
    RuntimeDefault,
    /// A profile from a file of the node.
    Localhost {
        /// Below the kubelet's seccomp directory, as the kubelet reads it.
        path: String,
    },
    /// Windows has no seccomp.
    Windows,
}

/// Where it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SetBy {
    /// The container's own security context.
    Container,
    /// The pod's.
    Pod,
    /// Nobody.
    Nobody,
}

impl SetBy {
    /// In a word.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Nobody => "-",
        }
    }
}

/// Which of a pod's lists a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Role {
    /// One of `containers`.
    Ordinary,
    /// One of `initContainers`.
    Init,
    /// One of `ephemeralContainers`.
    Ephemeral,
}

/// A container of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Container<'p> {
    pub(crate) name: &'p str,
    pub(crate) role: Role,
    pub(crate) confinement: Confinement,
    pub(crate) set_by: SetBy,
    /// Whether `allowPrivilegeEscalation: false` is said, so that the filter is loaded last.
    pub(crate) no_new_privs: bool,
    /// Since when, where it runs.
    pub(crate) running: Option<Option<&'p Time>>,
    /// What it does now; none where the kubelet has not said.
    pub(crate) state: Option<&'p State>,
    /// How it ended before it was started again.
    pub(crate) last_state: Option<&'p State>,
    /// How often it was started again.
    pub(crate) restarts: i32,
    /// The runtime's name for itself: `containerd`, `cri-o` or `docker` (by cri-dockerd).
    pub(crate) runtime: Option<&'p str>,
}

/// Every container of a pod, whether it runs or not.
pub(crate) fn containers(pod: &SlimPod) -> impl Iterator<Item = Container<'_>> {
    let (spec, status) = (&pod.spec, pod.status.as_ref());
    let lists = [
        (Role::Ordinary, &spec.containers, status.map(|status| &status.container_statuses)),
        (Role::Init, &spec.init_containers, status.map(|status| &status.init_container_statuses)),
        (
            Role::Ephemeral,
            &spec.ephemeral_containers,
            status.map(|status| &status.ephemeral_container_statuses),
        ),
    ];
    lists.into_iter().flat_map(move |(role, containers, statuses)| {
        containers.iter().map(move |container| {
            let own = statuses.into_iter().flatten().find(|status| status.name == container.name);
            let running = own.and_then(|status| status.state.running.as_ref());
            let (confinement, set_by) = spec.confinement(container);
            let id = own.and_then(|status| status.container_id.as_deref());
            Container {
                name: &container.name,
                role,
                confinement,
                set_by,
                no_new_privs: container
                    .security_context
                    .as_ref()
                    .is_some_and(|context| context.allow_privilege_escalation == Some(false)),
                running: running.map(|running| running.started_at.as_ref()),
                state: own.map(|status| &status.state),
                last_state: own.map(|status| &status.last_state),
                restarts: own.map_or(0, |status| status.restart_count),
                runtime: id.and_then(|id| id.split_once("://")).map(|(runtime, _)| runtime),
            }
        })
    })
}

impl SlimSpec {
    /// A container's own security context goes before the pod's, and `privileged` before both.
    ///
    /// Source: getSeccompProfile in kubernetes pkg/kubelet/kuberuntime/helpers.go; containerd's generateSeccompSpecOpts takes no
    /// profile for a privileged container.
    fn confinement(&self, container: &SlimContainer) -> (Confinement, SetBy) {
        if self.os.as_ref().is_some_and(|os| os.name == "windows") {
            return (Confinement::Windows, SetBy::Nobody);
        }
        let of = |context: &Option<SecurityContext>| context.as_ref()?.seccomp_profile.clone();
        if container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true)) {
            return (Confinement::Privileged, SetBy::Container);
        }
        match (of(&container.security_context), of(&self.security_context)) {
            (Some(own), _) => (own.confinement(), SetBy::Container),
            (None, Some(pods)) => (pods.confinement(), SetBy::Pod),
            (None, None) => (Confinement::NotSet, SetBy::Nobody),
        }
    }
}

impl SeccompProfile {
    fn confinement(self) -> Confinement {
        match self.kind.as_str() {
            "Unconfined" => Confinement::Unconfined,
            "RuntimeDefault" => Confinement::RuntimeDefault,
            "Localhost" => {
                Confinement::Localhost { path: clean(&self.localhost_profile.unwrap_or_default()) }
            }
            _ => Confinement::Other { named: self.kind },
        }
    }
}

/// The kubelet joins the path to its directory, which cleans it; `..` the API server refuses.
pub(crate) fn clean(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

impl Confinement {
    /// Whether no filter can be counted on.
    pub(crate) const fn is_uncovered(&self) -> bool {
        matches!(self, Self::Privileged | Self::Unconfined | Self::NotSet | Self::Other { .. })
    }

    /// In a word or two.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Privileged => "privileged",
            Self::Unconfined => "Unconfined",
            Self::NotSet => "not set",
            Self::Other { named } => named,
            Self::RuntimeDefault => "RuntimeDefault",
            Self::Localhost { .. } => "Localhost",
            Self::Windows => "Windows",
        }
    }
}

/// Gives every pod that has not ended to a closure, those of some namespaces left out by the API server.
pub(crate) async fn each_living(
    cluster: &Cluster,
    scope: &Scope,
    without: &[String],
    each: impl FnMut(SlimPod),
) -> anyhow::Result<()> {
    let resource = ApiResource::erase::<Pod>(&());
    let api: Api<SlimPod> = match scope {
        Scope::All => Api::all_with(cluster.client.clone(), &resource),
        Scope::Namespace(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
    };
    let attempt = Attempt::new::<Pod>("list", scope.namespace());
    let others = without.iter().map(|namespace| format!(",metadata.namespace!={namespace}"));
    let fields = format!("{LIVING}{}", others.collect::<String>());
    pages::each(&api, ListParams::default().fields(&fields), each)
        .await
        .map_err(|error| attempt.failed(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn first(spec: Value) -> (Confinement, SetBy) {
        let pod: SlimPod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        let first = containers(&pod).next().unwrap();
        (first.confinement, first.set_by)
    }

    fn seccomp(kind: &str) -> Value {
        json!({"seccompProfile": {"type": kind, "localhostProfile": "profiles//./shop/web.json"}})
    }

    #[test]
    fn the_containers_word_goes_before_the_pods_and_privileged_before_both() {
        let path = "profiles/shop/web.json".to_owned();
        for (spec, expected) in [
            (json!({"containers": [{"name": "a"}]}), (Confinement::NotSet, SetBy::Nobody)),
            (
                json!({"securityContext": seccomp("RuntimeDefault"), "containers": [{"name": "a"}]}),
                (Confinement::RuntimeDefault, SetBy::Pod),
            ),
            (
                json!({
                    "securityContext": seccomp("RuntimeDefault"),
                    "containers": [{"name": "a", "securityContext": seccomp("Localhost")}],
                }),
                (Confinement::Localhost { path }, SetBy::Container),
            ),
            (
                json!({
                    "securityContext": seccomp("Localhost"),
                    "containers": [{"name": "a", "securityContext": seccomp("Unconfined")}],
                }),
                (Confinement::Unconfined, SetBy::Container),
            ),
            (
                json!({
                    "securityContext": seccomp("Localhost"),
                    "containers": [{"name": "a", "securityContext": {"privileged": true}}],
                }),
                (Confinement::Privileged, SetBy::Container),
            ),
            (
                json!({"os": {"name": "windows"}, "containers": [{"name": "a"}]}),
                (Confinement::Windows, SetBy::Nobody),
            ),
            (
                json!({"securityContext": seccomp("OCI"), "containers": [{"name": "a"}]}),
                (Confinement::Other { named: "OCI".to_owned() }, SetBy::Pod),
            ),
        ] {
            assert_eq!(first(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn all_three_lists_are_read_and_only_what_runs_is_said_to() {
        let pod: SlimPod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {
                "containers": [{"name": "main"}],
                "initContainers": [{"name": "setup"}, {"name": "sidecar"}],
                "ephemeralContainers": [{"name": "debug"}],
            },
            "status": {
                "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "X"}}}],
                "initContainerStatuses": [
                    {"name": "setup", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "sidecar", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
                ],
                "ephemeralContainerStatuses": [{"name": "debug", "state": {"running": {}}}],
            },
        }))
        .unwrap();
        let found: Vec<_> = containers(&pod).map(|one| (one.name, one.role, one.running.is_some())).collect();
        assert_eq!(
            found,
            [
                ("main", Role::Ordinary, false),
                ("setup", Role::Init, false),
                ("sidecar", Role::Init, true),
                ("debug", Role::Ephemeral, true),
            ]
        );
    }
}
