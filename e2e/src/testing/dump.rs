//! Everything that may explain why a test failed.

use std::{
    fmt::{Display, Write as _},
    path::Path,
};

use anyhow::Result;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams, LogParams},
    discovery,
};
use portcullis_api::GROUP;

use crate::Cluster;

/// The label by which the operator's own pods are found.
const OPERATOR_PODS: &str = "app.kubernetes.io/name=portcullis";
/// Where a kubelet has the profiles of a node.
const PROFILES: &str = "/var/lib/kubelet/seccomp";
/// How many last lines of each log are shown.
const LOG_LINES: i64 = 200;

/// Describes a namespace, the operator and the nodes' files. What can't be read is said to be so: a dump never fails.
pub async fn dump(cluster: &Cluster, namespace: &str) -> String {
    let mut text = format!("======== dump of namespace {namespace} ========\n");
    section(&mut text, "events", events(cluster, namespace).await);
    section(&mut text, "pods", pods(cluster, namespace).await);
    section(&mut text, "profiles, revisions and nodes", objects(cluster).await);
    section(&mut text, "the operator's logs", operator_logs(cluster).await);
    section(&mut text, "files on the nodes", node_files(cluster));
    text.push_str("======== end of dump ========");
    text
}

fn section(text: &mut String, title: &str, content: Result<String>) {
    let content = content.unwrap_or_else(|error| format!("can't be read: {error:#}"));
    line(text, format_args!("-------- {title}"));
    line(text, content.trim_end());
}

fn line(text: &mut String, content: impl Display) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "{content}");
}

async fn events(cluster: &Cluster, namespace: &str) -> Result<String> {
    let api: Api<Event> = Api::namespaced(cluster.client(), namespace);
    let mut events = api.list(&ListParams::default()).await?.items;
    events.sort_by_key(|event| event.metadata.creation_timestamp.clone());
    let mut text = String::new();
    for event in events {
        let object = event.involved_object;
        line(
            &mut text,
            format_args!(
                "{} {} {}/{} x{}: {}",
                event.type_.unwrap_or_default(),
                event.reason.unwrap_or_default(),
                object.kind.unwrap_or_default(),
                object.name.unwrap_or_default(),
                event.count.unwrap_or(1),
                event.message.unwrap_or_default()
            ),
        );
    }
    Ok(text)
}

async fn pods(cluster: &Cluster, namespace: &str) -> Result<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let mut text = String::new();
    for mut pod in api.list(&ListParams::default()).await?.items {
        pod.managed_fields_mut().clear();
        let name = pod.name_any();
        line(&mut text, format_args!("pod {name}: {}", serde_json::to_string_pretty(&pod)?));
        log(&mut text, &api, &name).await;
    }
    Ok(text)
}

async fn operator_logs(cluster: &Cluster) -> Result<String> {
    let all: Api<Pod> = Api::all(cluster.client());
    let mut text = String::new();
    for pod in all.list(&ListParams::default().labels(OPERATOR_PODS)).await?.items {
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(cluster.client(), &namespace);
        log(&mut text, &api, &pod.name_any()).await;
    }
    Ok(text)
}

async fn log(text: &mut String, api: &Api<Pod>, pod: &str) {
    let parameters = LogParams { tail_lines: Some(LOG_LINES), ..LogParams::default() };
    match api.logs(pod, &parameters).await {
        Ok(log) => line(text, format_args!("log of {pod}:\n{}", log.trim_end())),
        Err(error) => line(text, format_args!("the log of {pod} can't be read: {error}")),
    }
}

async fn objects(cluster: &Cluster) -> Result<String> {
    let group = match discovery::group(&cluster.client(), GROUP).await {
        Ok(group) => group,
        Err(error) => return Ok(format!("the group {GROUP} is not there: {error}")),
    };
    let mut text = String::new();
    for (resource, _) in group.recommended_resources() {
        let api: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
        for mut object in api.list(&ListParams::default()).await?.items {
            object.managed_fields_mut().clear();
            line(&mut text, format_args!("{} {}", resource.kind, serde_json::to_string(&object)?));
        }
    }
    Ok(text)
}

fn node_files(cluster: &Cluster) -> Result<String> {
    let local = cluster.require_local("reading the nodes' files")?;
    let mut text = String::new();
    for node in local.node_names()? {
        line(&mut text, format_args!("{node}:"));
        tree(&mut text, &local.node_path(&node, PROFILES)?);
    }
    Ok(text)
}

fn tree(text: &mut String, folder: &Path) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return line(text, format_args!("  {} can't be listed: {error}", folder.display())),
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                line(text, format_args!("  {:o} {}/", found.mode(), path.display()));
                tree(text, &path);
            }
            Ok(found) => {
                line(text, format_args!("  {:o} {} bytes {}", found.mode(), found.len(), path.display()));
            }
            Err(error) => line(text, format_args!("  {} can't be read: {error}", path.display())),
        }
    }
}
