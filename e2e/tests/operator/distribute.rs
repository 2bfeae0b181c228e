//! From `kubectl apply` to a file on every node and a pod that it confines.

use std::{fs, os::unix::fs::MetadataExt as _, time::Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use kube::Api;
use portcullis_api::{ClusterSeccompProfile, ConditionType, SeccompProfile};
use portcullis_e2e::{
    FIRST_NODES, progress,
    testing::{
        is_running,
        profiles::{
            PATIENCE, PROFILES, TELLING_ERRNO, await_ready, await_removed, cluster_profile, condition,
            confined_pod, current_content, denied_mkdir, denying, ensure_denied, ensure_served,
            local_operator, numbered, on_nodes, profile,
        },
        with_namespace, with_namespace_options,
    },
};
use serde_json::{Value, json};

use crate::support::{owner, permitted, sha256};

const WAIT: [&str; 4] = ["wait", "--for=condition=Ready", "--timeout=60s", "seccompprofile/web"];

/// A document with everything that a canonical form has to put in order or keep to the bit.
fn unordered() -> Value {
    json!({
        "syscalls": [
            { "action": "SCMP_ACT_ERRNO", "errnoRet": TELLING_ERRNO, "names": ["mkdirat", "mkdir", "mkdirat"] },
            {
                "names": ["ioctl"],
                "action": "SCMP_ACT_ERRNO",
                "args": [
                    { "index": 2, "op": "SCMP_CMP_EQ", "value": "18446744073709551615" },
                    { "index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": "0xff00000000000000", "valueTwo": 0 },
                ],
            },
        ],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
        "defaultAction": "SCMP_ACT_ALLOW",
    })
}

/// The bytes that every node must have of it.
const CANONICAL: &str = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "architectures": ["SCMP_ARCH_X86","SCMP_ARCH_X86_64"],
  "syscalls": [
    {"names":["ioctl"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":18374686479671623680,"op":"SCMP_CMP_MASKED_EQ"},{"index":2,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]},
    {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":122}
  ]
}
"#;

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_profile_is_on_every_node_to_the_byte_and_confines_pods() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace_options(operator.cluster(), "apply", permitted(), async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": unordered() })))?;
        namespace.kubectl(&WAIT)?;
        // Nothing is waited for after this: what Ready says must hold.
        let web = owner(&namespace, "web")?;
        ensure_served(&operator, &web.current_path(), CANONICAL)?;
        let status = namespace.api::<SeccompProfile>().get("web").await?.status.context("no status")?;
        let digest = status.digest.context("no digest")?;
        assert_eq!(digest.to_string(), sha256(CANONICAL));
        ensure_served(&operator, &web.revision_path(&digest), CANONICAL)?;
        let localhost = format!("profiles/{}", web.current_path());
        assert_eq!(status.localhost_profile.as_deref(), Some(localhost.as_str()));
        assert_eq!(status.pinned_localhost_profile, Some(format!("profiles/{}", web.revision_path(&digest))));
        let nodes = status.nodes.context("no counts")?;
        assert_eq!((nodes.ready, nodes.desired, nodes.failing), (nodes.desired, nodes.ready, 0));
        for file in on_nodes(&operator, &web.current_path())? {
            let found = fs::metadata(&file)?;
            assert_eq!(
                (found.mode() & 0o7777, found.uid(), found.nlink()),
                (0o644, 0, 1),
                "{}",
                file.display()
            );
            let directory = fs::metadata(file.parent().context("a file without a directory")?)?;
            assert_eq!(directory.mode() & 0o7777, 0o755);
        }
        for node in FIRST_NODES {
            let pod = confined_pod(node, node, &localhost)?;
            namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
            ensure_denied(&namespace, node)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn an_edit_is_ready_only_when_every_node_has_it_and_reaches_new_containers() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace_options(operator.cluster(), "edit", permitted(), async |namespace| {
        let web = owner(&namespace, "web")?;
        let localhost = format!("profiles/{}", web.current_path());
        namespace.apply(&profile("web", &json!({ "profile": denying(&["rmdir"], TELLING_ERRNO) })))?;
        namespace.kubectl(&WAIT)?;
        namespace
            .run_pod(&confined_pod("old", "node1", &localhost)?, "running", PATIENCE, is_running)
            .await?;

        let edited = denying(&["mkdir", "mkdirat"], TELLING_ERRNO);
        for round in 0..10 {
            // Each edit differs, so that a Ready of the one before would be caught.
            let mut edited = edited.clone();
            let other = if round % 2 == 0 { "swapon" } else { "swapoff" };
            edited["syscalls"][0]["names"] = json!(["mkdir", "mkdirat", other]);
            namespace.apply(&profile("web", &json!({ "profile": edited })))?;
            namespace.kubectl(&WAIT)?;
            let content = current_content(operator.cluster(), &web).await?;
            ensure!(content.contains(other), "the newest revision is another: {content}");
            ensure_served(&operator, &web.current_path(), &content)?;
        }
        namespace
            .run_pod(&confined_pod("new", "node2", &localhost)?, "running", PATIENCE, is_running)
            .await?;
        ensure_denied(&namespace, "new")?;
        // A container keeps the filter that it started with: this one may make directories, and not remove them.
        let said = denied_mkdir(&namespace, "old").context("the old pod's filter is gone")?;
        assert!(said.contains("rmdir:"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn profiles_of_like_names_do_not_meet() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "names", async |namespace| {
        // The cluster profile's file stands beside the directory of the namespace that it is named after.
        let (name, dotted) = (namespace.name().to_owned(), format!("{}.json", namespace.name()));
        let wide = cluster_profile(&namespace, &name, &json!({ "profile": numbered(1) })).await?;
        let wider = cluster_profile(&namespace, &dotted, &json!({ "profile": numbered(2) })).await?;
        let narrow = profile(&name, &json!({ "profile": numbered(3) }));
        let long = "n".repeat(63);
        let longest = profile(&long, &json!({ "profile": numbered(4) }));
        for manifest in [&wide, &wider, &narrow, &longest] {
            namespace.apply(manifest)?;
        }
        let cluster_profiles: Api<ClusterSeccompProfile> = Api::all(namespace.client());
        let profiles: Api<SeccompProfile> = namespace.api();
        await_ready(&cluster_profiles, &name).await?;
        await_ready(&cluster_profiles, &dotted).await?;
        await_ready(&profiles, &name).await?;
        await_ready(&profiles, &long).await?;
        let holds = |path: &str, number: u32| {
            on_nodes(&operator, path)?.iter().try_for_each(|file| {
                let content = fs::read_to_string(file)?;
                ensure!(content.contains(&format!("\"value\":{number},")), "{}: {content}", file.display());
                Ok(())
            })
        };
        holds(&format!("{name}.json"), 1)?;
        holds(&format!("{dotted}.json"), 2)?;
        holds(&format!("{name}/{name}.json"), 3)?;
        holds(&format!("{name}/{long}.json"), 4)?;

        cluster_profiles.delete(&name, &kube::api::DeleteParams::default()).await?;
        await_removed(&operator, &format!("{name}.json")).await?;
        holds(&format!("{name}/{name}.json"), 3)?;
        holds(&format!("{dotted}.json"), 2)
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn three_hundred_profiles_at_once_reach_every_node() -> Result<()> {
    const COUNT: u32 = 300;
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "many", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let create = async |number: u32| -> Result<()> {
            let manifest = profile(&format!("p{number}"), &json!({ "profile": numbered(number) }));
            namespace.create_object::<SeccompProfile>(&serde_json::from_value(manifest)?).await?;
            Ok(())
        };
        let creations: Vec<_> = (0..COUNT).map(create).collect();
        try_join_all(creations).await?;
        let created = Instant::now();
        namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "seccompprofile", "--all"])?;
        progress::say(format_args!(
            "{COUNT} profiles are Ready {:.1?} after the last was created",
            created.elapsed()
        ));
        for number in 0..COUNT {
            let path = format!("{}/p{number}.json", namespace.name());
            for file in on_nodes(&operator, &path)? {
                let content = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                ensure!(content.contains(&format!("\"value\":{number},")), "{}: {content}", file.display());
            }
        }
        for profile in profiles.list(&kube::api::ListParams::default()).await? {
            let stray =
                [ConditionType::Reconciling, ConditionType::Stalled].map(|kind| condition(&profile, kind));
            assert_eq!(stray, [None, None], "{:?} is not settled", profile.metadata.name);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_pod_that_names_a_profile_before_it_exists_starts_once_it_does() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace_options(operator.cluster(), "late", permitted(), async |namespace| {
        let localhost = format!("profiles/{}", owner(&namespace, "web")?.current_path());
        let pod = confined_pod("early", "node1", &localhost)?;
        let text = format!("open {PROFILES}/{}/web.json: no such file", namespace.name());
        let missing = |pod: &k8s_openapi::api::core::v1::Pod| {
            portcullis_e2e::testing::waiting_reason(pod)
                .and_then(|waiting| waiting.message.as_deref())
                .is_some_and(|message| message.contains(&text))
        };
        namespace.run_pod(&pod, "told that its profile is missing", PATIENCE, missing).await?;
        namespace
            .apply(&profile("web", &json!({ "profile": denying(&["mkdir", "mkdirat"], TELLING_ERRNO) })))?;
        portcullis_e2e::testing::await_object(&namespace.api(), "early", "running", PATIENCE, is_running)
            .await?;
        ensure_denied(&namespace, "early")
    })
    .await
}
