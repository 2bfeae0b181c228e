//! The local cluster itself: what every other end-to-end test stands on. A cluster of the user's own is trusted to work, so
//! these tests need the local one and pass by where `KUBECONFIG` names another.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::{
    api::core::v1::{Event, Node, Pod},
    apimachinery::pkg::version::Info,
};
use kube::{Api, ResourceExt as _, api::ListParams};
use portcullis_e2e::{
    Cluster, Component, FIRST_NODES, LocalCluster, NodeOptions, Usage,
    image::NGINX,
    settings::Settings,
    testing::{
        NamespaceOptions, Seen, await_gone, await_object, busybox, eventually, is_running,
        profiles::confined_pod, waiting_reason, with_namespace, with_namespace_options,
    },
};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

/// The pod garbage collector looks every 20 s, and waits 40 s more before it takes pods of a node that is gone.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(180);
/// A filter that changes nothing a test does, so that only its presence shows.
const HARMLESS_PROFILE: &str =
    r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["swapon"],"action":"SCMP_ACT_ERRNO"}]}"#;

/// The local cluster.
async fn local_cluster() -> Result<Cluster> {
    let cluster = Cluster::from_env().await?;
    cluster.require_local("a test of the cluster's own parts")?;
    Ok(cluster)
}

fn alone() -> NamespaceOptions {
    NamespaceOptions { labels: BTreeMap::new(), usage: Usage::Exclusive }
}

fn node_is(ready: &'static str) -> impl FnMut(&Node) -> bool {
    move |node: &Node| {
        let conditions =
            node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == ready)
    }
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn two_nodes_of_the_wanted_version_are_ready() -> Result<()> {
    let cluster = local_cluster().await?;
    let _usage = cluster.usage(Usage::Shared).await?;
    let version: Info = cluster.client().apiserver_version().await?;
    let wanted = Settings::from_env()?.version.tag();
    assert_eq!(version.git_version, wanted);
    let nodes = Api::<Node>::all(cluster.client()).list(&ListParams::default()).await?.items;
    for name in FIRST_NODES {
        let node = nodes.iter().find(|node| node.name_any() == name).context("a node is missing")?;
        assert!(node_is("True")(node), "{name} is not Ready: {:?}", node.status);
        let kubelet = &node
            .status
            .as_ref()
            .and_then(|status| status.node_info.as_ref())
            .context("no info")?
            .kubelet_version;
        assert_eq!(*kubelet, wanted);
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn pods_run_on_each_node_with_logs_and_exec() -> Result<()> {
    let cluster = local_cluster().await?;
    with_namespace(&cluster, "pods", async |namespace| {
        for node in FIRST_NODES {
            let command = ["sh", "-c", "echo started on $NODE; sleep infinity"];
            let container = json!({
                "name": "busybox", "image": "localhost/busybox:1", "command": command,
                "env": [{ "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
            });
            let pod = busybox(node, &json!({ "nodeName": node, "containers": [container] }))?;
            namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
            assert_eq!(namespace.kubectl(&["logs", node])?, format!("started on {node}\n"));
            assert_eq!(namespace.exec(node, &["hostname"])?, format!("{node}\n"));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_localhost_profile_of_one_node_confines_there_and_is_missing_elsewhere() -> Result<()> {
    let cluster = local_cluster().await?;
    with_namespace(&cluster, "localhost", async |namespace| {
        let path = format!("profiles/{}/x.json", namespace.name());
        let folder = format!("/var/lib/kubelet/seccomp/profiles/{}", namespace.name());
        let file = namespace.cluster().node_path("node1", &folder)?;
        fs::create_dir_all(&file)?;
        fs::write(file.join("x.json"), HARMLESS_PROFILE)?;
        let pod = |name: &str, node: &str| confined_pod(name, node, &path);
        namespace.run_pod(&pod("confined", "node1")?, "running", PATIENCE, is_running).await?;
        let status = namespace.exec("confined", &["grep", "Seccomp:", "/proc/self/status"])?;
        assert_eq!(status.split_whitespace().collect::<Vec<_>>(), ["Seccomp:", "2"]);

        let waits = |pod: &Pod| {
            waiting_reason(pod).is_some_and(|why| why.reason.as_deref() == Some("CreateContainerError"))
        };
        namespace.run_pod(&pod("missing", "node2")?, "in CreateContainerError", PATIENCE, waits).await?;
        let seen = format!("/var/lib/kubelet/seccomp/{path}");
        let text = format!(
            "Error: failed to create containerd container: cannot load seccomp profile \"{seen}\": \
             open {seen}: no such file or directory"
        );
        let events: Api<Event> = namespace.api();
        let parameters = ListParams::default().fields("involvedObject.name=missing,reason=Failed");
        eventually("the event has the exact text", PATIENCE, async || {
            let messages: Vec<String> =
                events.list(&parameters).await?.items.into_iter().filter_map(|event| event.message).collect();
            Ok(if messages.contains(&text) { Seen::Done(()) } else { Seen::NotYet(messages.join("; ")) })
        })
        .await?;
        fs::remove_dir_all(file)?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn services_are_reached_from_pods_of_both_nodes() -> Result<()> {
    let cluster = local_cluster().await?;
    with_namespace(&cluster, "services", async |namespace| {
        let server = json!({ "nodeName": "node2", "containers": [{ "name": "nginx", "image": NGINX }] });
        let mut server = busybox("server", &server)?;
        server.labels_mut().insert("app".to_owned(), "server".to_owned());
        namespace.run_pod(&server, "running", PATIENCE, is_running).await?;
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "server" },
            "spec": { "selector": { "app": "server" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
        }))?;
        let address = namespace.kubectl(&["get", "service", "server", "-o", "jsonpath={.spec.clusterIP}"])?;
        for node in FIRST_NODES {
            let pod = busybox(node, &json!({ "nodeName": node }))?;
            namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
            let ask = |host: &str, port: u16| {
                let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {host} {port}");
                namespace.exec(node, &["sh", "-c", &script])
            };
            eventually("the service answers", PATIENCE, async || {
                Ok(match ask(&address, 80) {
                    Ok(answer) if answer.contains("nginx serves") => Seen::Done(()),
                    other => Seen::NotYet(format!("{other:?}")),
                })
            })
            .await?;
            // The API server speaks TLS and tells a client that does not.
            let answer = ask("$KUBERNETES_SERVICE_HOST", 443)?;
            assert!(answer.contains("Client sent an HTTP request to an HTTPS server"), "{answer}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn crun_runs_pods_too() -> Result<()> {
    let cluster = local_cluster().await?;
    with_namespace(&cluster, "crun", async |namespace| {
        let pod = busybox("crun", &json!({ "runtimeClassName": "crun" }))?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await.map(drop)
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_node_is_added_with_taints_and_removed() -> Result<()> {
    let cluster = local_cluster().await?;
    with_namespace_options(&cluster, "nodes", alone(), async |namespace| {
        let cluster = namespace.cluster();
        let options = NodeOptions { taints: vec!["portcullis.dev/test=new:NoSchedule".to_owned()] };
        let added = cluster.add_node("node3", &options).await?;
        let nodes: Api<Node> = Api::all(cluster.client());
        let taints = nodes.get("node3").await?.spec.and_then(|spec| spec.taints).unwrap_or_default();
        assert!(taints.iter().any(|taint| taint.key == "portcullis.dev/test"), "{taints:?}");
        let pod = busybox("third", &json!({ "nodeName": "node3" }))?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
        let folder = cluster.node_path("node3", "/var/lib/kubelet")?;
        assert!(folder.join("pods").is_dir(), "{} is not node3's", folder.display());
        added.remove().await?;
        assert!(nodes.get_opt("node3").await?.is_none(), "the node's object is still there");
        await_gone::<Pod>(&namespace.api(), "third", ORPHAN_PATIENCE).await?;
        assert!(!folder.exists(), "{} is still there", folder.display());
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_stopped_kubelet_shows_and_comes_back() -> Result<()> {
    let cluster = local_cluster().await?;
    with_namespace_options(&cluster, "kubelet", alone(), async |namespace| {
        let cluster = namespace.cluster();
        let nodes: Api<Node> = Api::all(cluster.client());
        let kubelet = Component::Kubelet("node2".to_owned());
        cluster.kill(&kubelet)?;
        await_object(&nodes, "node2", "of unknown state", PATIENCE, node_is("Unknown")).await?;
        cluster.start(&kubelet).await?;
        await_object(&nodes, "node2", "Ready", PATIENCE, node_is("True")).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn containers_outlive_their_runtime_and_the_api_server_its_store() -> Result<()> {
    let cluster = local_cluster().await?;
    with_namespace_options(&cluster, "restarts", alone(), async |namespace| {
        let cluster = namespace.cluster();
        let pod = busybox("survivor", &json!({ "nodeName": "node2" }))?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
        let start = |namespace: &portcullis_e2e::testing::TestNamespace| {
            namespace.exec("survivor", &["stat", "-c", "%Y", "/proc/1"])
        };
        let before = start(&namespace)?;
        cluster.restart(&Component::Containerd("node2".to_owned())).await?;
        for component in [Component::Etcd, Component::ApiServer, Component::ControllerManager] {
            cluster.kill(&component)?;
            cluster.start(&component).await?;
        }
        // Of the parts that were killed the API server was the second: etcd came back while it ran.
        let after = eventually("exec works again", PATIENCE, async || {
            Ok(start(&namespace).map_or_else(|error| Seen::NotYet(error.to_string()), Seen::Done))
        })
        .await?;
        assert_eq!(before, after, "the container was started anew");
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_running_cluster_is_found_within_three_seconds() -> Result<()> {
    let cluster = local_cluster().await?;
    let begun = std::time::Instant::now();
    cluster.require_local("up")?.up().await?;
    ensure!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    Ok(())
}

/// Takes the cluster down, so it is not run beside tests that use it: `cargo test -p portcullis-e2e --test cluster -- --ignored`.
#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
#[ignore = "stops the cluster under every other test"]
async fn a_broken_cluster_is_started_anew_and_down_leaves_no_traces() -> Result<()> {
    let cluster = local_cluster().await?;
    let alone = cluster.usage(Usage::Exclusive).await?;
    cluster.kill(&Component::Etcd)?;
    drop(alone);
    let local = LocalCluster::new(&Settings::from_env()?)?;
    local.up().await?;
    let status = local.status().await?;
    ensure!(status.processes_are_well() && status.nodes_are_ready(), "{}", status.complaint());
    local.down()?;
    let traces = local.traces()?;
    if !traces.is_empty() {
        bail!("left behind: {}", traces.join(", "));
    }
    local.up().await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_cluster_of_the_users_own_is_told_from_the_local_one() -> Result<()> {
    let cluster = local_cluster().await?;
    let theirs = Cluster::of_user(cluster.kubeconfig()).await?;
    assert!(!theirs.is_local());
    for error in [
        theirs.stop(&Component::Etcd).unwrap_err(),
        theirs.node_path("node1", "/").unwrap_err(),
        theirs.add_node("node9", &NodeOptions::default()).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("needs the local cluster, but KUBECONFIG is"), "{text}");
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn nodes_that_can_not_be_changed_are_refused_in_words() -> Result<()> {
    let cluster = local_cluster().await?;
    let local = cluster.require_local("changing nodes")?;
    let text = |result: Result<()>| format!("{:#}", result.unwrap_err());
    let removed = text(local.remove_node("node1").await);
    assert!(removed.contains("node1 can't be removed: the cluster's kube-proxy"), "{removed}");
    let unknown = text(local.remove_node("node77").await);
    assert!(unknown.contains("there is no node \"node77\"; the nodes are node1, node2"), "{unknown}");
    let options = NodeOptions { taints: vec!["x:Sometimes".to_owned()] };
    let tainted = text(local.add_node("node3", &options).await);
    assert!(tainted.contains("\"Sometimes\" is not NoSchedule"), "{tainted}");
    assert_eq!(local.node_names()?, FIRST_NODES, "a node that could not be made is left behind");
    let twice = text(local.add_node("node2", &NodeOptions::default()).await);
    assert!(twice.contains("there is a node \"node2\" already"), "{twice}");
    Ok(())
}
