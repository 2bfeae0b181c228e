//! Pods of this node, as far as recording needs them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{self as core, ContainerStatus, SeccompProfile, SecurityContext};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_api::RUN_LABEL;
use portcullis_probe::{ContainerId, PodUid, seconds};
use portcullis_profile::recording::Exit;

/// The annotations of a static pod's mirror: the hash that names the static pod's cgroup, and where the kubelet had its manifest from
/// (`ConfigMirrorAnnotationKey` and `ConfigSourceAnnotationKey` in pkg/kubelet/types).
const MIRROR: &str = "kubernetes.io/config.mirror";
const SOURCE: &str = "kubernetes.io/config.source";
const SOURCES: [&str; 2] = ["file", "http"];

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// As the API server gave it. Nothing that a pod says of itself takes its place.
    pub(crate) uid: PodUid,
    /// The static pod that it says to be the mirror of.
    pub(crate) mirror: Option<Mirror>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// What its status has told of its containers so far, init and ephemeral ones and earlier lives among them.
    pub(crate) containers: BTreeMap<ContainerId, Identity>,
    /// Whether every container surely has a filter. Where nothing is said, the kubelet's default decides, which the API does not show.
    pub(crate) filtered: bool,
    /// When the kubelet took it up: seconds since the epoch.
    pub(crate) started: Option<u64>,
    /// Whether it has ended and nothing in it will start again.
    pub(crate) over: bool,
}

/// What a pod says that mirrors a static one. Whoever may create pods can say the same, so it is believed only of containers that the
/// pod's status names, which only a kubelet writes ([`crate::book::Book`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// By which the static pod's cgroup is named.
    pub(crate) hash: PodUid,
    /// The UID of the Node that owns the mirror.
    pub(crate) node_uid: String,
}

/// Which container of its pod one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    /// The digest of its image; empty where the runtime told none.
    pub(crate) image: String,
    /// Whether an exec probe or a lifecycle hook of the pod runs a command in it.
    pub(crate) has_commands: bool,
    pub(crate) running: bool,
    /// How it ended, as the runtime says: a shell's status, so 137 for SIGKILL.
    pub(crate) exit: Option<Exit>,
}

impl Pod {
    /// Reads a pod of a node. None where it has no UID that a cgroup could be named by.
    pub(crate) fn read(pod: &core::Pod, node: &str) -> Option<Self> {
        let metadata = &pod.metadata;
        let uid = metadata.uid.as_ref()?.parse().ok().filter(|uid: &PodUid| !uid.is_static())?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
        Some(Self {
            uid,
            mirror: mirror(metadata, node),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            containers: identities(pod),
            filtered: is_filtered(pod),
            started: started.map(|time| seconds(time.0.into())),
            over: matches!(phase, Some("Succeeded" | "Failed")),
        })
    }

    /// The test run that it is part of; empty for none.
    pub(crate) fn run(&self) -> &str {
        self.labels.get(RUN_LABEL).map_or("", String::as_str)
    }

    /// Takes in what its status tells now. Earlier lives of containers that it no longer tells of stay known.
    pub(crate) fn update(&mut self, newer: Self) {
        let mut containers = std::mem::take(&mut self.containers);
        containers.extend(newer.containers);
        *self = Self { containers, ..newer };
    }
}

fn mirror(metadata: &ObjectMeta, node: &str) -> Option<Mirror> {
    let annotations = metadata.annotations.as_ref()?;
    let hash = annotations.get(MIRROR)?.parse().ok().filter(|hash: &PodUid| hash.is_static())?;
    SOURCES.contains(&annotations.get(SOURCE)?.as_str()).then_some(())?;
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners
        .find(|owner| owner.api_version == "v1" && owner.kind == "Node" && owner.controller == Some(true))?;
    (owner.name == node).then(|| Mirror { hash, node_uid: owner.uid.clone() })
}

fn identities(pod: &core::Pod) -> BTreeMap<ContainerId, Identity> {
    let Some(status) = &pod.status else { return BTreeMap::new() };
    let with_commands = with_commands(pod);
    let lists =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().flat_map(|status| lives(status, &with_commands)).collect()
}

/// The names of the containers in which the pod has commands run: by exec probes, and by hooks after the start and before the end.
fn with_commands(pod: &core::Pod) -> BTreeSet<&str> {
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.filter(|container| has_commands(container)).map(|container| container.name.as_str()).collect()
}

fn has_commands(container: &core::Container) -> bool {
    let mut probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe]
        .into_iter()
        .flatten();
    let hooks = container.lifecycle.iter().flat_map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop]);
    probes.any(|probe| probe.exec.is_some()) || hooks.flatten().any(|hook| hook.exec.is_some())
}

/// A container's present life and the one before.
fn lives(status: &ContainerStatus, with_commands: &BTreeSet<&str>) -> Vec<(ContainerId, Identity)> {
    let state = status.state.as_ref();
    let identity = |running, exit| Identity {
        name: status.name.clone(),
        image: digest(&status.image_id),
        has_commands: with_commands.contains(status.name.as_str()),
        running,
        exit,
    };
    let exit = |code: i32| u8::try_from(code).ok().map(Exit::Status);
    let ended = state.and_then(|state| state.terminated.as_ref());
    let present = status.container_id.as_deref().and_then(id).map(|id| {
        let running = state.is_some_and(|state| state.running.is_some());
        (id, identity(running, ended.and_then(|ended| exit(ended.exit_code))))
    });
    let earlier = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()).and_then(|ended| {
        Some((id(ended.container_id.as_deref()?)?, identity(false, exit(ended.exit_code))))
    });
    // Where both name the same container, the present state is the newer word.
    earlier.into_iter().chain(present).collect()
}

/// `containerd://<id>`, `cri-o://<id>`.
fn id(text: &str) -> Option<ContainerId> {
    text.split_once("://")?.1.parse().ok()
}

/// `registry/name@sha256:...`, or `sha256:...` of an image that was loaded and not pulled.
fn digest(image_id: &str) -> String {
    let digest = image_id.rsplit_once('@').map_or(image_id, |(_, digest)| digest);
    if digest.contains(':') && !digest.contains('/') { digest.to_owned() } else { String::new() }
}

fn is_filtered(pod: &core::Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let of_pod = spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    let confined = |context: Option<&SecurityContext>| {
        let of_container = context.and_then(|context| context.seccomp_profile.as_ref());
        let privileged = context.and_then(|context| context.privileged).unwrap_or(false);
        // A privileged container gets no filter, whatever is asked for (pkg/kubelet/kuberuntime/security_context.go).
        !privileged && of_container.or(of_pod).is_some_and(has_filter)
    };
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|container| container.security_context.as_ref())
        .chain(ephemeral.map(|container| container.security_context.as_ref()))
        .all(confined)
}

fn has_filter(profile: &SeccompProfile) -> bool {
    matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const EARLIER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn read(pod: Value) -> Pod {
        Pod::read(&serde_json::from_value(pod).expect("a pod"), "node-1").expect("it has a UID")
    }

    fn pod(spec: &Value, status: &Value) -> Pod {
        let metadata =
            json!({"name": "web", "namespace": "shop", "uid": "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00"});
        read(json!({"metadata": metadata, "spec": spec, "status": status}))
    }

    #[test]
    fn every_life_of_a_container_is_known_by_its_id() {
        let statuses = json!([{
            "name": "web", "image": "nginx", "ready": true, "restartCount": 1,
            "imageID": "docker.io/library/nginx@sha256:0123",
            "containerID": format!("containerd://{ID}"), "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 143, "containerID": format!("containerd://{EARLIER}")}},
        }]);
        let mut pod =
            pod(&json!({"containers": []}), &json!({"phase": "Running", "containerStatuses": statuses}));
        let web = &pod.containers[&ID.parse().unwrap()];
        assert_eq!((web.name.as_str(), web.image.as_str(), web.running), ("web", "sha256:0123", true));
        assert_eq!(pod.containers[&EARLIER.parse().unwrap()].exit, Some(Exit::Status(143)));
        assert!(!pod.over);
        let later = Pod { containers: BTreeMap::new(), over: true, ..pod.clone() };
        pod.update(later);
        assert!(
            pod.over && pod.containers.len() == 2,
            "a status that no longer tells of a life is no reason to forget it"
        );
    }

    #[test]
    fn a_container_in_which_the_pod_has_commands_run_is_known() {
        let exec = json!({"exec": {"command": ["true"]}});
        for (container, has) in [
            (json!({"name": "web"}), false),
            (json!({"name": "web", "livenessProbe": {"httpGet": {"port": 80}}}), false),
            (json!({"name": "web", "livenessProbe": exec}), true),
            (json!({"name": "web", "readinessProbe": exec}), true),
            (json!({"name": "web", "startupProbe": exec}), true),
            (json!({"name": "web", "lifecycle": {"postStart": exec}}), true),
            (json!({"name": "web", "lifecycle": {"preStop": exec}}), true),
            (json!({"name": "web", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}), false),
        ] {
            let statuses = json!([{
                "name": "web", "image": "x", "ready": true, "restartCount": 0, "imageID": "",
                "containerID": format!("containerd://{ID}"), "state": {"running": {}},
            }]);
            let pod = pod(&json!({"containers": [container]}), &json!({"containerStatuses": statuses}));
            assert_eq!(pod.containers[&ID.parse().unwrap()].has_commands, has, "{container}");
        }
    }

    const HASH: &str = "0123456789abcdef0123456789abcdef";

    /// A mirror as the kubelet makes it, but for what a test changes.
    fn mirror_of(change: impl FnOnce(&mut Value)) -> Pod {
        let mut metadata = json!({
            "uid": "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00",
            "annotations": {MIRROR: HASH, SOURCE: "file"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "uid-of-node", "controller": true},
            ],
        });
        change(&mut metadata);
        read(json!({"metadata": metadata}))
    }

    #[test]
    fn a_mirror_is_known_by_its_own_uid_and_says_whose_mirror_it_is() {
        let pod = mirror_of(|_| ());
        assert_eq!(pod.uid.to_string(), "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00");
        let mirror = Mirror { hash: HASH.parse().unwrap(), node_uid: "uid-of-node".to_owned() };
        assert_eq!(pod.mirror, Some(mirror));
    }

    #[test]
    fn what_no_kubelet_of_this_node_made_is_no_mirror() {
        let changes: [fn(&mut Value); 8] = [
            |pod| pod["annotations"][MIRROR] = json!("11111111-1111-4111-8111-111111111111"),
            |pod| pod["annotations"][MIRROR] = json!(HASH.to_uppercase()),
            |pod| pod["annotations"][MIRROR] = json!("mirror"),
            |pod| pod["annotations"][SOURCE] = json!("api"),
            |pod| drop(pod["annotations"].as_object_mut().unwrap().remove(SOURCE)),
            |pod| pod["ownerReferences"] = json!([]),
            |pod| pod["ownerReferences"][0]["name"] = json!("node-2"),
            |pod| pod["ownerReferences"][0]["kind"] = json!("ReplicaSet"),
        ];
        for change in changes {
            assert_eq!(mirror_of(change).mirror, None);
        }
    }

    #[test]
    fn an_image_without_a_digest_is_said_to_have_none() {
        assert_eq!(digest("registry.example.com:5000/nginx@sha256:ab"), "sha256:ab");
        assert_eq!(digest("sha256:ab"), "sha256:ab");
        assert_eq!(digest("registry.example.com:5000/nginx"), "");
        assert_eq!(digest(""), "");
    }

    #[test]
    fn only_a_filter_that_is_asked_for_is_sure() {
        let default = json!({"seccompProfile": {"type": "RuntimeDefault"}});
        let unconfined = json!({"seccompProfile": {"type": "Unconfined"}});
        for (spec, filtered) in [
            (json!({"containers": [{"name": "a"}]}), false),
            (json!({"securityContext": default, "containers": [{"name": "a"}]}), true),
            (json!({"containers": [{"name": "a", "securityContext": default}, {"name": "b"}]}), false),
            (
                json!({"securityContext": default, "containers": [{"name": "a", "securityContext": unconfined}]}),
                false,
            ),
            (
                json!({"securityContext": default, "containers": [{"name": "a", "securityContext": {"privileged": true}}]}),
                false,
            ),
            (
                json!({
                    "securityContext": default, "containers": [{"name": "a"}],
                    "ephemeralContainers": [{"name": "debug", "securityContext": unconfined}],
                }),
                false,
            ),
        ] {
            assert_eq!(pod(&spec, &json!({})).filtered, filtered, "{spec}");
        }
    }
}
