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
const VALUE_SETS: [&[&str]; 11] = [
    &[],
    &["admissionPolicies.enabled=false", "crds.install=false", "rbac.aggregate=false"],
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
        "admissionPolicies.revisionWriters[0]=system:serviceaccount:velero:velero",
        "admissionPolicies.podsOfOwnNamespace=false",
        "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
        "metrics.service.annotations.a=b",
        "metrics.serviceMonitor.enabled=true",
        r"metrics.serviceMonitor.labels.app\.kubernetes\.io/part-of=platform",
        "metrics.prometheusRule.enabled=true",
        r"metrics.prometheusRule.labels.app\.kubernetes\.io/part-of=platform",
    ],
    &["recorder.enabled=true", "recorder.appArmorProfile=null"],
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
        ("image.digest=sha256:1", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("controller.replicas=many", "replicas"),
        ("log.format=xml", "format"),
        ("listenAddress=127.0.0.1", "listenAddress"),
        ("image.repository=", "registry.example.com/portcullis"),
        ("agent.maxUnavailable=0%", "maxUnavailable"),
        ("admissionPolicies.revisionWriters[0]=it's me", "revisionWriters"),
    ] {
        let said = refusal(&[setting]).await?;
        assert!(said.contains(word), "{setting}: {said}");
    }
    let said = refusal(&["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"]).await?;
    assert!(said.contains("metrics.service.enabled=true"), "{said}");
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
            assert_eq!(pod(workload)["containers"][0][probe]["httpGet"]["port"], "http", "{probe}");
        }
    }
    assert_eq!(controller["spec"]["replicas"], 2);
    assert_eq!(pod(controller)["securityContext"]["runAsNonRoot"], true);
    assert!(pod(controller)["volumes"].is_null());
    find(&objects, "PodDisruptionBudget", "portcullis-controller")?;

    let folder = json!({ "path": "/var/lib/kubelet/seccomp", "type": "DirectoryOrCreate" });
    assert_eq!(pod(agent)["volumes"], json!([{ "name": "seccomp", "hostPath": folder }]));
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
    for policy in
        ["portcullis-agent-own-node", "portcullis-revision-writers", "portcullis-pods-of-own-namespace"]
    {
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
    let folder = json!({ "path": "/sys/fs/bpf", "type": "Directory" });
    assert_eq!(pod(recorder)["volumes"], json!([{ "name": "bpffs", "hostPath": folder }]));
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
