//! What a stolen token of an agent, or a wide role, is good for: nothing but the status of one node.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Pod,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use portcullis_api::{
    Owner, RevisionMeta, SeccompNode, SeccompProfile, SeccompRevision, SeccompRevisionSpec,
};
use portcullis_e2e::{
    Cluster, Operator,
    operator::{AGENTS, SYSTEM_NAMESPACE},
    testing::{
        Seen, TestNamespace, eventually,
        profiles::{PATIENCE, await_ready, numbered, owned_by, profile, revisions},
        with_namespace, with_namespace_options, with_token,
    },
};
use serde_json::{Value, json};

use crate::support::{as_controller, owner, permitted, sha256};

const AGENT: &str = "portcullis-agent";

/// A client with a token of the agents' account, bound to a pod or to nothing.
async fn as_agent(cluster: &Cluster, pod: Option<&Pod>) -> Result<Client> {
    with_token(cluster, AGENT, pod).await
}

/// Gives every agent all rights on nodes' objects and revisions for as long as the test lasts, so that only the policy is left.
async fn widen_rights(namespace: &TestNamespace) -> Result<()> {
    let name = format!("{}-wide", namespace.name());
    let metadata = json!({ "name": name, "ownerReferences": [owned_by(namespace).await?] });
    let role = json!({
        "metadata": metadata,
        "rules": [{ "apiGroups": ["portcullis.dev"], "resources": ["*"], "verbs": ["*"] }],
    });
    let binding = json!({
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": AGENT, "namespace": SYSTEM_NAMESPACE }],
    });
    let roles: Api<ClusterRole> = Api::all(namespace.client());
    roles.create(&PostParams::default(), &serde_json::from_value(role)?).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(namespace.client());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    Ok(())
}

/// Two agents on two nodes.
async fn two_agents(operator: &Operator) -> Result<[(Pod, String); 2]> {
    let mut agents = Vec::new();
    for pod in operator.pods(AGENTS).await? {
        let node =
            pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("an agent has no node")?;
        agents.push((pod, node));
    }
    let found = agents.len();
    let two = agents.into_iter().take(2).collect::<Vec<_>>().try_into();
    two.ok().with_context(|| format!("there are {found} agents, and the test needs two"))
}

fn refusal<T>(result: kube::Result<T>, what: &str) -> Result<String> {
    match result {
        Err(kube::Error::Api(status)) => {
            ensure!(status.code == 403, "{what}: {} instead of 403: {}", status.code, status.message);
            Ok(status.message)
        }
        Err(error) => Err(error).with_context(|| what.to_owned()),
        Ok(_) => anyhow::bail!("{what} was taken"),
    }
}

fn status_of(pod: &Pod) -> Patch<Value> {
    // What the agent itself says, so that nothing is changed where it is taken.
    Patch::Merge(json!({ "status": { "agentPodUid": pod.uid() } }))
}

#[tokio::test]
async fn an_agents_token_writes_the_status_of_its_own_node_and_nothing_else() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "tokens", async |namespace| {
        let [(own_pod, own_node), (other_pod, other_node)] = two_agents(&operator).await?;
        widen_rights(&namespace).await?;
        let parameters = PatchParams::default();
        let bound: Api<SeccompNode> = Api::all(as_agent(operator.cluster(), Some(&own_pod)).await?);
        portcullis_e2e::testing::eventually(
            "the wide role holds",
            portcullis_e2e::testing::profiles::PATIENCE,
            async || {
                use portcullis_e2e::testing::Seen;
                Ok(bound
                    .list(&ListParams::default())
                    .await
                    .map_or_else(|error| Seen::NotYet(error.to_string()), |_| Seen::Done(())))
            },
        )
        .await?;
        bound
            .patch_status(&own_node, &parameters, &status_of(&own_pod))
            .await
            .context("its own status is refused")?;

        let said = refusal(
            bound.patch_status(&other_node, &parameters, &status_of(&own_pod)).await,
            "another's status",
        )?;
        assert!(
            said.contains(&format!("an agent on node {own_node} may not write SeccompNode {other_node}")),
            "{said}"
        );
        let said = refusal(
            bound.patch_status(&own_node, &parameters, &status_of(&other_pod)).await,
            "another pod's UID",
        )?;
        assert!(
            said.contains("status.agentPodUid is not the UID of the pod that the token belongs to"),
            "{said}"
        );
        let conditions = Patch::Merge(json!({ "status": { "conditions": [{
            "type": "AgentReady", "status": "False", "reason": "Lie", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] } }));
        let said = refusal(bound.patch_status(&own_node, &parameters, &conditions).await, "its conditions")?;
        assert!(said.contains("status.conditions are the controller's to write"), "{said}");
        let labels = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
        let said = refusal(bound.patch(&own_node, &parameters, &labels).await, "its own object")?;
        assert!(said.contains("and nothing else: UPDATE refused"), "{said}");
        let said =
            refusal(bound.delete(&own_node, &DeleteParams::default()).await, "deleting its own object")?;
        assert!(said.contains("and nothing else: DELETE refused"), "{said}");
        let all = ListParams::default();
        let said =
            refusal(bound.delete_collection(&DeleteParams::default(), &all).await, "deleting all objects")?;
        assert!(said.contains("DELETE refused"), "{said}");
        let mut new = SeccompNode::default();
        new.metadata.name = Some(format!("{}-node", namespace.name()));
        let said = refusal(bound.create(&PostParams::default(), &new).await, "a new object")?;
        assert!(said.contains("CREATE refused"), "{said}");

        let unbound: Api<SeccompNode> = Api::all(as_agent(operator.cluster(), None).await?);
        let said = refusal(
            unbound.patch_status(&own_node, &parameters, &status_of(&own_pod)).await,
            "an unbound token",
        )?;
        assert!(said.contains("the token names no node"), "{said}");
        let admin: Api<SeccompNode> = Api::all(namespace.client());
        let said = refusal(
            admin.patch_status(&own_node, &parameters, &status_of(&own_pod)).await,
            "an administrator",
        )?;
        assert!(said.contains("only agents write the status of a SeccompNode"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_but_the_controller_writes_revisions() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "writers", async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        let own = revisions(operator.cluster(), &owner(&namespace, "web")?).await?;
        let (_, revision) = own.first().context("no revision")?;
        let name = revision.name_any();
        widen_rights(&namespace).await?;
        let [(pod, _), _] = two_agents(&operator).await?;
        let writers = [as_agent(operator.cluster(), Some(&pod)).await?, namespace.client()];
        for client in writers {
            let api: Api<SeccompRevision> = Api::all(client);
            let mut copy = revision.clone();
            copy.metadata.name = Some(format!("{name}-copy"));
            copy.metadata.resource_version = None;
            let raise = Patch::Merge(
                json!({ "metadata": { "annotations": { portcullis_api::SEQUENCE_ANNOTATION: "9" } } }),
            );
            for said in [
                refusal(api.create(&PostParams::default(), &copy).await, "creating")?,
                refusal(api.patch(&name, &PatchParams::default(), &raise).await, "changing")?,
                refusal(api.delete(&name, &DeleteParams::default()).await, "deleting")?,
            ] {
                assert!(said.contains("only the controller writes SeccompRevisions"), "{said}");
                assert!(
                    said.contains("change the SeccompProfile or ClusterSeccompProfile instead"),
                    "{said}"
                );
            }
        }
        // Not even the controller changes a content.
        let controller: Api<SeccompRevision> = Api::all(as_controller(operator.cluster()).await?);
        let other = Patch::Merge(json!({ "spec": { "content": "{}" } }));
        let refused =
            controller.patch(&name, &PatchParams::default(), &other).await.err().context("was taken")?;
        assert!(refused.to_string().contains("a revision's content never changes"), "{refused}");
        Ok(())
    })
    .await
}

/// A revision with a content and a name, which is all that the API server looks at.
fn revision(owner: &Owner, document: &str) -> Result<SeccompRevision> {
    let meta = RevisionMeta {
        owner: owner.clone(),
        owner_uid: "none".to_owned(),
        digest: sha256(document).parse()?,
        sequence: 1,
        revoked: None,
    };
    let mut revision = SeccompRevision::new("", SeccompRevisionSpec { content: document.to_owned() });
    revision.metadata = meta.to_metadata();
    Ok(revision)
}

#[tokio::test]
async fn whoever_has_the_controllers_token_takes_no_filter_away_and_names_no_listener() -> Result<()> {
    let operator = Operator::from_env().await?;
    let test = async |namespace: TestNamespace, permitted: bool| {
        let controller: Api<SeccompRevision> = Api::all(as_controller(operator.cluster()).await?);
        let trial = PostParams { dry_run: true, ..PostParams::default() };
        let web = owner(&namespace, "web")?;
        let base = Owner::cluster("base")?;
        let filter = |more: &str| format!("{{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\"{more}\n}}\n");
        controller.create(&trial, &revision(&web, &filter(""))?).await.context("an honest one")?;
        for content in ["{}", "null", "{\n}\n"] {
            let said = controller.create(&trial, &revision(&web, content)?).await.err();
            let said = said.with_context(|| format!("{content} was taken"))?.to_string();
            ensure!(said.contains("a whole filter"), "{content}: {said}");
        }
        // Go's encoding/json takes all of these for listenerPath.
        for key in ["listenerPath", "LISTENERPATH", r"\u006cistenerPath", "li\u{17f}tenerPath"] {
            let content = filter(&format!(",\n  \"{key}\": \"/run/agent.sock\""));
            let asked = controller.create(&trial, &revision(&web, &content)?).await;
            if permitted {
                asked.with_context(|| format!("{key} in a labelled namespace"))?;
            } else {
                let said = refusal(asked, key)?;
                ensure!(said.contains(&format!("namespace {} is not labelled", namespace.name())), "{said}");
            }
            controller.create(&trial, &revision(&base, &content)?).await.context("a cluster profile's")?;
        }
        Ok(())
    };
    with_namespace(operator.cluster(), "no-listener", async |namespace| test(namespace, false).await).await?;
    with_namespace_options(operator.cluster(), "listener", permitted(), async |namespace| {
        test(namespace, true).await
    })
    .await
}

/// What the roles may do, asked as themselves.
async fn may(client: &Client, verb: &str, group: &str, resource: &str, subresource: &str) -> Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
                namespace: Some(SYSTEM_NAMESPACE.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    Ok(reviews.create(&PostParams::default(), &review).await?.status.is_some_and(|status| status.allowed))
}

#[tokio::test]
async fn the_roles_have_the_rights_they_need_and_no_others() -> Result<()> {
    let operator = Operator::from_env().await?;
    // Another test widens the agents' rights for a while.
    let _alone = operator.cluster().exclusive().await?;
    let agent = as_agent(operator.cluster(), None).await?;
    let ours = "portcullis.dev";
    // Its binding goes with its namespace, a little after the test itself.
    eventually("nothing widens the agents' rights", PATIENCE, async || {
        let widened = may(&agent, "list", ours, "seccompprofiles", "").await?;
        Ok(if widened { Seen::NotYet("an agent may list profiles".to_owned()) } else { Seen::Done(()) })
    })
    .await?;
    for (verb, group, resource, subresource) in
        [("watch", ours, "seccomprevisions", ""), ("patch", ours, "seccompnodes", "status")]
    {
        ensure!(may(&agent, verb, group, resource, subresource).await?, "an agent may not {verb} {resource}");
    }
    for resource in ["pods", "secrets", "configmaps", "nodes", "namespaces"] {
        for verb in ["get", "list", "watch", "create", "patch", "delete"] {
            ensure!(!may(&agent, verb, "", resource, "").await?, "an agent may {verb} {resource}");
        }
    }
    for (verb, resource, subresource) in [
        ("list", "seccompprofiles", ""),
        ("create", "seccompnodes", ""),
        ("patch", "seccompnodes", ""),
        ("delete", "seccompnodes", ""),
        ("create", "seccomprevisions", ""),
        ("patch", "seccomprevisions", ""),
        ("patch", "seccompprofiles", "status"),
    ] {
        ensure!(
            !may(&agent, verb, ours, resource, subresource).await?,
            "an agent may {verb} {resource}/{subresource}"
        );
    }
    let controller = as_controller(operator.cluster()).await?;
    for (verb, group, resource) in [
        ("get", "", "secrets"),
        ("list", "", "configmaps"),
        ("create", "", "pods"),
        ("delete", "", "pods"),
        ("patch", "", "nodes"),
        ("delete", ours, "seccompprofiles"),
        ("create", "rbac.authorization.k8s.io", "clusterroles"),
    ] {
        ensure!(!may(&controller, verb, group, resource, "").await?, "the controller may {verb} {resource}");
    }
    Ok(())
}
