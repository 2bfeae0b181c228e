//! `why`: why a pod does not start, or not stay, under its profile.

pub(in crate::commands) mod denied;
mod diagnosis;

use std::{collections::BTreeSet, io::Write};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::{Api, ResourceExt as _, api::ListParams, core::ApiResource};
use portcullis_api::ConditionType;
use portcullis_profile::{Arch, Profile as Document};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cluster::{
        self, Cluster, Connection, Scope,
        failure::{Attempt, FailureKind},
        pages,
        paths::hint,
        pod::{self, Confinement, Container, Role, SlimPod},
        profiles::{self, Profile},
        revisions,
        usage::Paths,
        workload::{Owners, Workload},
    },
    console::Console,
    example::{self, Example},
    layout::{counted, one_line, wrapped},
    output, platform,
    verdict::Verdict,
};

use denied::{DeniedCall, Starts};
use diagnosis::{Cause, Diagnosis, Named, diagnose};

const WORDS: &str = "\
Reads the pod's status and events, and the profile that its containers name. Says which call of the runtime or of the program the
profile denies, and what to change. Exits with 1 where a profile is why a container does not run, with 2 where that can't be
known, with 0 otherwise.";

const EXAMPLES: &[Example] = &[
    Example { about: "A pod that does not start", command: "kubectl seccomp why web-7d4b9c6f5-x2x8p" },
    Example {
        about: "The pods of a workload, and those that were refused",
        command: "kubectl seccomp why deploy/web",
    },
];

/// As many of a workload's pods are looked at: they are alike.
const MOST_PODS: usize = 5;
/// As many events of a pod count.
const MOST_EVENTS: usize = 50;
const WIDTH: usize = 96;

/// Which pod.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(crate) struct Arguments {
    /// The pod, or the workload whose pods: NAME, deploy/NAME, sts/NAME, ds/NAME, job/NAME or cronjob/NAME.
    #[arg(value_name = "POD|WORKLOAD")]
    target: Target,
    /// One container; without it all of the pod.
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// For programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Form>,
    #[command(flatten)]
    connection: Connection,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Pod(String),
    Workload { kind: &'static str, name: String },
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once('/').unwrap_or(("pod", text));
        if !profiles::can_be_a_name(name) {
            return Err(format!("{name:?} is no name of a pod or workload"));
        }
        let workload = |kind| Ok(Self::Workload { kind, name: name.to_owned() });
        match kind.split('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "po" | "pod" | "pods" => Ok(Self::Pod(name.to_owned())),
            "deploy" | "deployment" | "deployments" => workload("Deployment"),
            "sts" | "statefulset" | "statefulsets" => workload("StatefulSet"),
            "ds" | "daemonset" | "daemonsets" => workload("DaemonSet"),
            "rs" | "replicaset" | "replicasets" => workload("ReplicaSet"),
            "job" | "jobs" => workload("Job"),
            "cj" | "cronjob" | "cronjobs" => workload("CronJob"),
            _ => Err(format!(
                "{kind:?} has no pods that this command knows: use a pod's name, deploy/, sts/, ds/, job/ or cronjob/"
            )),
        }
    }
}

/// The answer.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    containers: Vec<Line>,
    /// Why no pod could be made, in the API server's words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
}

/// A container, and why it does not run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    pod: String,
    container: String,
    role: Role,
    confinement: Confinement,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    cause: Cause,
    because: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    denied: Vec<&'static str>,
    /// The rule that allows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Value>,
    /// Those of the denied calls that a rule names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    denied_by_rule: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remedies: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    cluster::with(&arguments.connection, async |cluster| {
        let (report, notes) = gather(&cluster, arguments).await?;
        match arguments.output {
            Some(Form::Json) => output::json(&report, console.out())?,
            Some(Form::Yaml) => output::yaml(&report, console.out())?,
            None => report.write(console.out())?,
        }
        notes.into_iter().for_each(|note| console.note(note));
        Ok(report.verdict())
    })
}

impl Report {
    fn verdict(&self) -> Verdict {
        let any = |is: fn(Cause) -> bool| self.containers.iter().any(|line| is(line.cause));
        if any(Cause::is_of_profile) || !self.refused.is_empty() {
            Verdict::No
        } else if any(|cause| cause == Cause::Unclear) {
            Verdict::Incomplete
        } else {
            Verdict::Yes
        }
    }

    fn write(&self, out: &mut dyn Write) -> Result<()> {
        for refusal in &self.refused {
            writeln!(out, "No pod is made, because the API server refuses it:")?;
            indented(out, "  ", refusal)?;
        }
        for line in &self.containers {
            line.write(out)?;
        }
        Ok(())
    }
}

fn indented(out: &mut dyn Write, indent: &str, text: &str) -> Result<()> {
    for line in wrapped(&one_line(text), WIDTH) {
        writeln!(out, "{indent}{line}")?;
    }
    Ok(())
}

impl Line {
    fn of(pod: &SlimPod, container: &Container<'_>, profile: Option<String>, found: Diagnosis) -> Self {
        let Diagnosis { cause, because, denied, remedies } = found;
        let names =
            |calls: &mut dyn Iterator<Item = &DeniedCall>| calls.map(|call| call.name).collect::<Vec<_>>();
        let all = names(&mut denied.iter());
        Self {
            pod: pod.name_any(),
            container: container.name.to_owned(),
            role: container.role,
            confinement: container.confinement.clone(),
            profile,
            cause,
            because,
            rule: (!all.is_empty()).then(|| json!({"names": all, "action": "SCMP_ACT_ALLOW"})),
            denied_by_rule: names(&mut denied.iter().filter(|call| call.by_rule)),
            denied: all,
            remedies,
        }
    }

    fn write(&self, out: &mut dyn Write) -> Result<()> {
        let under = match (&self.profile, &self.confinement) {
            (Some(profile), _) => format!(" under {profile}"),
            (None, Confinement::Localhost { path }) => format!(" under {path}"),
            (None, confinement) => format!(" ({})", confinement.label()),
        };
        writeln!(out, "pod/{}, container {}{under}:", self.pod, self.container)?;
        indented(out, "  ", &self.because)?;
        if !self.denied.is_empty() {
            writeln!(out, "  Denied and needed: {}", self.denied.join(", "))?;
            if !self.denied_by_rule.is_empty() {
                indented(
                    out,
                    "  ",
                    &format!(
                        "A rule names {}: take that out of it, because a second rule does not undo it.",
                        self.denied_by_rule.join(", ")
                    ),
                )?;
            }
            writeln!(out, "  Add to the profile's syscalls:")?;
            writeln!(out, "    - names: [{}]", self.denied.join(", "))?;
            writeln!(out, "      action: SCMP_ACT_ALLOW")?;
        }
        for remedy in &self.remedies {
            indented(out, "  ", remedy)?;
        }
        Ok(())
    }
}

/// What a pod's profiles are judged by.
struct Known<'p> {
    profiles: Option<(&'p [Profile], &'p Paths<'p>)>,
    arch: Arch,
}

async fn gather(cluster: &Cluster, arguments: &Arguments) -> Result<(Report, Vec<String>)> {
    let mut notes = Vec::new();
    let (pods, mut report) = match &arguments.target {
        Target::Pod(name) => (vec![read_pod(cluster, name).await?], Report::default()),
        Target::Workload { kind, name } => {
            let (pods, direct, more) = pods_of(cluster, kind, name, &mut notes).await?;
            let refused = refusals(cluster, &direct, &mut notes).await?;
            if pods.is_empty() && refused.is_empty() {
                bail!(
                    "{kind} {name} in the namespace {} has no pod, and no event says why",
                    cluster.namespace
                );
            }
            if more > 0 {
                notes.push(format!("{} more of it left out", counted(more, "pod")));
            }
            (pods, Report { containers: Vec::new(), refused })
        }
    };
    let scope = Scope::Namespace(cluster.namespace.clone());
    let (profiles, more) = profiles::list_if_allowed(cluster, &scope, "profiles are not read").await?;
    notes.extend(more);
    let paths = profiles.as_deref().map(Paths::of);
    let profiles = profiles.as_deref().zip(paths.as_ref());
    for pod in &pods {
        let of_pod = format!("involvedObject.kind=Pod,involvedObject.name={}", pod.name_any());
        let events = warnings(cluster, &of_pod, &mut notes).await?;
        let known = Known { profiles, arch: arch_of(cluster, pod, &mut notes).await? };
        for container in pod::containers(pod) {
            if arguments.container.as_ref().is_some_and(|wanted| wanted != container.name) {
                continue;
            }
            let (profile, named) = named(cluster, &container, &known, &mut notes).await?;
            let own = of_container(&events, &container);
            report.containers.push(Line::of(pod, &container, profile, diagnose(&container, &named, &own)));
        }
    }
    if let Some(wanted) =
        arguments.container.as_ref().filter(|_| report.containers.is_empty() && !pods.is_empty())
    {
        bail!("no container is called {wanted:?}; there are: {}", names(&pods).join(", "));
    }
    notes.dedup();
    Ok((report, notes))
}

fn names(pods: &[SlimPod]) -> Vec<String> {
    let all: BTreeSet<String> =
        pods.iter().flat_map(|pod| pod::containers(pod).map(|one| one.name.to_owned())).collect();
    all.into_iter().collect()
}

fn pod_api(cluster: &Cluster) -> Api<SlimPod> {
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<Pod>(&()))
}

async fn read_pod(cluster: &Cluster, name: &str) -> Result<SlimPod> {
    let attempt = Attempt::new::<Pod>("get", Some(&cluster.namespace));
    pod_api(cluster).get(name).await.map_err(|error| attempt.failed(&error))
}

/// Some pods of a workload, those that do not run first; the workload and what stands between; how many pods were left out.
async fn pods_of(
    cluster: &Cluster,
    kind: &str,
    name: &str,
    notes: &mut Vec<String>,
) -> Result<(Vec<SlimPod>, BTreeSet<Workload>, usize)> {
    let scope = Scope::Namespace(cluster.namespace.clone());
    let wanted =
        Workload { namespace: cluster.namespace.clone(), kind: kind.to_owned(), name: name.to_owned() };
    let attempt = Attempt::new::<Pod>("list", Some(&cluster.namespace));
    let mut pods = Vec::new();
    pages::each(&pod_api(cluster), ListParams::default(), |pod: SlimPod| pods.push(pod))
        .await
        .map_err(|error| attempt.failed(&error))?;
    let direct: BTreeSet<Workload> = pods.iter().map(|pod| Workload::of_pod(&pod.metadata)).collect();
    let owners = Owners::of(cluster, &scope, &direct).await?;
    notes.extend(owners.notes.iter().cloned());
    let is_wanted = |workload: &Workload| *workload == wanted || *owners.top(workload) == wanted;
    pods.retain(|pod| is_wanted(&Workload::of_pod(&pod.metadata)));
    pods.sort_by_key(|pod| pod::containers(pod).all(|container| container.running.is_some()));
    let more = pods.len().saturating_sub(MOST_PODS);
    pods.truncate(MOST_PODS);
    let mut between: BTreeSet<Workload> = direct.into_iter().filter(is_wanted).collect();
    between.insert(wanted);
    Ok((pods, between, more))
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    kind: String,
    name: String,
    /// `spec.containers{main}` where it is of one container.
    field: String,
    reason: String,
    message: String,
}

impl Said {
    fn of(event: Event) -> Self {
        let object = event.involved_object;
        Self {
            kind: object.kind.unwrap_or_default(),
            name: object.name.unwrap_or_default(),
            field: object.field_path.unwrap_or_default(),
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        }
    }
}

/// The warnings that some fields select, the last one first. Without the right to read events a status must do.
async fn warnings(cluster: &Cluster, fields: &str, notes: &mut Vec<String>) -> Result<Vec<Said>> {
    let attempt = Attempt::new::<Event>("list", Some(&cluster.namespace));
    let api = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut found = Vec::new();
    let params = ListParams::default().fields(&format!("type=Warning,{fields}"));
    let read = pages::each(&api, params, |event: Event| {
        let last = event.last_timestamp.clone().or_else(|| event.metadata.creation_timestamp.clone());
        found.push((last.map(|time| time.0), Said::of(event)));
        // Whoever makes many events must not fill our memory.
        if found.len() > 2 * MOST_EVENTS {
            found.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
            found.truncate(MOST_EVENTS);
        }
    });
    match read.await.map_err(|error| attempt.failed(&error)) {
        Ok(()) => {}
        Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
            notes.push(format!("events are not read: {error:#}"));
        }
        Err(error) => return Err(error),
    }
    found.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
    found.truncate(MOST_EVENTS);
    Ok(found.into_iter().map(|(_, said)| said).collect())
}

/// What is said of one container.
fn of_container(events: &[Said], container: &Container<'_>) -> Vec<String> {
    let own =
        |said: &&Said| said.field.is_empty() || said.field.ends_with(&format!("{{{}}}", container.name));
    events.iter().filter(own).map(|said| said.message.clone()).collect()
}

/// Why the API server refused pods of a workload, each reason once.
async fn refusals(
    cluster: &Cluster,
    workloads: &BTreeSet<Workload>,
    notes: &mut Vec<String>,
) -> Result<Vec<String>> {
    let events = warnings(cluster, "reason=FailedCreate", notes).await?;
    let mut refusals = Vec::new();
    for said in events {
        let about_filters = said.message.contains("seccomp") || said.message.contains("portcullis");
        if about_filters
            && workloads.iter().any(|workload| is_of(&said, workload))
            && !refusals.contains(&said.message)
        {
            refusals.push(said.message);
        }
    }
    Ok(refusals)
}

/// Whether an event is of a workload, or of what it makes its pods by: a refused pod leaves nothing else to be found by.
fn is_of(said: &Said, workload: &Workload) -> bool {
    let below = match workload.kind.as_str() {
        "Deployment" => "ReplicaSet",
        "CronJob" => "Job",
        _ => "",
    };
    let made = said.name.strip_prefix(&workload.name).and_then(|rest| rest.strip_prefix('-'));
    (said.kind == workload.kind && said.name == workload.name)
        || (said.kind == below && made.is_some_and(|rest| !rest.contains('-')))
}

/// The architecture that a pod's profiles are judged for: its node's, or this machine's where the pod has none or the node can't be read.
async fn arch_of(cluster: &Cluster, pod: &SlimPod, notes: &mut Vec<String>) -> Result<Arch> {
    let Some(node) = &pod.spec.node_name else { return Ok(platform::host_arch()) };
    let attempt = Attempt::new::<Node>("get", None);
    let found = Api::<Node>::all(cluster.client.clone()).get(node).await;
    match found.map_err(|error| attempt.failed(&error)) {
        Ok(node) => {
            let info = node.status.and_then(|status| status.node_info);
            let arch = info.and_then(|info| Arch::from_goarch(&info.architecture));
            Ok(arch.unwrap_or_else(platform::host_arch))
        }
        // Users of one namespace have no right to nodes, and a node that is gone is no reason to say nothing.
        Err(error)
            if matches!(FailureKind::of_attempt(&error), FailureKind::Forbidden | FailureKind::NotFound) =>
        {
            notes.push(format!("the profile is judged for {}: {error:#}", platform::host_arch()));
            Ok(platform::host_arch())
        }
        Err(error) => Err(error),
    }
}

/// The profile that a container names, and what it does to a start.
async fn named(
    cluster: &Cluster,
    container: &Container<'_>,
    known: &Known<'_>,
    notes: &mut Vec<String>,
) -> Result<(Option<String>, Named)> {
    let Confinement::Localhost { path } = &container.confinement else { return Ok((None, Named::Nothing)) };
    let Some((profiles, paths)) = known.profiles else { return Ok((None, Named::Unread)) };
    let found = paths.find(path).and_then(|(index, digest)| Some((profiles.get(index)?, digest)));
    let Some((profile, digest)) = found else {
        return Ok((None, Named::Nobodys(hint(path, &cluster.namespace, profiles))));
    };
    let not_ready = match profile.state() {
        profiles::State::Ready => None,
        profiles::State::NotReady(reason) => {
            let message = profile.condition(ConditionType::Ready).map(|ready| ready.message.as_str());
            Some(format!("{reason}: {}", message.unwrap_or_default()))
        }
        profiles::State::Unseen => Some("the controller has not looked at it yet".to_owned()),
    };
    let starts = match content(cluster, profile, digest, notes).await {
        Ok(document) => Some(Starts::under(&document, known.arch, container.no_new_privs)),
        Err(error) => {
            notes.push(format!("what {} denies is not known: {error:#}", profile.reference()));
            None
        }
    };
    let reference = profile.reference();
    let mode = profile.status.mode.unwrap_or(profile.mode);
    Ok((Some(reference.clone()), Named::Profile { reference, mode, not_ready, starts }))
}

/// What nodes serve; for those who may not read revisions, as SeccompProfiles' owners may not, what the profile itself says.
async fn content(
    cluster: &Cluster,
    profile: &Profile,
    digest: Option<portcullis_profile::Digest>,
    notes: &mut Vec<String>,
) -> Result<Document> {
    let digest = match digest {
        Some(digest) => digest,
        None => profile.current()?,
    };
    let text = match revisions::content(cluster, &profile.owner, &digest).await {
        Ok(text) => text,
        Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
            let found = profiles::objects(cluster, &profile.owner).get(profile.owner.name()).await;
            let object = found.map_err(|error| profiles::attempt("get", &profile.owner).failed(&error))?;
            if object.data["spec"]["bases"].as_array().is_some_and(|bases| !bases.is_empty()) {
                return Err(error);
            }
            notes.push(format!("{} is judged by its present spec.profile: {error:#}", profile.reference()));
            object.data["spec"]["profile"].to_string()
        }
        Err(error) => return Err(error),
    };
    Document::parse(text.as_bytes()).map_err(|errors| anyhow!("{errors}"))
}

#[cfg(test)]
mod tests;
