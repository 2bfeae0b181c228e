//! The trap, shown with nginx: what was recorded of start and requests alone breaks when the log is rotated; what was recorded over the
//! whole suite does not.

use anyhow::{Context as _, Result, ensure};
use portcullis_api::{PhaseName, RUN_LABEL, RecordingCondition, RecordingStatus};
use portcullis_e2e::{
    image::{BUSYBOX, NGINX},
    testing::TestNamespace,
};
use serde_json::{Value, json};

use crate::support::{
    CLIENTS, address, allowed, await_status, condition, confinement, enforce, exit_code, export, has_called,
    has_seen, in_namespace, record, sh, start, start_clients, until,
};

/// One worker, so that the master has nobody to tell anything before the first signal.
const CONFIGURATION: &str = "\
daemon off;
worker_processes 1;
error_log /logs/error.log notice;
pid /tmp/nginx.pid;
events { worker_connections 512; }
http {
    access_log /logs/access.log;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server {
        listen 8080;
        root /usr/share/nginx/html;
    }
}
";
/// What nginx says in its log of a call that the profile denies.
const DENIED: &str = "Function not implemented";
/// Things a web server has no business doing, by number on x86-64.
const NO_BUSINESS: &[(&str, u32)] =
    &[("setns", 308), ("unshare", 272), ("mount", 165), ("ptrace", 101), ("bpf", 321), ("keyctl", 250)];

/// nginx, and beside it the container that rotates its logs, as sidecars do: in the same process namespace and as the same user.
fn web(name: &str, app: &str, run: &str, localhost: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": app, RUN_LABEL: run } },
        "spec": {
            "shareProcessNamespace": true,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [
                {
                    "name": "nginx",
                    "image": NGINX,
                    "args": ["-c", "/etc/own/nginx.conf", "-e", "/logs/error.log"],
                    "securityContext": { "allowPrivilegeEscalation": false, "seccompProfile": confinement(localhost) },
                    "readinessProbe": { "httpGet": { "port": 8080, "path": "/" }, "periodSeconds": 1 },
                    "volumeMounts": [
                        { "name": "configuration", "mountPath": "/etc/own" },
                        { "name": "logs", "mountPath": "/logs" },
                    ],
                },
                {
                    "name": "rotate",
                    "image": BUSYBOX,
                    "command": ["sleep", "infinity"],
                    "securityContext": { "runAsUser": 65532 },
                    "volumeMounts": [{ "name": "logs", "mountPath": "/logs" }],
                },
            ],
            "volumes": [
                { "name": "configuration", "configMap": { "name": "nginx" } },
                { "name": "logs", "emptyDir": {} },
            ],
        },
    })
}

/// A shell line that signals nginx's master, which the two containers' common process namespace shows.
fn kill(signal: &str) -> String {
    format!("kill -{signal} $(grep -l '^nginx: master' /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3)")
}

/// Signals nginx's master, and waits until what it says after that holds.
async fn signal(namespace: &TestNamespace, pod: &str, signal: &str, what: &str, holds: &str) -> Result<()> {
    sh(namespace, pod, "rotate", &kill(signal))?;
    until(namespace, what, pod, "rotate", holds).await.map(drop)
}

/// Rotates the log: what is requested afterwards stands in the new file.
async fn rotate(namespace: &TestNamespace, pod: &str) -> Result<()> {
    sh(namespace, pod, "rotate", "mv /logs/access.log /logs/access.log.1")?;
    let logged = "nc -w 1 127.0.0.1 8080 </logs/request >/dev/null; test -s /logs/access.log";
    signal(namespace, pod, "USR1", "the new log is written", logged).await
}

async fn prepare(namespace: &TestNamespace) -> Result<()> {
    namespace.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "nginx" },
        "data": { "nginx.conf": CONFIGURATION },
    }))?;
    start_clients(namespace).await
}

/// Makes requests from another pod, and asserts that every one was answered.
fn load(namespace: &TestNamespace, address: &str) -> Result<()> {
    let said = namespace.exec(CLIENTS, &["wrk", "-t1", "-c8", "-d3s", &format!("http://{address}:8080/")])?;
    ensure!(
        said.contains("Requests/sec") && !said.contains("Socket errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    Ok(())
}

async fn serve(namespace: &TestNamespace, manifest: &Value) -> Result<()> {
    let pod = start(namespace, manifest).await?;
    let name = pod.metadata.name.as_deref().context("a pod has a name")?;
    let request = r"printf 'GET / HTTP/1.0\r\n\r\n' >/logs/request";
    sh(namespace, name, "rotate", request)?;
    load(namespace, &address(&pod)?)
}

/// Waits until the recording knows of the pod that serves: its worker called `accept4`.
async fn await_serving(namespace: &TestNamespace, recording: &str) -> Result<RecordingStatus> {
    await_status(namespace, recording, "a recording of a server at work", |status| {
        has_seen(status, "nginx", PhaseName::Start) && has_called(status, &["accept4", "writev"])
    })
    .await
}

#[tokio::test]
async fn a_recording_of_the_happy_path_breaks_log_rotation_and_says_so_before() -> Result<()> {
    in_namespace("nginx-happy", async |_, namespace| {
        prepare(&namespace).await?;
        record(&namespace, "web", &json!({ "containers": ["nginx"] })).await?;
        serve(&namespace, &web("web", "web", "smoke", None)).await?;
        let status = await_serving(&namespace, "web").await?;
        // It says what it has not seen, before anybody is hurt.
        let (complete, reason, message) =
            condition(&status, RecordingCondition::Complete).context("a condition Complete")?;
        ensure!(
            (complete, reason) != ("True", "AllSeen") && message.contains("no graceful stop was seen"),
            "{message}"
        );
        let nginx = status.containers.iter().find(|found| found.name == "nginx").context("nginx")?;
        for phase in [PhaseName::SignalHandled, PhaseName::LogReopened, PhaseName::GracefulStop] {
            ensure!(nginx.not_seen.contains(&phase), "{phase:?} was not seen, but: {nginx:?}");
        }
        let profile = export(&namespace, "web")?;
        let path = enforce(&namespace, "happy", &profile).await?;
        // The check of what the profile denies is a recording too.
        record(&namespace, "enforced", &json!({ "containers": ["nginx"] })).await?;
        serve(&namespace, &web("enforced", "enforced", "", Some(&path))).await?;
        sh(&namespace, "enforced", "rotate", "mv /logs/access.log /logs/access.log.1")?;
        let complained = format!("grep -q '{DENIED}' /logs/error.log");
        signal(&namespace, "enforced", "USR1", "nginx complains of a denied call", &complained).await?;
        let status = await_status(&namespace, "enforced", "a recording of denied calls", |status| {
            !status.denied_calls.is_empty()
        })
        .await?;
        ensure!(
            !status.denied_calls.iter().any(|call| allowed(&profile).contains(call)),
            "{:?}",
            status.denied_calls
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_recording_over_the_whole_suite_holds_under_load() -> Result<()> {
    in_namespace("nginx-suite", async |_, namespace| {
        prepare(&namespace).await?;
        record(&namespace, "web", &json!({ "containers": ["nginx"] })).await?;
        serve(&namespace, &web("smoke", "web", "smoke", None)).await?;
        serve(&namespace, &web("signals", "web", "signals", None)).await?;
        suite(&namespace, "signals").await?;
        let status = await_status(&namespace, "web", "a recording of a graceful stop", |status| {
            [PhaseName::Start, PhaseName::SignalHandled, PhaseName::LogReopened, PhaseName::GracefulStop]
                .into_iter()
                .all(|phase| has_seen(status, "nginx", phase))
        })
        .await?;
        let runs: Vec<_> = status.runs.iter().map(|run| run.name.as_str()).collect();
        ensure!(runs == ["signals", "smoke"], "{runs:?}");
        let signals = status.runs.iter().find(|run| run.name == "signals").context("the run")?;
        ensure!(signals.only_here > 0, "the signals' run needs calls that no other does: {signals:?}");
        let profile = export(&namespace, "web")?;
        let from = &profile["spec"]["recordedFrom"];
        ensure!(from["runs"] == json!(["signals", "smoke"]), "{from}");
        ensure!(from["images"][0].as_str().is_some_and(|image| image.starts_with("sha256:")), "{from}");
        let path = enforce(&namespace, "whole", &profile).await?;
        record(&namespace, "enforced", &json!({ "containers": ["nginx"] })).await?;
        serve(&namespace, &web("enforced", "enforced", "", Some(&path))).await?;
        suite(&namespace, "enforced").await?;
        let status = await_status(&namespace, "enforced", "a recording to the end", |status| {
            has_seen(status, "nginx", PhaseName::GracefulStop)
        })
        .await?;
        ensure!(status.denied_calls.is_empty(), "denied: {:?}", status.denied_calls);
        ensure!(status.lost.is_none(), "{:?}", status.lost);
        Ok(())
    })
    .await
}

/// Log rotation, reload and graceful stop, with requests in between.
async fn suite(namespace: &TestNamespace, pod: &str) -> Result<()> {
    rotate(namespace, pod).await?;
    let reloaded =
        "grep -q 'reconfiguring' /logs/error.log && nc -w 1 127.0.0.1 8080 </logs/request | grep -q '200 OK'";
    signal(namespace, pod, "HUP", "nginx serves after a reload", reloaded).await?;
    rotate(namespace, pod).await?;
    sh(namespace, pod, "rotate", &kill("QUIT"))?;
    let code = exit_code(namespace, pod, "nginx").await?;
    ensure!(code == 0, "{pod} ended with {code} after SIGQUIT");
    Ok(())
}

#[tokio::test]
async fn what_a_server_has_no_business_doing_is_denied() -> Result<()> {
    in_namespace("nginx-denied", async |_, namespace| {
        prepare(&namespace).await?;
        record(&namespace, "web", &json!({ "containers": ["nginx"] })).await?;
        serve(&namespace, &web("web", "web", "", None)).await?;
        let perl = |script: &str| -> Vec<String> { ["perl", "-e", script].map(str::to_owned).into() };
        let exec = |pod: &str, script: &str| {
            let arguments = perl(script);
            let all = [
                &["exec", pod, "-c", "nginx", "--"],
                &*arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            ];
            namespace.kubectl(&all.concat())
        };
        // What Perl itself needs is recorded as well.
        exec("web", "$! = 0; print syscall(39) > 0 ? 'runs' : 'fails', int($!)")?;
        let status = await_serving(&namespace, "web").await?;
        ensure!(
            !status.call_names.iter().any(|name| NO_BUSINESS.iter().any(|(call, _)| call == name)),
            "{:?}",
            status.call_names
        );
        await_status(&namespace, "web", "a recording of Perl", |status| has_called(status, &["getpid"]))
            .await?;
        let path = enforce(&namespace, "web", &export(&namespace, "web")?).await?;
        serve(&namespace, &web("enforced", "enforced", "", Some(&path))).await?;
        for (call, number) in NO_BUSINESS {
            // ENOSYS is 38, which nothing but the profile answers to these.
            let said = exec("enforced", &format!("syscall({number}, 0, 0, 0, 0, 0); print int($!)"))?;
            ensure!(said.trim() == "38", "{call} was answered with errno {said}");
        }
        Ok(())
    })
    .await
}
