//! The trap, shown with redis: one that was recorded while it served can't write its data when it is told to stop.

use anyhow::{Context as _, Result, ensure};
use portcullis_api::PhaseName;
use portcullis_e2e::{
    image::{BUSYBOX, REDIS},
    testing::{Seen, TestNamespace, eventually},
};
use serde_json::{Value, json};

use crate::support::{
    CLIENTS, PATIENCE, address, await_status, confinement, enforce, exit_code, export, has_called, has_seen,
    in_namespace, record, sh, start, start_clients,
};

/// What redis says when it can't write what it has to before it stops.
const CANT_EXIT: &str = "Error trying to save the DB, can't exit";

/// redis, and beside it a container in the same process namespace from which it is signalled.
fn database(name: &str, app: &str, localhost: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": app } },
        "spec": {
            "shareProcessNamespace": true,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [
                {
                    "name": "redis",
                    "image": REDIS,
                    // Of a command that was slow it asks who sent it (getpeername), so a busy machine would decide what is called.
                    "args": [
                        "--dir", "/data", "--save", "3600 1", "--protected-mode", "no", "--bind", "0.0.0.0",
                        "--slowlog-log-slower-than", "-1",
                    ],
                    "securityContext": { "allowPrivilegeEscalation": false, "seccompProfile": confinement(localhost) },
                    "readinessProbe": { "exec": { "command": ["redis-cli", "ping"] }, "periodSeconds": 1, "timeoutSeconds": 5 },
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                },
                {
                    "name": "operator",
                    "image": BUSYBOX,
                    "command": ["sleep", "infinity"],
                    "securityContext": { "runAsUser": 65532 },
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                },
            ],
            "volumes": [{ "name": "data", "emptyDir": {} }],
        },
    })
}

/// Starts it and makes requests from another pod, every one of which must be answered.
async fn serve(namespace: &TestNamespace, manifest: &Value) -> Result<()> {
    let pod = start(namespace, manifest).await?;
    let benchmark =
        ["redis-benchmark", "-h", &address(&pod)?, "-q", "-n", "2000", "-c", "8", "-t", "set,get,lpush"];
    let said = namespace.exec(CLIENTS, &benchmark)?;
    ensure!(said.matches("requests per second").count() >= 3 && !said.contains("Error"), "{said}");
    Ok(())
}

fn terminate(namespace: &TestNamespace, pod: &str) -> Result<()> {
    sh(namespace, pod, "operator", "kill -TERM $(pidof redis-server)").map(drop)
}

#[tokio::test]
async fn a_recording_of_requests_alone_lets_redis_lose_its_data() -> Result<()> {
    in_namespace("redis-happy", async |_, namespace| {
        start_clients(&namespace).await?;
        record(&namespace, "db", &json!({ "containers": ["redis"] })).await?;
        serve(&namespace, &database("db", "db", None)).await?;
        let status = await_status(&namespace, "db", "a recording of a server at work", |status| {
            has_seen(status, "redis", PhaseName::Start) && has_called(status, &["epoll_wait"])
        })
        .await?;
        let redis = status.containers.iter().find(|found| found.name == "redis").context("redis")?;
        ensure!(redis.not_seen.contains(&PhaseName::GracefulStop), "{redis:?}");
        let path = enforce(&namespace, "happy", &export(&namespace, "db")?).await?;
        serve(&namespace, &database("enforced", "enforced", Some(&path))).await?;
        terminate(&namespace, "enforced")?;
        eventually("redis says so", PATIENCE, async || {
            let log = namespace.kubectl(&["logs", "enforced", "-c", "redis"])?;
            Ok(if log.contains(CANT_EXIT) { Seen::Done(()) } else { Seen::NotYet(log) })
        })
        .await?;
        sh(&namespace, "enforced", "operator", "test ! -e /data/dump.rdb").map(drop)
    })
    .await
}

#[tokio::test]
async fn a_recording_to_the_end_keeps_the_data() -> Result<()> {
    in_namespace("redis-suite", async |_, namespace| {
        start_clients(&namespace).await?;
        record(&namespace, "db", &json!({ "containers": ["redis"] })).await?;
        serve(&namespace, &database("db", "db", None)).await?;
        terminate(&namespace, "db")?;
        ensure!(exit_code(&namespace, "db", "redis").await? == 0);
        let recorded = await_status(&namespace, "db", "a recording of a graceful stop", |status| {
            has_seen(status, "redis", PhaseName::GracefulStop)
        })
        .await?;
        let path = enforce(&namespace, "whole", &export(&namespace, "db")?).await?;
        record(&namespace, "enforced", &json!({ "containers": ["redis"] })).await?;
        serve(&namespace, &database("enforced", "enforced", Some(&path))).await?;
        terminate(&namespace, "enforced")?;
        ensure!(exit_code(&namespace, "enforced", "redis").await? == 0);
        sh(&namespace, "enforced", "operator", "test -s /data/dump.rdb")?;
        let status = await_status(&namespace, "enforced", "a recording to the end", |status| {
            has_seen(status, "redis", PhaseName::GracefulStop)
        })
        .await?;
        // The runtime's default denies clone3 too, and the C library falls back on clone.
        let new: Vec<_> =
            status.denied_calls.iter().filter(|call| !recorded.denied_calls.contains(call)).collect();
        ensure!(new.is_empty(), "denied: {new:?}");
        Ok(())
    })
    .await
}
