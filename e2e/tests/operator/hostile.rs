//! Names that try to leave the directory, and objects that are broken: refused or passed over, and no hindrance to others.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use portcullis_api::{
    DIGEST_ANNOTATION, OWNER_KIND_LABEL, OWNER_NAME_LABEL, OWNER_NAMESPACE_LABEL, OWNER_UID_ANNOTATION,
    SEQUENCE_ANNOTATION, SeccompProfile, SeccompRevision,
};
use portcullis_e2e::{
    FIRST_NODES, Operator,
    testing::{
        Seen, eventually,
        profiles::{
            PATIENCE, await_ready, cluster_profile, current_content, ensure_served, local_operator, numbered,
            on_nodes, profile,
        },
        with_namespace,
    },
};
use serde_json::{Value, json};

use crate::support::{as_controller, owner, sha256};

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn names_that_can_not_be_a_file_are_refused_by_the_api_server() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "hostile", async |namespace| {
        let spec = json!({ "profile": numbered(1) });
        let too_long = "n".repeat(64);
        for name in ["..", ".", "../../etc/passwd", "a/b", "a..b", "A", "-a", "a@b", too_long.as_str()] {
            for manifest in [profile(name, &spec), cluster_profile(&namespace, name, &spec).await?] {
                let refused = namespace.apply(&manifest).err().map(|error| error.to_string());
                let refused = refused.with_context(|| format!("{} {name:?} was taken", manifest["kind"]))?;
                ensure!(!refused.contains("panic"), "{refused}");
            }
        }
        let refused =
            namespace.apply(&profile(&too_long, &spec)).err().context("64 characters were taken")?;
        assert!(refused.to_string().contains("must have at most 63 characters"), "{refused}");

        for base in ["..", "../x", "a/b", "", "A"] {
            let bases = json!([{ "kind": "SeccompProfile", "name": base }]);
            let manifest = profile("web", &json!({ "profile": numbered(1), "bases": bases }));
            let refused =
                namespace.apply(&manifest).err().with_context(|| format!("base {base:?} was taken"))?;
            assert!(refused.to_string().contains("spec.bases[0].name"), "{refused}");
        }
        Ok(())
    })
    .await
}

/// A revision that is not as the controller writes it, by somebody who has the controller's rights.
fn revision(name: &str, labels: &Value, content: &str, digest_of: &str) -> Result<SeccompRevision> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompRevision",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {
                DIGEST_ANNOTATION: sha256(digest_of),
                SEQUENCE_ANNOTATION: "1",
                OWNER_UID_ANNOTATION: "none",
            },
        },
        "spec": { "content": content },
    }))?)
}

/// Every path below a node's seccomp directory that has this text in its name or content.
fn traces(operator: &Operator, text: &str) -> Result<Vec<String>> {
    fn walk(folder: &std::path::Path, text: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory {
                walk(&path, text, found);
            }
            let holds = !is_directory
                && fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text));
            if holds || path.file_name().is_some_and(|name| name.to_string_lossy().contains(text)) {
                found.push(path.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    for node in FIRST_NODES {
        // One level above the kubelet's seccomp directory, for what would climb out of it.
        walk(&operator.cluster().node_path(node, "/var/lib/kubelet/seccomp")?, text, &mut found);
    }
    Ok(found)
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn broken_revisions_become_no_files_and_hold_up_nobody() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "broken", async |namespace| {
        let revisions: Api<SeccompRevision> = Api::all(as_controller(operator.cluster()).await?);
        let space = namespace.name();
        let mark = format!("mark-of-{space}");
        // What is no filter is refused by the API server.
        let filter = |mark: &str| format!("{{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\",\n  \"architectures\": [\"{mark}\"]\n}}\n");
        let (content, another) = (filter(&mark), filter("another"));
        let labels = |kind: &str, namespace: &str, name: &str| {
            json!({ OWNER_KIND_LABEL: kind, OWNER_NAMESPACE_LABEL: namespace, OWNER_NAME_LABEL: name })
        };
        let short = sha256(&content)["sha256:".len()..][..12].to_owned();
        let planted = [
            ("no-labels", json!({})),
            ("no-kind", labels("Gate", space, &mark)),
            ("upper-case", labels("SeccompProfile", space, "A..B")),
            ("other-name", labels("SeccompProfile", space, &mark)),
            ("no-namespace", json!({ OWNER_KIND_LABEL: "SeccompProfile", OWNER_NAME_LABEL: mark })),
        ]
        .map(|(kind, labels)| (format!("{space}.{kind}.{short}"), labels, content.as_str()));
        // As it should be, but for the content, which is not what the digest names.
        let liar = format!("sp.{space}.liar-{mark}.{short}");
        let liars = labels("SeccompProfile", space, &format!("liar-{mark}"));
        let all = planted.iter().map(|(name, labels, content)| (name, labels, *content)).chain([(&liar, &liars, another.as_str())]);

        let test = async {
            for (name, labels, planted) in all.clone() {
                revisions
                    .create(&PostParams::default(), &revision(name, labels, planted, &content)?)
                    .await
                    .with_context(|| format!("{name} can't be planted"))?;
            }
            namespace.apply(&profile("web", &json!({ "profile": numbered(7) })))?;
            // The liar is not written, and said to be so: nodes report a failure of its, not of others.
            let nodes: Api<portcullis_api::SeccompNode> = Api::all(namespace.client());
            eventually("both nodes report the content that is not what its digest names", PATIENCE, async || {
                let statuses = nodes.list(&Default::default()).await?.items.into_iter().filter_map(|node| node.status);
                let said = statuses.flat_map(|status| status.failures).filter(|failure| failure.name.contains(&mark));
                let said: Vec<_> = said.map(|failure| (failure.path, failure.reason)).collect();
                Ok(if said.len() >= 2 { Seen::Done(()) } else { Seen::NotYet(format!("{said:?}")) })
            })
            .await?;
            await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
            let web = owner(&namespace, "web")?;
            let content = current_content(operator.cluster(), &web).await?;
            ensure_served(&operator, &web.current_path(), &content)?;
            ensure!(on_nodes(&operator, "web.json")?.iter().all(|file| !file.exists()), "web.json is in the wrong place");
            let traces = traces(&operator, &mark)?;
            ensure!(traces.is_empty(), "written all the same: {}", traces.join(", "));
            Ok(())
        };
        let outcome = test.await;
        // They go with no namespace, and would trouble every later test.
        for (name, ..) in all {
            let deleted = revisions.delete(name, &DeleteParams::default()).await;
            if let Err(error) = deleted {
                portcullis_e2e::progress::say(format_args!("{name} can't be deleted: {error}"));
            }
        }
        outcome
    })
    .await
}
