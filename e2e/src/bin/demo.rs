//! The main job on a real cluster, as a user would do it: every command that is typed, and what came back.

use std::{
    io::Write as _,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, stream};
use kube::Client;
use portcullis_e2e::{
    Cluster, Operator,
    image::{BUSYBOX, NGINX},
    operator::SYSTEM_NAMESPACE,
    progress,
    settings::workspace_root,
    testing::wait_for,
};

/// Where the examples are.
const NAMESPACE: &str = "portcullis-examples";
/// Where Portcullis is installed.
const SYSTEM: &str = SYSTEM_NAMESPACE;
/// Requests that nginx answers under its profile, and how many at a time.
const REQUESTS: u32 = 2_000;
const AT_A_TIME: usize = 32;
/// Lines of one command's output that are shown.
const SHOWN_LINES: usize = 8;

#[tokio::main]
async fn main() -> ExitCode {
    match demonstrate().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn demonstrate() -> Result<()> {
    let cluster = Cluster::from_env().await?;
    let image = cluster.operator_image()?;
    let shell = Shell { cluster: &cluster };
    install(&shell, &image)?;
    apply(&shell)?;
    serve(&shell, cluster.client()).await?;
    refuse(&shell)?;
    explain_a_missing_profile(&shell).await?;
    say("")?;
    if cluster.is_local() {
        say("The cluster is left up; `make clean-cluster` removes it. To look around:")?;
        return say(&format!("  export KUBECONFIG={}", cluster.kubeconfig().display()));
    }
    say("All of it is left on your cluster. To take it away:")?;
    say(&format!("  kubectl delete namespace {NAMESPACE}"))?;
    say("  kubectl delete clusterseccompprofile runc-and-libc")?;
    say(&format!("  helm uninstall portcullis --namespace {SYSTEM}"))?;
    say(&format!("  kubectl delete namespace {SYSTEM}"))?;
    say("docs/uninstall.md says what that leaves, the files on the nodes among it, and how to remove it.")
}

fn install(shell: &Shell<'_>, image: &str) -> Result<()> {
    say("# 1. Install Portcullis: a controller, and an agent on every node")?;
    shell.quietly(&["kubectl", "create", "namespace", SYSTEM])?;
    shell.quietly(&[
        "kubectl",
        "label",
        "namespace",
        SYSTEM,
        "pod-security.kubernetes.io/enforce=privileged",
        "--overwrite",
    ])?;
    let settings = Operator::settings(shell.cluster, image)?.join(",");
    shell.quietly(&[
        "helm",
        "upgrade",
        "--install",
        "portcullis",
        "charts/portcullis",
        "--namespace",
        SYSTEM,
        "--set",
        &settings,
        "--wait",
    ])?;
    shell.show(&["kubectl", "get", "pods", "--namespace", SYSTEM])
}

fn apply(shell: &Shell<'_>) -> Result<()> {
    say("")?;
    say("# 2. Apply two profiles and wait until each is on every node")?;
    shell.quietly(&["kubectl", "apply", "-f", "deploy/examples/namespace.yaml"])?;
    // What an earlier demonstration left would spoil the last step.
    shell.forget(&[
        "kubectl",
        "delete",
        "pod,seccompprofile",
        "read-only-opens",
        "-n",
        NAMESPACE,
        "--ignore-not-found",
    ])?;
    shell.show(&[
        "kubectl",
        "apply",
        "-f",
        "deploy/examples/nginx/profile.yaml",
        "-f",
        "deploy/examples/base/base.yaml",
    ])?;
    shell.show(&[
        "kubectl",
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "seccompprofile/nginx",
        "-n",
        NAMESPACE,
    ])?;
    shell.show(&[
        "kubectl",
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "clusterseccompprofile/runc-and-libc",
    ])?;
    shell.show(&["kubectl", "get", "seccompprofiles,clusterseccompprofiles", "-n", NAMESPACE])
}

async fn serve(shell: &Shell<'_>, client: Client) -> Result<()> {
    say("")?;
    say("# 3. nginx under its profile, default-deny, under load")?;
    shell.apply_pod("deploy/examples/nginx/pod.yaml", NGINX)?;
    shell.show(&[
        "kubectl",
        "wait",
        "--for=condition=Ready",
        "--timeout=120s",
        "pod/nginx",
        "-n",
        NAMESPACE,
    ])?;
    shell.show(&["kubectl", "exec", "nginx", "-n", NAMESPACE, "--", "grep", "Seccomp", "/proc/1/status"])?;
    let load = load(client).await?;
    say(&format!(
        "{REQUESTS} requests, {AT_A_TIME} at a time, through the API server's proxy: {} answered 200, {:.0} a second",
        load.answered,
        f64::from(load.answered) / load.took.as_secs_f64()
    ))?;
    ensure!(load.answered == REQUESTS, "nginx did not answer {} requests", REQUESTS - load.answered);
    Ok(())
}

struct Load {
    answered: u32,
    took: Duration,
}

async fn load(client: Client) -> Result<Load> {
    let begun = Instant::now();
    let answered = stream::iter(0..REQUESTS)
        .map(|_| get(client.clone()))
        .buffer_unordered(AT_A_TIME)
        .filter(|answer| std::future::ready(answer.as_ref().is_ok_and(|body| body.contains("nginx"))))
        .count()
        .await;
    let answered = u32::try_from(answered)?;
    Ok(Load { answered, took: begun.elapsed() })
}

async fn get(client: Client) -> Result<String> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/nginx:8080/proxy/");
    let request = http::Request::get(path).body(Vec::new())?;
    Ok(client.request_text(request).await?)
}

/// Calls that a web server has no business making, each by a program that makes it. mount(8) and busybox's look at the user first and
/// make no call, so Perl makes mount(2), number 165 on x86-64.
const REFUSED: [&[&str]; 3] = [
    &["unshare", "--mount", "true"],
    &["perl", "-e", "@a = qw(none /tmp tmpfs); syscall(165, @a, 0, 0) == 0 or die qq(mount: $!\\n)"],
    &["nsenter", "--net=/proc/1/ns/net", "true"],
];

fn refuse(shell: &Shell<'_>) -> Result<()> {
    say("")?;
    say(
        "# 4. unshare, mount and setns in it: the filter answers ENOSYS (for want of a capability it would be EPERM)",
    )?;
    for call in REFUSED {
        let arguments = [&["kubectl", "exec", "nginx", "-n", NAMESPACE, "--"], call].concat();
        shell.show_failure(&arguments)?;
    }
    Ok(())
}

async fn explain_a_missing_profile(shell: &Shell<'_>) -> Result<()> {
    say("")?;
    say("# 5. A pod whose profile nobody applied does not run unconfined: it waits")?;
    shell.apply_pod("deploy/examples/read-only-opens/pod.yaml", BUSYBOX)?;
    let events = [
        "kubectl",
        "get",
        "events",
        "-n",
        NAMESPACE,
        "--field-selector",
        "involvedObject.name=read-only-opens,reason=Failed",
        "-o",
        "jsonpath={.items[0].message}",
    ];
    wait_for("the kubelet's event", Duration::from_secs(60), async || {
        let (said, succeeded) = shell.output(&events)?;
        Ok((succeeded && !said.is_empty()).then_some(()))
    })
    .await?;
    shell.show(&events)?;
    say(
        "No profile of that name exists, so no node has the file. Apply it, and the kubelet's next attempt starts the pod:",
    )?;
    shell.show(&["kubectl", "apply", "-f", "deploy/examples/read-only-opens/profile.yaml"])?;
    shell.show(&[
        "kubectl",
        "wait",
        "--for=condition=Ready",
        "--timeout=120s",
        "pod/read-only-opens",
        "-n",
        NAMESPACE,
    ])
}

/// Runs what a user would type.
struct Shell<'a> {
    cluster: &'a Cluster,
}

impl Shell<'_> {
    /// Runs a command and shows what came back.
    fn show(&self, line: &[&str]) -> Result<()> {
        self.prompt(line)?;
        let (output, succeeded) = self.output(line)?;
        ensure!(succeeded, "it failed:\n{output}");
        output.lines().take(SHOWN_LINES).try_for_each(say)
    }

    /// Shows a command that must fail, with the line that says why.
    fn show_failure(&self, line: &[&str]) -> Result<()> {
        self.prompt(line)?;
        let (output, succeeded) = self.output(line)?;
        ensure!(!succeeded, "it succeeded, which it must not");
        ensure!(output.contains("Function not implemented"), "it failed, but not by the filter:\n{output}");
        say(output.lines().next().unwrap_or("(it failed without a word)"))
    }

    /// Applies an example's pod; on the local cluster, which reaches no registry, with an image that is made of Debian's programs.
    fn apply_pod(&self, file: &str, local_image: &str) -> Result<()> {
        if !self.cluster.is_local() {
            return self.show(&["kubectl", "apply", "-f", file]);
        }
        say(&format!("$ sed 's#image: .*#image: {local_image}#' {file} | kubectl apply -f -"))?;
        let manifest = std::fs::read_to_string(workspace_root().join(file))?;
        let image = |line: &str| match line.split_once("image: ") {
            Some((indent, _)) => format!("{indent}image: {local_image}"),
            None => line.to_owned(),
        };
        let manifest: Vec<String> = manifest.lines().map(image).collect();
        let mut kubectl = self.cluster.kubectl();
        let mut child = kubectl
            .args(["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("kubectl can't be started")?;
        let mut input = child.stdin.take().context("kubectl's input is not connected")?;
        input.write_all(manifest.join("\n").as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "kubectl failed");
        String::from_utf8_lossy(&output.stdout).lines().try_for_each(say)
    }

    /// Runs a command that is no part of what is shown.
    fn forget(&self, line: &[&str]) -> Result<()> {
        let (output, succeeded) = self.output(line)?;
        ensure!(succeeded, "`{}` failed:\n{output}", line.join(" "));
        Ok(())
    }

    /// A step that may have been done before; only its failure for another reason is worth a line.
    fn quietly(&self, line: &[&str]) -> Result<()> {
        self.prompt(line)?;
        let (output, succeeded) = self.output(line)?;
        if succeeded || output.contains("AlreadyExists") {
            return Ok(());
        }
        bail!("it failed:\n{output}")
    }

    fn prompt(&self, line: &[&str]) -> Result<()> {
        // As a shell takes it.
        let quoted = |word: &&str| match word.contains([' ', '$', ';']) {
            true => format!("'{word}'"),
            false => (*word).to_owned(),
        };
        say(&format!("$ {}", line.iter().map(quoted).collect::<Vec<_>>().join(" ")))
    }

    /// Standard output and error together, and whether the command succeeded.
    fn output(&self, line: &[&str]) -> Result<(String, bool)> {
        let [program, arguments @ ..] = line else { bail!("no command") };
        let mut command: Command = match *program {
            "kubectl" => self.cluster.kubectl(),
            "helm" => self.cluster.helm(),
            other => bail!("{other} is no program of the demonstration"),
        };
        let output = command.args(arguments).current_dir(workspace_root()).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((String::from_utf8_lossy(&text).trim_end().to_owned(), output.status.success()))
    }
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
