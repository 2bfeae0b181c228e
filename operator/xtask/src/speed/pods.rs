//! `who` on a large cluster: an API server that makes its pods as they are asked for, and the memory of the process that asks.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Pods of the cluster; Kubernetes supports 150,000.
pub(super) const PODS: u64 = 100_000;
/// Deployments that they belong to, each with one ReplicaSet.
pub(super) const WORKLOADS: u64 = 5_000;
/// Variables in a container's environment, so that a pod has the size of a usual one: 6 KB.
const VARIABLES: usize = 40;

/// What the question took.
pub(super) struct Measured {
    pub(super) seconds: f64,
    /// The most memory that the process had.
    pub(super) peak_mib: f64,
    pub(super) answers: u64,
    pub(super) megabytes: f64,
}

#[derive(Default)]
struct Sent {
    answers: AtomicU64,
    bytes: AtomicU64,
}

pub(super) fn measure(binary: &Path) -> Result<Measured> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = format!("http://{}", listener.local_addr()?);
    let sent = Arc::new(Sent::default());
    let counted = Arc::clone(&sent);
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || serve(stream, &counted));
        }
    });
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("config");
    fs::write(&kubeconfig, kubeconfig_of(&server).to_string())?;
    let begun = Instant::now();
    let mut child = Command::new(binary)
        .args(["who", "-A", "--kubeconfig"])
        .arg(&kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // The answer is longer than a pipe holds, so the process has done its work when the first of it comes, and is still there.
    let mut answer = child.stdout.take().context("a pipe")?;
    let (mut piece, mut lines, mut peak) = ([0; 4096], 0, 0.0_f64);
    loop {
        let count = answer.read(&mut piece)?;
        if count == 0 {
            break;
        }
        lines += piece[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
        peak = peak.max(peak_mib(child.id()).unwrap_or_default());
    }
    let output = child.wait_with_output()?;
    let seconds = begun.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && lines == WORKLOADS + 1 && peak > 0.0, "{lines} lines: {said}");
    ensure!(said.contains(&format!("of {PODS} running containers")), "{said}");
    let bytes = sent.bytes.load(Ordering::Relaxed);
    Ok(Measured {
        seconds,
        peak_mib: peak,
        answers: sent.answers.load(Ordering::Relaxed),
        megabytes: bytes as f64 / 1e6,
    })
}

/// The most memory that a process had so far.
fn peak_mib(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}

fn kubeconfig_of(server: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "users": [{"name": "x", "user": {"token": "x"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    })
}

/// Answers the requests of a connection, one after another.
fn serve(stream: TcpStream, sent: &Sent) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        reader.read_line(&mut request).ok().filter(|count| *count > 0)?;
        let mut header = String::new();
        while reader.read_line(&mut header).ok()? > 2 {
            header.clear();
        }
        let target = request.split(' ').nth(1)?;
        let body = answer(target);
        write!(
            writer,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        sent.answers.fetch_add(1, Ordering::Relaxed);
        sent.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    }
}

fn answer(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameter = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse::<u64>().ok())
    };
    let (from, limit) = (parameter("continue").unwrap_or(0), parameter("limit").unwrap_or(u64::MAX));
    let (all, item): (u64, fn(u64) -> String) = match path.rsplit('/').next() {
        Some("pods") => (PODS, pod),
        Some("replicasets") => (WORKLOADS, replica_set),
        _ => (0, pod),
    };
    let to = from.saturating_add(limit).min(all);
    let next = if to < all { to.to_string() } else { String::new() };
    let mut body = format!(
        r#"{{"apiVersion":"v1","kind":"List","metadata":{{"resourceVersion":"1","continue":"{next}"}},"items":["#
    );
    for number in from..to {
        body += if number > from { "," } else { "" };
        body += &item(number);
    }
    body + "]}"
}

fn owner(kind: &str, name: &str) -> String {
    format!(
        r#""ownerReferences":[{{"apiVersion":"apps/v1","kind":"{kind}","name":"{name}","uid":"11111111-2222-3333-4444-555555555555","controller":true}}]"#
    )
}

fn replica_set(number: u64) -> String {
    let owner = owner("Deployment", &format!("app-{number}"));
    format!(
        r#"{{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{{"name":"app-{number}-7d9f8b6c5d","namespace":"team-{}",{owner}}}}}"#,
        number % 100
    )
}

/// The environment of every container.
static ENVIRONMENT: LazyLock<String> = LazyLock::new(|| {
    let variable = |number| {
        format!(
            r#"{{"name":"SETTING_{number}","valueFrom":{{"configMapKeyRef":{{"name":"settings","key":"setting-{number}"}}}}}}"#
        )
    };
    (0..VARIABLES).map(variable).collect::<Vec<String>>().join(",")
});

/// A pod with one container, in JSON as an API server writes it.
fn pod(number: u64) -> String {
    let workload = number % WORKLOADS;
    let owner = owner("ReplicaSet", &format!("app-{workload}-7d9f8b6c5d"));
    let variables = &*ENVIRONMENT;
    let profile = match workload % 4 {
        0 => r#""securityContext":{"seccompProfile":{"type":"RuntimeDefault"}},"#,
        1 => {
            r#""securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"profiles/shop/web.json"}},"#
        }
        2 => r#""securityContext":{"privileged":true},"#,
        _ => "",
    };
    format!(
        r#"{{"metadata":{{"name":"app-{workload}-7d9f8b6c5d-{number:05x}","namespace":"team-{}","uid":"{number:08x}-0000-4000-8000-000000000000","labels":{{"app":"app-{workload}"}},{owner}}},"spec":{{"nodeName":"node-{}","containers":[{{"name":"main","image":"registry.example/app-{workload}:1",{profile}"env":[{variables}],"resources":{{"requests":{{"cpu":"10m","memory":"64Mi"}}}}}}],"tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}]}},"status":{{"phase":"Running","podIP":"10.0.0.1","containerStatuses":[{{"name":"main","ready":true,"restartCount":0,"image":"registry.example/app-{workload}:1","imageID":"sha256:0000000000000000000000000000000000000000000000000000000000000000","state":{{"running":{{"startedAt":"2026-01-01T00:00:00Z"}}}}}}]}}}}"#,
        workload % 100,
        number % 5000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_pages_of_objects() {
        let first: Value = serde_json::from_str(&answer("/api/v1/pods?&limit=2")).expect("JSON");
        assert_eq!(
            (&first["items"].as_array().map(Vec::len), &first["metadata"]["continue"]),
            (&Some(2), &"2".into())
        );
        let last = answer(&format!("/apis/apps/v1/replicasets?limit=500&continue={}", WORKLOADS - 1));
        let last: Value = serde_json::from_str(&last).expect("JSON");
        assert_eq!(
            (&last["items"].as_array().map(Vec::len), &last["metadata"]["continue"]),
            (&Some(1), &"".into())
        );
        assert_eq!(last["items"][0]["metadata"]["ownerReferences"][0]["kind"], "Deployment");
    }
}
