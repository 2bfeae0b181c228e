//! `use`: putting a profile into a workload.

use std::{io::Write, str::FromStr};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use clap_complete::ArgValueCandidates;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::CronJob,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use portcullis_api::ALLOW_LOOSER_LABEL;
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use crate::{
    cluster::{
        self, Cluster, Connection,
        failure::Attempt,
        profiles::{self, Profile, Reference, State},
    },
    complete,
    console::Console,
    example::{self, Example},
    output,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "How to confine every container of a Deployment by a profile",
        command: "kubectl seccomp use web deploy/web",
    },
    Example {
        about: "Confine one of its containers, now",
        command: "kubectl seccomp use web deploy/web -c web --apply",
    },
    Example {
        about: "Stay with the present revision when the profile changes",
        command: "kubectl seccomp use web deploy/web --pinned",
    },
];

/// Which profile, and where it goes.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// The profile: NAME, sp/NAME or csp/NAME.
    #[arg(value_name = "PROFILE", add = ArgValueCandidates::new(complete::profiles))]
    profile: Reference,
    /// The workload: deploy/NAME, sts/NAME, ds/NAME or cronjob/NAME.
    #[arg(value_name = "WORKLOAD", add = ArgValueCandidates::new(complete::workloads))]
    workload: Target,
    /// One container; without it all of the pod that say nothing else.
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Name the present revision's own path, so that the workload stays with it.
    #[arg(long)]
    pinned: bool,
    /// Change the workload now, which replaces its pods; without it the change is printed.
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    connection: Connection,
}

/// A workload that has a pod template which may change.
#[derive(Clone, Debug)]
struct Target {
    resource: ApiResource,
    name: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let forms = "use deploy/NAME, sts/NAME, ds/NAME or cronjob/NAME";
        let (kind, name) = text.split_once('/').ok_or_else(|| format!("which kind of workload? {forms}"))?;
        let resource = match kind.split('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "deploy" | "deployment" | "deployments" => ApiResource::erase::<Deployment>(&()),
            "sts" | "statefulset" | "statefulsets" => ApiResource::erase::<StatefulSet>(&()),
            "ds" | "daemonset" | "daemonsets" => ApiResource::erase::<DaemonSet>(&()),
            "cj" | "cronjob" | "cronjobs" => ApiResource::erase::<CronJob>(&()),
            "job" | "jobs" => {
                return Err("a Job's pod template can't be changed: put the profile into its manifest, or into the CronJob \
                            that makes it"
                    .to_owned());
            }
            "po" | "pod" | "pods" => {
                return Err(format!("a pod's security context can't be changed while it exists: {forms}"));
            }
            "rs" | "replicaset" | "replicasets" => {
                return Err("a ReplicaSet's pods are its Deployment's business: use deploy/NAME".to_owned());
            }
            _ => return Err(format!("{kind:?} is no workload that this command knows: {forms}")),
        };
        if name.is_empty() || name.contains(['/', '?', '%', '#']) {
            return Err(format!("{name:?} is no workload's name"));
        }
        Ok(Self { resource, name: name.to_owned() })
    }
}

impl Target {
    /// Where the pod's spec is in the object.
    fn pod_spec(&self) -> &'static [&'static str] {
        match self.resource.kind.as_str() {
            "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
            _ => &["spec", "template", "spec"],
        }
    }

    fn attempt(&self, verb: &'static str, namespace: &str) -> Attempt {
        Attempt {
            verb,
            resource: self.resource.plural.clone(),
            group: self.resource.group.clone(),
            namespace: Some(namespace.to_owned()),
        }
    }
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    cluster::with(&arguments.connection, async |cluster| {
        let profile = profiles::find(&cluster, &arguments.profile).await?;
        let path = path(&profile, arguments.pinned)?;
        let target = &arguments.workload;
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &target.resource);
        let found = api.get(&target.name).await;
        let object = found.map_err(|error| target.attempt("get", &cluster.namespace).failed(&error))?;
        let template = Template::of(&object, target)?;
        let one = arguments.container.as_deref();
        let namespaced = profile.owner.namespace().is_some();
        let patch = template.patch(&path, one, namespaced, target)?;
        template.remarks(&profile, one).iter().for_each(|note| console.note(note));
        if arguments.pinned && !namespaced {
            console.note(
                "A pod may name one revision of a ClusterSeccompProfile only where the chart's value \
                 admissionPolicies.clusterProfileRevisions is true.",
            );
        }
        if arguments.apply {
            apply(&cluster, &api, target, &patch).await?;
            writeln!(console.out(), "{} {} uses {path}", target.resource.kind, target.name)?;
        } else {
            print(&cluster, target, &profile, &patch, console.out())?;
        }
        Ok(Verdict::Yes)
    })
}

/// The path that the pod will name. A profile that is not on every node would keep pods from starting.
fn path(profile: &Profile, pinned: bool) -> Result<String> {
    let path = if pinned {
        profile.status.pinned_localhost_profile.clone()
    } else {
        profile.status.localhost_profile.clone()
    };
    match (profile.state(), path) {
        (State::Ready, Some(path)) => Ok(path),
        (state, _) => {
            let message =
                profile.condition(portcullis_api::ConditionType::Ready).map(|ready| ready.message.clone());
            bail!(
                "{} is not Ready ({}), so pods might not start under it: {}",
                profile.reference(),
                state.reason().unwrap_or("no path"),
                message.unwrap_or_else(|| "the controller has not looked at it yet".to_owned())
            )
        }
    }
}

/// A workload's pod template, as far as it matters here.
struct Template<'o> {
    spec: &'o Value,
}

impl<'o> Template<'o> {
    fn of(object: &'o DynamicObject, target: &Target) -> Result<Self> {
        let spec = target.pod_spec().iter().try_fold(&object.data, |value, key| value.get(key));
        let spec =
            spec.with_context(|| format!("{} {} has no pod template", target.resource.kind, target.name))?;
        Ok(Self { spec })
    }

    /// Each container with the list it is in.
    fn containers(&self) -> impl Iterator<Item = (&'static str, &'o str, &'o Value)> {
        ["containers", "initContainers"].into_iter().flat_map(|list| {
            let containers = self.spec.get(list).and_then(Value::as_array).into_iter().flatten();
            containers.filter_map(move |one| Some((list, one.get("name")?.as_str()?, one)))
        })
    }

    /// The strategic merge patch. A container under a SeccompProfile must have no way to gain privileges (the chart's policy
    /// portcullis-pods), so it is told so here.
    fn patch(&self, path: &str, container: Option<&str>, namespaced: bool, target: &Target) -> Result<Value> {
        let context = json!({ "securityContext": { "seccompProfile": { "type": "Localhost", "localhostProfile": path } } });
        let mut pod = match container {
            None => context,
            Some(wanted) => {
                let (list, ..) = self.containers().find(|(_, name, _)| *name == wanted).ok_or_else(|| {
                    let names: Vec<&str> = self.containers().map(|(_, name, _)| name).collect();
                    anyhow!("the pod has no container {wanted:?}: it has {}", names.join(", "))
                })?;
                let mut one = context;
                one["name"] = json!(wanted);
                json!({ list: [one] })
            }
        };
        for (list, name, _) in self.confined(container).filter(|(.., one)| namespaced && may_escalate(one)) {
            if container.is_some() {
                pod[list][0]["securityContext"]["allowPrivilegeEscalation"] = json!(false);
                continue;
            }
            let one = json!({ "name": name, "securityContext": { "allowPrivilegeEscalation": false } });
            let others = pod[list].as_array().cloned().unwrap_or_default();
            pod[list] = others.into_iter().chain([one]).collect();
        }
        Ok(target.pod_spec().iter().rev().fold(pod, |inner, key| json!({ *key: inner })))
    }

    /// The containers that the patch puts under the profile: one, or those that have none of their own.
    fn confined<'t>(
        &'t self,
        container: Option<&'t str>,
    ) -> impl Iterator<Item = (&'static str, &'o str, &'o Value)> + 't {
        self.containers().filter(move |(_, name, one)| match container {
            Some(wanted) => *name == wanted,
            None => one.pointer("/securityContext/seccompProfile").is_none(),
        })
    }

    /// What one should know before.
    fn remarks(&self, profile: &Profile, container: Option<&str>) -> Vec<String> {
        let mut notes = Vec::new();
        if profile.mode_name() == "Audit" {
            notes.push(format!(
                "{} is in Audit mode: what it denies and the runtime default allows is logged and let through.",
                profile.reference()
            ));
        }
        for (_, name, one) in
            self.containers().filter(|(_, name, _)| container.is_none_or(|wanted| wanted == *name))
        {
            if one.pointer("/securityContext/privileged") == Some(&Value::Bool(true)) {
                notes.push(format!("The container {name} is privileged: no seccomp profile applies to it."));
            } else if container.is_none()
                && let Some(kind) =
                    one.pointer("/securityContext/seccompProfile/type").and_then(Value::as_str)
            {
                notes.push(format!(
                    "The container {name} has a seccompProfile of its own ({kind}), which goes before the pod's: use -c {name}."
                ));
            }
        }
        if profile.owner.namespace().is_some() {
            notes.extend(self.confined(container).filter_map(|(_, name, one)| escalation_remark(name, one)));
        }
        notes
    }
}

/// Whether a container may gain privileges and may be told not to. The API server wants it to where it is privileged or adds
/// CAP_SYS_ADMIN.
fn may_escalate(container: &Value) -> bool {
    let says = |field: &str| container.pointer(&format!("/securityContext/{field}"));
    says("allowPrivilegeEscalation") != Some(&Value::Bool(false))
        && says("privileged") != Some(&Value::Bool(true))
        && !adds_sys_admin(container)
}

fn adds_sys_admin(container: &Value) -> bool {
    let added = container.pointer("/securityContext/capabilities/add").and_then(Value::as_array);
    added.into_iter().flatten().any(|name| ["SYS_ADMIN", "CAP_SYS_ADMIN"].map(Value::from).contains(name))
}

/// What one should know of a container that may not gain privileges any more, or can't be kept from it.
fn escalation_remark(name: &str, container: &Value) -> Option<String> {
    let privileged = container.pointer("/securityContext/privileged") == Some(&Value::Bool(true));
    let asks = container.pointer("/securityContext/allowPrivilegeEscalation") == Some(&Value::Bool(true));
    if !privileged && adds_sys_admin(container) {
        return Some(format!(
            "The container {name} adds CAP_SYS_ADMIN, with which Kubernetes wants allowPrivilegeEscalation: its pods are refused \
             under a SeccompProfile, unless the namespace has the label {ALLOW_LOOSER_LABEL}=true."
        ));
    }
    (asks && may_escalate(container)).then(|| {
        format!(
            "The container {name} has allowPrivilegeEscalation: true, which becomes false: setuid programs such as sudo gain nothing \
             in it any more."
        )
    })
}

async fn apply(cluster: &Cluster, api: &Api<DynamicObject>, target: &Target, patch: &Value) -> Result<()> {
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api.patch(&target.name, &parameters, &Patch::Strategic(patch)).await;
    patched.map(drop).map_err(|error| target.attempt("patch", &cluster.namespace).failed(&error))
}

fn print(
    cluster: &Cluster,
    target: &Target,
    profile: &Profile,
    patch: &Value,
    out: &mut dyn Write,
) -> Result<()> {
    ensure!(
        profile.owner.namespace().is_none_or(|own| own == cluster.namespace),
        "{} is a profile of another namespace than {}",
        profile.reference(),
        cluster.namespace
    );
    let kind = target.resource.kind.to_ascii_lowercase();
    writeln!(out, "# Puts {} into the {kind} {}; its pods are replaced:", profile.reference(), target.name)?;
    writeln!(
        out,
        "kubectl patch {kind} {} -n {} --type strategic -p '{patch}'",
        target.name, cluster.namespace
    )?;
    writeln!(out, "\n# or in the manifest, where Git or Helm keeps it:")?;
    output::yaml(patch, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {
                "containers": [
                    {"name": "web"},
                    {"name": "own", "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
                    {"name": "mighty", "securityContext": {"privileged": true}},
                    {"name": "modest", "securityContext": {"allowPrivilegeEscalation": false}},
                    {"name": "mounts", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
                ],
                "initContainers": [{"name": "setup", "securityContext": {"allowPrivilegeEscalation": true}}],
            }}},
        }))
        .unwrap()
    }

    #[test]
    fn the_patch_is_for_the_pod_or_for_one_container_of_either_list() {
        let (object, target) = (object(), "deploy/web".parse::<Target>().unwrap());
        let template = Template::of(&object, &target).unwrap();
        let context = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/x.json"}});
        let patch = |container| template.patch("profiles/x.json", container, false, &target);
        let spec = |patch: Value| patch["spec"]["template"]["spec"].clone();
        assert_eq!(spec(patch(None).unwrap()), json!({"securityContext": context}));
        assert_eq!(
            spec(patch(Some("setup")).unwrap()),
            json!({"initContainers": [{"name": "setup", "securityContext": context}]})
        );
        assert_eq!(
            patch(Some("nope")).unwrap_err().to_string(),
            "the pod has no container \"nope\": it has web, own, mighty, modest, mounts, setup"
        );
    }

    #[test]
    fn no_container_under_a_namespaces_profile_may_gain_privileges() {
        let (object, target) = (object(), "deploy/web".parse::<Target>().unwrap());
        let template = Template::of(&object, &target).unwrap();
        let patch = |container| {
            let patch = template.patch("profiles/shop/x.json", container, true, &target).unwrap();
            patch["spec"]["template"]["spec"].clone()
        };
        let profile = json!({"type": "Localhost", "localhostProfile": "profiles/shop/x.json"});
        let never = |name| json!({"name": name, "securityContext": {"allowPrivilegeEscalation": false}});
        // Kubernetes wants privilege escalation of `mighty` and `mounts`, `own` has another profile, and `modest` has it already.
        assert_eq!(
            patch(None),
            json!({
                "securityContext": {"seccompProfile": profile},
                "containers": [never("web")],
                "initContainers": [never("setup")],
            })
        );
        let both = json!({"seccompProfile": profile, "allowPrivilegeEscalation": false});
        assert_eq!(patch(Some("own")), json!({"containers": [{"name": "own", "securityContext": both}]}));

        let remarks: Vec<String> =
            template.confined(None).filter_map(|(_, name, one)| escalation_remark(name, one)).collect();
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        assert!(remarks[0].contains("mounts adds CAP_SYS_ADMIN"), "{remarks:?}");
        assert!(remarks[1].contains("setup has allowPrivilegeEscalation: true"), "{remarks:?}");
    }

    #[test]
    fn a_cron_jobs_template_lies_deeper() {
        let target = "cronjob/backup".parse::<Target>().unwrap();
        let object = serde_json::from_value(json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backup"},
            "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}},
        }))
        .unwrap();
        let patch =
            Template::of(&object, &target).unwrap().patch("profiles/x.json", None, false, &target).unwrap();
        assert!(
            patch.pointer("/spec/jobTemplate/spec/template/spec/securityContext/seccompProfile").is_some()
        );
    }

    #[test]
    fn what_can_not_be_changed_is_refused_in_words() {
        for (text, says) in [
            ("web", "which kind of workload?"),
            ("job/x", "a Job's pod template can't be changed"),
            ("pod/x", "can't be changed while it exists"),
            ("rs/x", "use deploy/NAME"),
            ("service/x", "no workload that this command knows"),
            ("deploy/", "no workload's name"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
