//! Which profile paths pods name: asked when a profile is deleted or a revision collected, by one paged pass over the pods.
//!
//! There is no cache of the cluster's pods: at 150 nodes such a cache takes gigabytes, for a question that is rarely asked.

use std::{collections::HashMap, fmt};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, Object, object::NotUsed},
};
use portcullis_api::Owner;
use portcullis_profile::Digest;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Pods in a page, which is in memory at once: 75 MB at worst, half a megabyte as a rule.
const PAGE: u32 = 50;
/// Longest path that can be one of Portcullis's own.
const LONGEST_PATH: usize = 256;
/// Most pods of a path whose names are kept.
const MAX_KEPT: usize = 20;
/// Most pods that a message names.
const MAX_NAMED: usize = 5;
/// Pods that have ended start no container again.
const LIVING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// A pod, as far as its seccomp profiles go. Everything else is never read into memory.
type SlimPod = Object<SlimPodSpec, NotUsed>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimPodSpec {
    security_context: Option<SecurityContext>,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    security_context: Option<SecurityContext>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SecurityContext {
    seccomp_profile: Option<SeccompProfile>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SeccompProfile {
    localhost_profile: Option<String>,
}

impl SlimPodSpec {
    /// The paths that the pod's containers name, below the kubelet's seccomp directory, in the kubelet's reading of them.
    fn paths(&self) -> impl Iterator<Item = String> {
        let containers =
            self.containers.iter().chain(&self.init_containers).chain(&self.ephemeral_containers);
        containers
            .map(|container| &container.security_context)
            .chain([&self.security_context])
            .flatten()
            .filter_map(|context| context.seccomp_profile.as_ref()?.localhost_profile.as_deref())
            .map(clean)
    }
}

/// The kubelet joins the path to its directory, which cleans it; `..` the API server refuses.
fn clean(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

/// The pods that name a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    /// How many.
    pub(crate) count: usize,
    /// Some of them.
    pub(crate) named: Vec<PodName>,
}

/// Which pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodName {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Users {
    /// One pod, `namespace/name`.
    #[cfg(test)]
    pub(crate) fn of_pod(pod: &str) -> Self {
        let (namespace, name) = pod.split_once('/').unwrap_or_default();
        let pod = PodName { namespace: namespace.to_owned(), name: name.to_owned(), uid: None };
        Self { count: 1, named: vec![pod] }
    }

    /// In words.
    pub(crate) fn describe(&self) -> String {
        let named: Vec<String> = self.named.iter().take(MAX_NAMED).map(ToString::to_string).collect();
        let more = self.count - named.len();
        let named = named.join(", ");
        if more == 0 { named } else { format!("{named} and {more} more") }
    }
}

/// Who names which path, as one pass over the pods found it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    subdirectory: String,
    by_path: HashMap<String, Users>,
}

impl Usage {
    /// Nothing is in use yet below this sub-directory.
    fn new(subdirectory: &str) -> Self {
        Self { subdirectory: clean(subdirectory), by_path: HashMap::new() }
    }

    fn add(&mut self, pod: &SlimPod) {
        let mut paths: Vec<String> = pod.spec.paths().collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            let below = path.strip_prefix(&self.subdirectory).and_then(|path| path.strip_prefix('/'));
            let Some(below) = below.filter(|below| below.len() <= LONGEST_PATH) else { continue };
            let users = self.by_path.entry(below.to_owned()).or_default();
            users.count += 1;
            if users.named.len() < MAX_KEPT {
                users.named.push(PodName {
                    namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                    name: pod.metadata.name.clone().unwrap_or_default(),
                    uid: pod.metadata.uid.clone(),
                });
            }
        }
    }

    /// What a pass finds where one pod names one path.
    #[cfg(test)]
    pub(crate) fn of_pod(subdirectory: &str, path: &str, pod: &str) -> Self {
        let users = Users::of_pod(pod);
        Self { subdirectory: subdirectory.to_owned(), by_path: [(path.to_owned(), users)].into() }
    }

    /// Who names one revision by its own path.
    pub(crate) fn of_revision(&self, owner: &Owner, digest: &Digest) -> Option<&Users> {
        self.by_path.get(&owner.revision_path(digest))
    }

    /// Who names any path of an owner that has these revisions.
    pub(crate) fn of_owner<'a>(
        &self,
        owner: &Owner,
        revisions: impl Iterator<Item = &'a Digest>,
    ) -> Option<Users> {
        let paths = revisions.map(|digest| owner.revision_path(digest)).chain([owner.current_path()]);
        let mut all = Users::default();
        for users in paths.filter_map(|path| self.by_path.get(&path)) {
            all.count += users.count;
            all.named.extend(users.named.iter().cloned());
        }
        all.named.truncate(MAX_KEPT);
        (all.count > 0).then_some(all)
    }
}

/// What a pass over the pods came to.
pub(crate) type Answer = Result<std::sync::Arc<Usage>, std::sync::Arc<kube::Error>>;

/// Asks for passes over the pods. Clones share them: whoever asks while a pass is under way shares the next one.
#[derive(Clone, Debug)]
pub(crate) struct UsageAsker(mpsc::UnboundedSender<oneshot::Sender<Answer>>);

impl UsageAsker {
    /// A pass that begins after this call. None where the process is stopping.
    pub(crate) async fn ask(&self) -> Option<Answer> {
        let (sender, answer) = oneshot::channel();
        self.0.send(sender).ok()?;
        answer.await.ok()
    }
}

/// The asker, and the task that answers.
pub(crate) fn usage(
    client: Client,
    subdirectory: String,
    shutdown: CancellationToken,
) -> (UsageAsker, impl Future<Output = ()> + Send + 'static) {
    let (sender, mut questions) = mpsc::unbounded_channel::<oneshot::Sender<Answer>>();
    let answerer = async move {
        loop {
            let first = tokio::select! {
                () = shutdown.cancelled() => break,
                first = questions.recv() => first,
            };
            let Some(first) = first else {
                shutdown.cancelled().await;
                break;
            };
            let mut waiting = vec![first];
            while let Ok(more) = questions.try_recv() {
                waiting.push(more);
            }
            let answer: Answer = pass(&client, &subdirectory).await.map(Into::into).map_err(Into::into);
            for sender in waiting {
                // Who no longer waits needs no answer.
                let _ = sender.send(answer.clone());
            }
        }
    };
    (UsageAsker(sender), answerer)
}

/// One pass over all living pods.
async fn pass(client: &Client, subdirectory: &str) -> Result<Usage, kube::Error> {
    let pods: Api<SlimPod> = Api::all_with(client.clone(), &ApiResource::erase::<Pod>(&()));
    let mut usage = Usage::new(subdirectory);
    let mut params = ListParams::default().limit(PAGE).fields(LIVING);
    loop {
        let page = pods.list(&params).await?;
        page.items.iter().for_each(|pod| usage.add(pod));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(usage),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, spec: &serde_json::Value) -> SlimPod {
        serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec}))
            .unwrap()
    }

    fn localhost(path: &str) -> serde_json::Value {
        json!({"seccompProfile": {"type": "Localhost", "localhostProfile": path}})
    }

    fn usage_of(pods: &[SlimPod]) -> Usage {
        let mut usage = Usage::new("profiles");
        pods.iter().for_each(|pod| usage.add(pod));
        usage
    }

    fn web() -> Owner {
        Owner::namespaced("shop", "web").unwrap()
    }

    #[test]
    fn finds_a_path_wherever_a_pod_may_name_it() {
        let context = localhost("profiles/shop/web.json");
        for spec in [
            json!({"securityContext": context, "containers": []}),
            json!({"containers": [{"name": "a"}, {"name": "b", "securityContext": context}]}),
            json!({"containers": [], "initContainers": [{"securityContext": context}]}),
            json!({"containers": [], "ephemeralContainers": [{"securityContext": context}]}),
            json!({"securityContext": localhost("profiles/./shop//web.json"), "containers": []}),
        ] {
            let usage = usage_of(&[pod("p", &spec)]);
            let users = usage.of_owner(&web(), [].into_iter()).unwrap();
            assert_eq!((users.count, users.describe().as_str()), (1, "shop/p"), "{spec}");
        }
    }

    #[test]
    fn a_pod_that_names_a_revision_uses_the_profile_and_that_revision() {
        let (used, unused) = (Digest::of(b"a"), Digest::of(b"b"));
        let path = format!("profiles/{}", web().revision_path(&used));
        let usage = usage_of(&[pod("p", &json!({"securityContext": localhost(&path), "containers": []}))]);
        assert!(usage.of_owner(&web(), [&used, &unused].into_iter()).is_some());
        assert!(usage.of_revision(&web(), &used).is_some());
        assert!(usage.of_revision(&web(), &unused).is_none());
    }

    #[test]
    fn what_lies_outside_of_the_sub_directory_is_anothers() {
        for path in ["other/shop/web.json", "profiles2/shop/web.json", "shop/web.json", "profiles"] {
            let usage = usage_of(&[pod("p", &json!({"securityContext": localhost(path), "containers": []}))]);
            assert_eq!(usage.of_owner(&web(), [].into_iter()), None, "{path}");
        }
        let default =
            json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}, "containers": []});
        assert!(usage_of(&[pod("p", &default)]).by_path.is_empty());
    }

    #[test]
    fn many_pods_are_counted_and_a_few_named() {
        let spec = json!({
            "securityContext": localhost("profiles/shop/web.json"),
            "containers": [{"securityContext": localhost("profiles/shop/web.json")}],
        });
        let pods: Vec<SlimPod> = (0..7).map(|number| pod(&format!("p{number}"), &spec)).collect();
        let users = usage_of(&pods).of_owner(&web(), [].into_iter()).unwrap();
        assert_eq!(users.describe(), "shop/p0, shop/p1, shop/p2, shop/p3, shop/p4 and 2 more");
    }
}
