//! The chart as Helm renders it, with no operator installed: what is refused, what the defaults give, and what each value changes.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_e2e::{Cluster, command::output, promtool, settings::workspace_root};
use serde_json::{Value, json};

const CHART: &str = "charts/portcullis";
const NAMESPACE: &str = "portcullis-system";
/// The one value without a default.
const IMAGE: &str = "image.repository=registry.example.com/portcullis";
/// A value set for each switch of the chart, all of which must render and lint.
const VALUE_SETS: [&[&str]; 15] = [
    &[],
    &["admissionPolicies.enabled=false", "crds.install=false", "rbac.aggregate=false"],
    &["admissionPolicies.clusterProfileRevisions=true", "kubelet.previousSubdirectories[0]=old"],
    &[
        "controller.onControlPlane=true",
        "controller.affinity.podAntiAffinity.a=b",
        "controller.tolerations[0].key=b",
    ],
    &["networkPolicy.enabled=false", "priorityClassQuota.enabled=false", "metrics.service.enabled=false"],
    &["metrics.serviceMonitor.enabled=true", "metrics.prometheusRule.enabled=true"],
    &["imagePullSecrets[0].name=regcred", "image.pullPolicy=Always", "removeFiles=true"],
    &["kubelet.rootDirectory=/var/lib/k0s/kubelet", "kubelet.subdirectory=portcullis", "listenAddress=[::]"],
    &["agent.seLinuxOptions.type=spc_t", "agent.maxUnavailable=3", "agent.extraArgs[0]=--rehash-seconds=60"],
    &["recorder.enabled=true"],
    // What people set everywhere, keys that the chart has itself among them.
    &[
        "recorder.enabled=true",
        r"agent.nodeSelector.kubernetes\.io/os=linux",
        r"controller.nodeSelector.kubernetes\.io/os=linux",
        r"recorder.nodeSelector.kubernetes\.io/os=linux",
        r"agent.podLabels.app\.kubernetes\.io/part-of=platform",
        r"controller.podLabels.app\.kubernetes\.io/component=mine",
        r"recorder.podLabels.team=platform",
        r"agent.podAnnotations.kubectl\.kubernetes\.io/default-container=agent",
        "controller.tolerations[0].operator=Exists",
        "controller.topologySpreadConstraints[0].topologyKey=rack",
        "controller.affinity.nodeAffinity.a=b",
        "controller.baseline=standard",
        "admissionPolicies.revisionWriters[0]=system:serviceaccount:velero:velero",
        "admissionPolicies.podsOfOwnNamespace=false",
        "admissionPolicies.noPrivilegeEscalation=false",
        "admissionPolicies.pathHints=false",
        "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
        "metrics.service.annotations.a=b",
        "metrics.serviceMonitor.enabled=true",
        r"metrics.serviceMonitor.labels.app\.kubernetes\.io/part-of=platform",
        "metrics.prometheusRule.enabled=true",
        r"metrics.prometheusRule.labels.app\.kubernetes\.io/part-of=platform",
    ],
    &["recorder.enabled=true", "recorder.appArmorProfile=null"],
    &["metrics.secure.enabled=true", "metrics.serviceMonitor.enabled=true"],
    &[
        "recorder.enabled=true",
        "metrics.secure.enabled=true",
        "metrics.secure.certificateSecret=portcullis-metrics",
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.authorization.credentials.name=scrape",
        "metrics.serviceMonitor.tlsConfig.insecureSkipVerify=true",
    ],
    &[
        "recorder.enabled=true",
        "metrics.serviceMonitor.enabled=true",
        "recorder.extraArgs[0]=--containers=1024",
    ],
];

/// Helm in the workspace's root.
async fn helm() -> Result<Command> {
    let mut helm = Cluster::from_env().await?.helm();
    helm.current_dir(workspace_root());
    Ok(helm)
}

async fn render(settings: &[&str]) -> Result<Vec<Value>> {
    let mut helm = helm().await?;
    helm.args(["template", "portcullis", CHART, "--namespace", NAMESPACE, "--set", IMAGE]);
    for setting in settings {
        helm.args(["--set", setting]);
    }
    let text = output(&mut helm)?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| format!("{settings:?} renders no YAML"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// What Helm says when it refuses these settings.
async fn refusal(settings: &[&str]) -> Result<String> {
    match render(settings).await {
        Ok(_) => bail!("{settings:?} were taken"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .with_context(|| format!("there is no {kind} {name}"))
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

fn arguments(workload: &Value) -> Vec<&str> {
    let list = pod(workload)["containers"][0]["args"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn lints_and_renders_with_every_switch() -> Result<()> {
    for settings in VALUE_SETS {
        let mut helm = helm().await?;
        helm.args(["lint", "--strict", CHART, "--set", IMAGE]);
        for setting in settings {
            helm.args(["--set", setting]);
        }
        output(&mut helm)?;
        let objects = render(settings).await?;
        find(&objects, "Deployment", "portcullis-controller")?;
        find(&objects, "DaemonSet", "portcullis-agent")?;
        for object in &objects {
            ensure!(object["metadata"]["name"].is_string(), "{settings:?} renders an object without a name");
            ensure!(
                object["metadata"]["labels"]["app.kubernetes.io/name"] == "portcullis"
                    || object["kind"] == "CustomResourceDefinition",
                "{} {} is not labelled",
                object["kind"],
                object["metadata"]["name"]
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn installs_the_image_of_its_own_version() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let chart: Value =
        serde_saphyr::from_str(&fs::read_to_string(workspace_root().join(CHART).join("Chart.yaml"))?)?;
    assert_eq!(chart["version"], version);
    assert_eq!(chart["appVersion"], version);

    let digest = format!("sha256:{}", "0".repeat(64));
    for (settings, image) in [
        (vec![], format!("registry.example.com/portcullis:{version}")),
        (
            vec!["image.repository=r.example/p".to_owned(), "image.tag=v7".to_owned()],
            "r.example/p:v7".to_owned(),
        ),
        (
            vec![format!("image.digest={digest}")],
            format!("registry.example.com/portcullis:{version}@{digest}"),
        ),
    ] {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let objects = render(&settings).await?;
        for (kind, name) in [("Deployment", "portcullis-controller"), ("DaemonSet", "portcullis-agent")] {
            assert_eq!(pod(find(&objects, kind, name)?)["containers"][0]["image"], image);
        }
    }
    Ok(())
}

#[tokio::test]
async fn refuses_values_that_it_does_not_know_or_that_can_not_work() -> Result<()> {
    for (setting, word) in [
        ("kubeletRoot=/var/lib/kubelet", "kubeletRoot"),
        ("agent.hostNetwork=true", "hostNetwork"),
        ("kubelet.rootDirectory=var/lib/kubelet", "rootDirectory"),
        ("kubelet.rootDirectory=/var/lib/../kubelet", "rootDirectory"),
        ("kubelet.rootDirectory=/var/lib/kubelet/", "rootDirectory"),
        ("kubelet.subdirectory=a/b", "subdirectory"),
        ("kubelet.subdirectory=..", "subdirectory"),
        ("kubelet.previousSubdirectories[0]=it's", "previousSubdirectories"),
        ("image.digest=sha256:1", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("controller.replicas=many", "replicas"),
        ("log.format=xml", "format"),
        ("listenAddress=127.0.0.1", "listenAddress"),
        ("image.repository=", "registry.example.com/portcullis"),
        ("agent.maxUnavailable=0%", "maxUnavailable"),
        ("networkPolicy.metricsFrom[0].podselector.matchLabels.a=b", "podselector"),
        ("admissionPolicies.revisionWriters[0]=it's me", "revisionWriters"),
    ] {
        let said = refusal(&[setting]).await?;
        assert!(said.contains(word), "{setting}: {said}");
    }
    let said = refusal(&["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"]).await?;
    assert!(said.contains("metrics.service.enabled=true"), "{said}");
    let said = refusal(&["metrics.secure.certificateSecret=a"]).await?;
    assert!(said.contains("metrics.secure.enabled=true"), "{said}");
    let terms = "controller.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
    let said =
        refusal(&["controller.onControlPlane=true", &format!("{terms}.nodeSelectorTerms[0].a=b")]).await?;
    assert!(said.contains("onControlPlane=false"), "{said}");
    // What another chart hands to its sub-charts is no mistake.
    render(&["global.registry=r.example", "enabled=true"]).await?;
    Ok(())
}

#[tokio::test]
async fn says_what_an_old_cluster_lacks() -> Result<()> {
    let template = async |settings: &[&str]| -> Result<String> {
        let mut helm = helm().await?;
        helm.args(["template", "portcullis", CHART, "--kube-version", "1.29.0", "--set", IMAGE])
            .args(settings);
        output(&mut helm)
    };
    let said = format!("{:#}", template(&[]).await.err().context("1.29 was taken with admission policies")?);
    assert!(said.contains("admissionPolicies.enabled=false"), "{said}");
    let rendered = template(&["--set", "admissionPolicies.enabled=false"]).await?;
    assert!(!rendered.contains("ValidatingAdmissionPolicy"), "a policy was rendered for 1.29");
    Ok(())
}

#[tokio::test]
async fn gives_pods_no_more_than_they_need() -> Result<()> {
    let objects = render(&[]).await?;
    let controller = find(&objects, "Deployment", "portcullis-controller")?;
    let agent = find(&objects, "DaemonSet", "portcullis-agent")?;
    for workload in [controller, agent] {
        let security = &pod(workload)["containers"][0]["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }));
        assert_ne!(security["privileged"], true);
        assert_eq!(pod(workload)["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod(workload)[key].is_null(), "{key} is set");
        }
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            assert_eq!(pod(workload)["containers"][0][probe]["httpGet"]["port"], "probes", "{probe}");
        }
    }
    assert_eq!(controller["spec"]["replicas"], 2);
    assert_eq!(pod(controller)["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod(controller)["volumes"], json!([token()]));
    find(&objects, "PodDisruptionBudget", "portcullis-controller")?;

    let folder = json!({ "path": "/var/lib/kubelet/seccomp", "type": "DirectoryOrCreate" });
    assert_eq!(pod(agent)["volumes"], json!([{ "name": "seccomp", "hostPath": folder }, token()]));
    assert_eq!(pod(agent)["tolerations"], json!([{ "operator": "Exists" }]));
    assert_eq!(pod(agent)["priorityClassName"], "system-node-critical");
    assert_eq!(agent["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], "10%");
    let quota = find(&objects, "ResourceQuota", "portcullis-critical-pods")?;
    let classes = &quota["spec"]["scopeSelector"]["matchExpressions"][0]["values"];
    for workload in [controller, agent] {
        let class = &pod(workload)["priorityClassName"];
        assert!(
            classes.as_array().is_some_and(|classes| classes.contains(class)),
            "no quota permits {class}"
        );
    }
    Ok(())
}

/// The volume that a role's token of an hour is in.
fn token() -> Value {
    json!({ "name": "token", "projected": { "sources": [
        { "serviceAccountToken": { "path": "token", "expirationSeconds": 3600 } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } },
    ] } })
}

#[tokio::test]
async fn a_token_is_the_roles_pods_alone_and_for_an_hour() -> Result<()> {
    let objects = render(&["recorder.enabled=true"]).await?;
    let workloads = [
        ("Deployment", "portcullis-controller"),
        ("DaemonSet", "portcullis-agent"),
        ("DaemonSet", "portcullis-recorder"),
    ];
    for (kind, name) in workloads {
        let pod = pod(find(&objects, kind, name)?);
        // The account mounts none, and the pod asks for no other.
        assert_eq!(find(&objects, "ServiceAccount", name)?["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["serviceAccountName"], name);
        assert!(pod["automountServiceAccountToken"].is_null(), "{name}");
        let mount = json!({
            "name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true,
        });
        for container in pod["containers"].as_array().context("containers")? {
            assert!(
                container["volumeMounts"].as_array().is_some_and(|mounts| mounts.contains(&mount)),
                "{name}"
            );
        }
        assert!(pod["volumes"].as_array().is_some_and(|volumes| volumes.contains(&token())), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn gives_agents_no_right_that_speaks_for_another_node() -> Result<()> {
    let objects = render(&[]).await?;
    let rights = |kind, name| -> Result<Value> { Ok(find(&objects, kind, name)?["rules"].clone()) };
    assert_eq!(
        rights("ClusterRole", "portcullis-agent")?,
        json!([
            { "apiGroups": ["portcullis.dev"], "resources": ["seccomprevisions"], "verbs": ["get", "list", "watch"] },
            { "apiGroups": ["portcullis.dev"], "resources": ["seccompnodes/status"], "verbs": ["patch"] },
        ])
    );
    for role in of_kind(&objects, "ClusterRole").chain(of_kind(&objects, "Role")) {
        let text = role.to_string();
        assert!(!text.contains('*'), "{} has a wildcard", role["metadata"]["name"]);
        assert!(!text.contains("secrets"), "{} reads secrets", role["metadata"]["name"]);
    }
    for policy in ["portcullis-agent-own-node", "portcullis-revision-writers", "portcullis-pods"] {
        let found = find(&objects, "ValidatingAdmissionPolicy", policy)?;
        assert_eq!(found["spec"]["failurePolicy"], "Fail");
        let binding = find(&objects, "ValidatingAdmissionPolicyBinding", policy)?;
        assert_eq!(binding["spec"], json!({ "policyName": policy, "validationActions": ["Deny"] }));
    }
    // Namespaced profiles are the edit role's; cluster-wide ones nobody gets by aggregation.
    let edit = rights("ClusterRole", "portcullis-edit")?;
    assert_eq!(edit[0]["resources"], json!(["seccompprofiles"]));
    let admin = find(&objects, "ClusterRole", "portcullis-admin")?;
    assert!(!admin.to_string().contains("aggregate-to"), "portcullis-admin joins another role");
    Ok(())
}

/// Both policies on what pods name, by the words of their validations.
#[tokio::test]
async fn what_pods_may_name_follows_the_values() -> Result<()> {
    const FOREIGN: &str = "variables.foreign.size() == 0";
    const REVISIONS: &str = "variables.revisions.size() == 0";
    const ESCALATING: &str = "variables.escalating.size() == 0";
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &[FOREIGN, REVISIONS, ESCALATING]),
        (&["admissionPolicies.podsOfOwnNamespace=false"], &[REVISIONS, ESCALATING]),
        (&["admissionPolicies.clusterProfileRevisions=true"], &[FOREIGN, ESCALATING]),
        (&["admissionPolicies.noPrivilegeEscalation=false"], &[FOREIGN, REVISIONS]),
    ];
    for (settings, rules) in cases {
        let objects = render(settings).await?;
        for (name, action, failure) in
            [("portcullis-pods", "Deny", "Fail"), ("portcullis-pod-templates", "Warn", "Ignore")]
        {
            let policy = find(&objects, "ValidatingAdmissionPolicy", name)?;
            assert_eq!(policy["spec"]["failurePolicy"], failure);
            let validations = policy["spec"]["validations"].as_array().context("no validations")?;
            let found: Vec<&str> =
                validations.iter().filter_map(|validation| validation["expression"].as_str()).collect();
            assert_eq!(found, rules, "{name} under {settings:?}");
            let binding = find(&objects, "ValidatingAdmissionPolicyBinding", name)?;
            assert_eq!(binding["spec"], json!({ "policyName": name, "validationActions": [action] }));
        }
    }
    let none = render(&[
        "admissionPolicies.podsOfOwnNamespace=false",
        "admissionPolicies.clusterProfileRevisions=true",
        "admissionPolicies.noPrivilegeEscalation=false",
    ])
    .await?;
    assert!(find(&none, "ValidatingAdmissionPolicy", "portcullis-pods").is_err());
    Ok(())
}

#[tokio::test]
async fn hints_on_paths_know_every_folder_and_can_be_switched_off() -> Result<()> {
    let objects = render(&[
        "kubelet.subdirectory=new",
        "kubelet.previousSubdirectories={profiles}",
        "admissionPolicies.otherSubdirectories={baked}",
    ])
    .await?;
    let policy = find(&objects, "ValidatingAdmissionPolicy", "portcullis-path-hints")?;
    assert_eq!(policy["spec"]["failurePolicy"], "Ignore");
    let text = policy.to_string();
    assert!(
        text.contains("in ['new','profiles']") && text.contains("in ['new','profiles','baked']"),
        "{text}"
    );
    let binding = find(&objects, "ValidatingAdmissionPolicyBinding", "portcullis-path-hints")?;
    assert_eq!(binding["spec"]["validationActions"], json!(["Warn"]));
    let without = render(&["admissionPolicies.pathHints=false"]).await?;
    assert!(find(&without, "ValidatingAdmissionPolicy", "portcullis-path-hints").is_err());
    Ok(())
}

#[tokio::test]
async fn pods_are_held_to_their_own_in_every_folder_that_has_files() -> Result<()> {
    let objects =
        render(&["kubelet.subdirectory=new", "kubelet.previousSubdirectories={profiles,older}"]).await?;
    for name in ["portcullis-pods", "portcullis-pod-templates"] {
        let policy = find(&objects, "ValidatingAdmissionPolicy", name)?.to_string();
        assert!(policy.contains("in ['new','profiles','older']"), "{policy}");
    }
    Ok(())
}

/// The files stay on the nodes without a release, and so does what says which pods may name them.
#[tokio::test]
async fn keeps_the_policies_on_pods_as_long_as_the_files() -> Result<()> {
    let objects = render(&["recorder.enabled=true"]).await?;
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        let mut kept: Vec<&str> = of_kind(&objects, kind)
            .filter(|object| object["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep")
            .inspect(|object| {
                let annotations = &object["metadata"]["annotations"];
                assert_eq!(annotations["argocd.argoproj.io/sync-options"], "Prune=false,Delete=false");
                assert_eq!(annotations["kustomize.toolkit.fluxcd.io/prune"], "disabled");
            })
            .filter_map(|object| object["metadata"]["name"].as_str())
            .collect();
        kept.sort_unstable();
        assert_eq!(kept, ["portcullis-looser-profiles-label", "portcullis-pods"], "{kind}");
    }
    let page = fs::read_to_string(workspace_root().join("docs/uninstall.md"))?;
    assert!(page.contains("portcullis-pods portcullis-looser-profiles-label"), "uninstall.md removes others");
    Ok(())
}

#[tokio::test]
async fn permission_for_looser_profiles_is_a_right_of_the_administrators_role_alone() -> Result<()> {
    let objects = render(&["recorder.enabled=true"]).await?;
    let policy = find(&objects, "ValidatingAdmissionPolicy", "portcullis-looser-profiles-label")?;
    let resources = &policy["spec"]["matchConstraints"]["resourceRules"][0]["resources"];
    assert_eq!(resources, &json!(["namespaces", "namespaces/*"]));
    let holders: Vec<&str> = of_kind(&objects, "ClusterRole")
        .chain(of_kind(&objects, "Role"))
        .filter(|role| role["rules"].to_string().contains("permitlooser"))
        .filter_map(|role| role["metadata"]["name"].as_str())
        .collect();
    assert_eq!(holders, ["portcullis-admin"]);
    Ok(())
}

#[tokio::test]
async fn runs_the_controller_on_the_control_plane_where_it_is_told_to() -> Result<()> {
    let controller = async |settings: &[&str]| -> Result<Value> {
        Ok(pod(find(&render(settings).await?, "Deployment", "portcullis-controller")?).clone())
    };
    let anywhere = controller(&[]).await?;
    assert!(anywhere["affinity"].is_null() && anywhere["tolerations"].is_null());
    let there = controller(&[
        "controller.onControlPlane=true",
        "controller.affinity.podAntiAffinity.a=b",
        "controller.tolerations[0].key=dedicated",
    ])
    .await?;
    let label = "node-role.kubernetes.io/control-plane";
    let terms = json!([{ "matchExpressions": [{ "key": label, "operator": "Exists" }] }]);
    assert_eq!(
        there["affinity"],
        json!({
            "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } },
            "podAntiAffinity": { "a": "b" },
        })
    );
    assert_eq!(
        there["tolerations"],
        json!([{ "key": label, "operator": "Exists", "effect": "NoSchedule" }, { "key": "dedicated" }])
    );
    Ok(())
}

#[tokio::test]
async fn keeps_definitions_on_uninstall_and_has_all_of_them() -> Result<()> {
    let objects = render(&[]).await?;
    let mut names: Vec<&str> = of_kind(&objects, "CustomResourceDefinition")
        .inspect(|crd| {
            let annotations = &crd["metadata"]["annotations"];
            assert_eq!(annotations["helm.sh/resource-policy"], "keep");
            assert_eq!(annotations["argocd.argoproj.io/sync-options"], "Prune=false,ServerSideApply=true");
            assert_eq!(annotations["kustomize.toolkit.fluxcd.io/prune"], "disabled");
        })
        .filter_map(|crd| crd["spec"]["names"]["kind"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["ClusterSeccompProfile", "SeccompNode", "SeccompProfile", "SeccompRevision"]);
    assert!(!workspace_root().join(CHART).join("crds").exists(), "Helm never upgrades what is in crds/");
    Ok(())
}

#[tokio::test]
async fn looks_at_recordings_only_where_the_recorder_is_asked_for() -> Result<()> {
    let (without, with) = (render(&[]).await?, render(&["recorder.enabled=true"]).await?);
    let flagged = |objects: &[Value]| -> Result<bool> {
        let controller = find(objects, "Deployment", "portcullis-controller")?;
        Ok(arguments(controller).contains(&"--recordings"))
    };
    assert!(!flagged(&without)? && flagged(&with)?);
    let rights = |objects: &[Value], role: &str| -> Result<String> {
        Ok(find(objects, "ClusterRole", role)?["rules"].to_string())
    };
    for role in ["portcullis-controller", "portcullis-view", "portcullis-edit", "portcullis-admin"] {
        assert!(!rights(&without, role)?.contains("seccomprecording"), "{role}");
        assert!(rights(&with, role)?.contains("seccomprecording"), "{role}");
    }
    // Who may only view writes no recording, and nobody but recorders and the controller writes parts.
    assert!(!rights(&with, "portcullis-view")?.contains("create"));
    assert!(!rights(&with, "portcullis-edit")?.contains("seccomprecordingparts"));
    let definitions = |objects: &[Value]| of_kind(objects, "CustomResourceDefinition").count();
    assert_eq!((definitions(&without), definitions(&with)), (4, 6));
    assert!(find(&without, "DaemonSet", "portcullis-recorder").is_err());
    let recorder = find(&with, "DaemonSet", "portcullis-recorder")?;
    let context = &pod(recorder)["containers"][0]["securityContext"];
    assert_eq!(context["capabilities"], json!({ "drop": ["ALL"], "add": ["BPF", "PERFMON"] }));
    assert_eq!(context["privileged"], false);
    assert_eq!(pod(recorder)["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    // The runtimes' own AppArmor profile denies writing to the BPF file system.
    assert_eq!(context["appArmorProfile"], json!({ "type": "Unconfined" }));
    let left = render(&["recorder.enabled=true", "recorder.appArmorProfile=null"]).await?;
    assert!(!find(&left, "DaemonSet", "portcullis-recorder")?.to_string().contains("appArmorProfile"));
    for shared in ["hostPID", "hostNetwork", "hostIPC"] {
        assert!(pod(recorder).get(shared).is_none(), "{shared}");
    }
    let folder = json!({ "path": "/sys/fs/bpf/portcullis", "type": "DirectoryOrCreate" });
    assert_eq!(pod(recorder)["volumes"], json!([{ "name": "pins", "hostPath": folder }, token()]));
    for (kind, name) in [("Service", "portcullis-recorder-metrics"), ("NetworkPolicy", "portcullis-recorder")]
    {
        assert!(find(&without, kind, name).is_err() && find(&with, kind, name).is_ok(), "{kind} {name}");
    }
    // Which containers are whose, and nothing of what is in them.
    let rules = rights(&with, "portcullis-recorder")?;
    assert!(
        !rules.contains("secrets") && !rules.contains("configmaps") && !rules.contains("exec"),
        "{rules}"
    );
    assert!(find(&without, "ValidatingAdmissionPolicy", "portcullis-recorder-own-node").is_err());
    let policy = find(&with, "ValidatingAdmissionPolicy", "portcullis-recorder-own-node")?;
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let user = format!("system:serviceaccount:{NAMESPACE}:portcullis-recorder");
    assert!(
        policy["spec"]["matchConditions"][0]["expression"].as_str().is_some_and(|text| text.contains(&user))
    );
    // Which nodes may write for a recording is the controller's to say, and the policies name the annotation that it sets.
    assert!(find(&without, "ValidatingAdmissionPolicy", "portcullis-invitations").is_err());
    for name in ["portcullis-recorder-own-node", "portcullis-invitations"] {
        let policy = find(&with, "ValidatingAdmissionPolicy", name)?["spec"].to_string();
        assert!(policy.contains(&format!("[?'{}']", portcullis_api::INVITED_ANNOTATION)), "{policy}");
        let binding = find(&with, "ValidatingAdmissionPolicyBinding", name)?;
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    }
    Ok(())
}

#[tokio::test]
async fn hands_the_kubelets_folder_to_both_roles() -> Result<()> {
    let objects = render(&["kubelet.rootDirectory=/var/lib/k0s/kubelet", "kubelet.subdirectory=own"]).await?;
    let agent = find(&objects, "DaemonSet", "portcullis-agent")?;
    assert_eq!(pod(agent)["volumes"][0]["hostPath"]["path"], "/var/lib/k0s/kubelet/seccomp");
    for argument in
        ["--directory=/host/seccomp", "--host-directory=/var/lib/k0s/kubelet/seccomp", "--subdirectory=own"]
    {
        assert!(arguments(agent).contains(&argument), "no {argument}");
    }
    assert!(
        arguments(find(&objects, "Deployment", "portcullis-controller")?).contains(&"--subdirectory=own")
    );
    Ok(())
}

/// Whoever may scrape has no part in whether a pod is Ready, and nobody outside may do either unless he is named.
#[tokio::test]
async fn admits_the_own_namespace_and_who_is_named_to_the_metrics_and_nobody_to_the_probes() -> Result<()> {
    let prometheus = json!({ "namespaceSelector": { "matchLabels": { "team": "monitoring" } } });
    let own = json!({ "podSelector": {} });
    for (settings, from) in [
        (vec!["recorder.enabled=true"], json!([own])),
        (
            vec![
                "recorder.enabled=true",
                "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring",
            ],
            json!([own, prometheus]),
        ),
    ] {
        let objects = render(&settings).await?;
        for (kind, component) in WORKLOADS {
            let name = format!("portcullis-{component}");
            let workload = find(&objects, kind, &name)?;
            let container = &pod(workload)["containers"][0];
            let ports = json!([
                { "name": "metrics", "containerPort": 8080, "protocol": "TCP" },
                { "name": "probes", "containerPort": 8081, "protocol": "TCP" },
            ]);
            assert_eq!(container["ports"], ports, "{component}");
            for argument in
                ["--metrics-bind-address=0.0.0.0:8080", "--health-probe-bind-address=0.0.0.0:8081"]
            {
                assert!(arguments(workload).contains(&argument), "{component} has no {argument}");
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                assert_eq!(container[probe]["httpGet"]["port"], "probes", "{component}: {probe}");
            }
            let policy = find(&objects, "NetworkPolicy", &name)?;
            let metrics = json!([{ "port": "metrics", "protocol": "TCP" }]);
            assert_eq!(policy["spec"]["ingress"], json!([{ "ports": metrics, "from": from }]), "{component}");
            assert_eq!(policy["spec"]["podSelector"], workload["spec"]["selector"], "{component}");
            let service = find(&objects, "Service", &format!("{name}-metrics"))?;
            assert_eq!(service["spec"]["ports"][0]["targetPort"], "metrics", "{component}");
        }
    }
    Ok(())
}

const WORKLOADS: [(&str, &str); 3] =
    [("Deployment", "controller"), ("DaemonSet", "agent"), ("DaemonSet", "recorder")];

#[tokio::test]
async fn gives_the_right_to_ask_about_tokens_only_where_metrics_are_secured() -> Result<()> {
    let open = render(&["recorder.enabled=true", "metrics.serviceMonitor.enabled=true"]).await?;
    assert!(find(&open, "ClusterRoleBinding", "portcullis-metrics-auth").is_err());
    assert!(find(&open, "ClusterRole", "portcullis-metrics-reader").is_err());
    for (kind, component) in WORKLOADS {
        let workload = find(&open, kind, &format!("portcullis-{component}"))?;
        assert!(!arguments(workload).contains(&"--metrics-secure"), "{component}");
        let monitor = find(&open, "ServiceMonitor", &format!("portcullis-{component}"))?;
        assert!(monitor["spec"]["endpoints"][0]["scheme"].is_null(), "{component}");
    }

    let secure =
        ["recorder.enabled=true", "metrics.serviceMonitor.enabled=true", "metrics.secure.enabled=true"];
    let objects = render(&secure).await?;
    let binding = find(&objects, "ClusterRoleBinding", "portcullis-metrics-auth")?;
    assert_eq!(binding["roleRef"]["name"], "system:auth-delegator");
    assert_eq!(binding["subjects"].as_array().map(Vec::len), Some(3));
    let reader = find(&objects, "ClusterRole", "portcullis-metrics-reader")?;
    assert_eq!(reader["rules"], json!([{ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }]));
    for (kind, component) in WORKLOADS {
        let workload = find(&objects, kind, &format!("portcullis-{component}"))?;
        assert!(arguments(workload).contains(&"--metrics-secure"), "{component}");
        let endpoint =
            &find(&objects, "ServiceMonitor", &format!("portcullis-{component}"))?["spec"]["endpoints"][0];
        assert_eq!(endpoint["scheme"], "https");
        assert_eq!(endpoint["bearerTokenFile"], "/var/run/secrets/kubernetes.io/serviceaccount/token");
        assert_eq!(endpoint["tlsConfig"], json!({ "insecureSkipVerify": true }));
    }
    Ok(())
}

#[tokio::test]
async fn mounts_the_metrics_certificate_and_has_prometheus_verify_it() -> Result<()> {
    let objects = render(&[
        "recorder.enabled=true",
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.authorization.credentials.name=scrape",
        "metrics.secure.enabled=true",
        "metrics.secure.certificateSecret=tls",
    ])
    .await?;
    for (kind, component) in WORKLOADS {
        let workload = find(&objects, kind, &format!("portcullis-{component}"))?;
        assert!(
            arguments(workload).contains(&"--metrics-cert-path=/metrics-certificate"),
            "{component}: {:?}",
            arguments(workload)
        );
        let is_it = |entry: &&Value| entry["name"] == "metrics-certificate";
        let volumes = pod(workload)["volumes"].as_array().context("no volumes")?;
        let volume = volumes.iter().find(is_it).context("no volume")?;
        assert_eq!(volume["secret"]["secretName"], "tls");
        let mounts = pod(workload)["containers"][0]["volumeMounts"].as_array().context("no mounts")?;
        let mount = mounts.iter().find(is_it).context("no mount")?;
        assert_eq!((&mount["mountPath"], &mount["readOnly"]), (&json!("/metrics-certificate"), &json!(true)));
        let endpoint =
            &find(&objects, "ServiceMonitor", &format!("portcullis-{component}"))?["spec"]["endpoints"][0];
        let name = format!("portcullis-{component}-metrics.{NAMESPACE}.svc");
        let ca = json!({ "secret": { "name": "tls", "key": "ca.crt" } });
        assert_eq!(endpoint["tlsConfig"], json!({ "serverName": name, "ca": ca }));
        assert_eq!(endpoint["authorization"]["credentials"]["name"], "scrape");
        assert!(endpoint["bearerTokenFile"].is_null());
    }
    Ok(())
}

#[tokio::test]
async fn limits_egress_only_when_told_to_where() -> Result<()> {
    let types = |objects: &[Value]| -> Result<Value> {
        Ok(find(objects, "NetworkPolicy", "portcullis-agent")?["spec"]["policyTypes"].clone())
    };
    assert_eq!(types(&render(&[]).await?)?, json!(["Ingress"]));
    let limited = render(&["networkPolicy.egress[0].ports[0].port=6443"]).await?;
    assert_eq!(types(&limited)?, json!(["Ingress", "Egress"]));
    Ok(())
}

#[tokio::test]
async fn deploy_is_fresh() -> Result<()> {
    let helm = helm().await?;
    let mut check = Command::new(env!("CARGO"));
    check.current_dir(workspace_root()).env("HELM", helm.get_program());
    output(check.args(["run", "--quiet", "--package", "xtask", "--", "check"])).map(drop)
}

#[tokio::test]
async fn deploy_is_a_kustomize_base() -> Result<()> {
    let mut kubectl = Cluster::from_env().await?.kubectl();
    let text = output(kubectl.current_dir(workspace_root()).args(["kustomize", "deploy"]))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let namespace = find(&objects, "Namespace", NAMESPACE)?;
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "privileged");
    find(&objects, "DaemonSet", "portcullis-agent")?;
    assert_eq!(of_kind(&objects, "CustomResourceDefinition").count(), 4);
    Ok(())
}

#[tokio::test]
async fn alerts_fire_when_they_should() -> Result<()> {
    let root = workspace_root();
    output(promtool()?.current_dir(root).args(["test", "rules", "e2e/tests/chart/alerts_test.yaml"]))?;
    let text = fs::read_to_string(root.join(CHART).join("files/alerts.yaml"))?;
    let rules: Value = serde_saphyr::from_str(&text)?;
    let tests = fs::read_to_string(root.join("e2e/tests/chart/alerts_test.yaml"))?;
    let runbooks = fs::read_to_string(root.join("docs/alerts.md"))?;
    let alerts = rules["groups"][0]["rules"].as_array().context("there are no rules")?;
    for alert in alerts.iter().filter_map(|rule| rule["alert"].as_str()) {
        assert!(tests.contains(&format!("alertname: {alert}")), "{alert} has no test");
        assert!(runbooks.contains(&format!("## {alert}\n")), "{alert} has no runbook in docs/alerts.md");
    }
    let rendered = render(&["metrics.prometheusRule.enabled=true"]).await?;
    let rule = find(&rendered, "PrometheusRule", "portcullis")?;
    assert_eq!(rule["spec"], rules, "the chart changes the rules that were tested");
    Ok(())
}
