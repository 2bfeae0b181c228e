//! What each watch's events change in what is known, and which profiles they wake.

use std::{collections::HashSet, hash::Hash, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{Namespace, Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
};
use portcullis_api::{
    InvalidOwner, Owner, ProfileResource, RevisionMeta, SeccompNode, SeccompRevision, content_bytes,
};
use portcullis_profile::Digest;
use portcullis_runtime::{Level, Report as Outcome, watch::Change};
use tokio::sync::watch::Sender;

use crate::{
    nodes::{AgentPod, NodeFacts, Placement, Report, notice},
    observe::{Unread, observe, owner_of},
    shared::Shared,
};

/// Which watches have shown their first list.
pub(crate) type Synced = Sender<HashSet<&'static str>>;

/// The keys that a list has shown so far.
struct Listing<K> {
    resource: &'static str,
    synced: Synced,
    keys: HashSet<K>,
}

impl<K: Hash + Eq> Listing<K> {
    fn new(resource: &'static str, synced: &Synced) -> Self {
        Self { resource, synced: synced.clone(), keys: HashSet::new() }
    }

    /// The list is complete: its keys.
    fn end(&mut self) -> HashSet<K> {
        std::mem::take(&mut self.keys)
    }

    /// What the list changed is known.
    fn done(&self) {
        self.synced.send_if_modified(|synced| synced.insert(self.resource));
    }
}

/// Profiles of one kind.
pub(crate) fn profiles<K: ProfileResource>(
    shared: Arc<Shared>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<Unread<K>>) + use<K> {
    let mut listing = Listing::new(resource, synced);
    let take = move |shared: &Shared, object: Unread<K>, arrived: bool| -> Option<Owner> {
        let owner = match owner_of(&object) {
            Ok(owner) => owner,
            Err(error) => {
                refuse_name::<K>(shared, &object, &error);
                return None;
            }
        };
        let observed = observe(owner.clone(), object, |uid, generation| {
            shared.world().has_seen(&owner, uid, generation)
        });
        shared.change(|world, now| world.profile_applied(observed, arrived, now));
        Some(owner)
    };
    move |change| match change {
        Change::ListBegins => drop(listing.end()),
        Change::Listed(object) => listing.keys.extend(take(&shared, object, false)),
        Change::Applied(object) => drop(take(&shared, object, true)),
        Change::Deleted(object) => {
            if let Ok(owner) = owner_of(&object) {
                shared.change(|world, now| world.profile_removed(&owner, now));
            }
        }
        Change::ListEnds => {
            let listed = listing.end();
            shared.change(|world, now| world.profiles_listed(|owner| owner.kind() == K::KIND, &listed, now));
            listing.done();
        }
    }
}

fn refuse_name<K: ProfileResource>(shared: &Shared, object: &Unread<K>, error: &InvalidOwner) {
    shared.reporter.report(Outcome {
        level: Level::Warning,
        reason: "InvalidName",
        action: "Resolve",
        message: format!("{} {}: {error}", K::KIND, object.name_any()),
        object: Some(object.object_ref(&())),
    });
}

/// Revisions, by their metadata alone.
pub(crate) fn revisions(
    shared: Arc<Shared>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<PartialObjectMeta<SeccompRevision>>) + use<> {
    let mut listing: Listing<(Owner, Digest)> = Listing::new(resource, synced);
    let read = |shared: &Shared, metadata: &ObjectMeta| {
        RevisionMeta::from_metadata(metadata)
            .inspect_err(|error| {
                // Agents report it too, as a failure of theirs; it is nobody's to delete but who wrote it.
                shared.reporter.report(Outcome {
                    level: Level::Warning,
                    reason: "InvalidRevision",
                    action: "Watch",
                    message: format!("{error}; the controller did not write it, and serves nothing of it"),
                    object: None,
                });
            })
            .ok()
    };
    let take = move |shared: &Shared, metadata: ObjectMeta| {
        let meta = read(shared, &metadata)?;
        let key = (meta.owner.clone(), meta.digest);
        let bytes = content_bytes(&metadata);
        shared.change(|world, now| world.revision_applied(&meta, metadata.uid, bytes, now));
        if shared.world().has_revocations_to_tell() {
            shared.revocations_changed.notify_one();
        }
        Some(key)
    };
    move |change| match change {
        Change::ListBegins => drop(listing.end()),
        Change::Listed(object) => listing.keys.extend(take(&shared, object.metadata)),
        Change::Applied(object) => drop(take(&shared, object.metadata)),
        Change::Deleted(object) => {
            if let Some(meta) = read(&shared, &object.metadata) {
                shared.change(|world, now| world.revision_removed(&meta.owner, &meta.digest, now));
            }
        }
        Change::ListEnds => {
            let listed = listing.end();
            shared.change(|world, now| world.revisions_listed(&listed, now));
            listing.done();
        }
    }
}

/// Nodes, of which little is kept.
pub(crate) fn nodes(
    shared: Arc<Shared>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<Node>) + use<> {
    let mut listing = Listing::new(resource, synced);
    let take = |shared: &Shared, node: Node| {
        let reference = node.object_ref(&());
        let facts = NodeFacts::of(node);
        let name = facts.name.clone();
        let before = shared.world().nodes().standing(&name);
        shared.change(|world, now| world.node_applied(facts, now));
        let after = shared.world().nodes().standing(&name);
        if let Some((level, reason, message)) = notice(&name, before, after) {
            let object = Some(reference);
            shared.reporter.report(Outcome { level, reason, action: "Count", message, object });
        }
        shared.nodes_changed.notify_one();
        name
    };
    move |change| match change {
        Change::ListBegins => drop(listing.end()),
        Change::Listed(node) => drop(listing.keys.insert(take(&shared, node))),
        Change::Applied(node) => drop(take(&shared, node)),
        Change::Deleted(node) => shared.change(|world, now| world.node_removed(&node.name_any(), now)),
        Change::ListEnds => {
            let listed = listing.end();
            shared.change(|world, now| world.nodes_listed(&listed, now));
            listing.done();
        }
    }
}

/// The agents' pods.
pub(crate) fn agents(
    shared: Arc<Shared>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<Pod>) + use<> {
    let mut listing = Listing::new(resource, synced);
    let take = |shared: &Shared, pod: Pod| {
        let uid = pod.uid().unwrap_or_default();
        shared.change(|world, now| world.agent_applied(uid.clone(), AgentPod::of(pod), now));
        uid
    };
    move |change| match change {
        Change::ListBegins => drop(listing.end()),
        Change::Listed(pod) => drop(listing.keys.insert(take(&shared, pod))),
        Change::Applied(pod) => drop(take(&shared, pod)),
        Change::Deleted(pod) => {
            let uid = pod.uid().unwrap_or_default();
            shared.change(|world, now| world.agent_removed(&uid, now));
        }
        Change::ListEnds => {
            let listed = listing.end();
            shared.change(|world, now| world.agents_listed(&listed, now));
            listing.done();
        }
    }
}

/// The agents' DaemonSet: this one object.
pub(crate) fn daemon_set(
    shared: Arc<Shared>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<DaemonSet>) + use<> {
    let mut listing: Listing<()> = Listing::new(resource, synced);
    let place = |shared: &Shared, daemon_set: Option<DaemonSet>| {
        shared.change(|world, now| world.placed(daemon_set.map(Placement::of), now));
    };
    move |change| match change {
        Change::ListBegins => drop(listing.end()),
        Change::Listed(daemon_set) => {
            listing.keys.insert(());
            place(&shared, Some(daemon_set));
        }
        Change::Applied(daemon_set) => place(&shared, Some(daemon_set)),
        Change::Deleted(_) => place(&shared, None),
        Change::ListEnds => {
            if listing.end().is_empty() {
                place(&shared, None);
            }
            listing.done();
        }
    }
}

/// What the nodes' agents report.
pub(crate) fn reports(
    shared: Arc<Shared>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<DeserializeGuard<SeccompNode>>) + use<> {
    let mut listing = Listing::new(resource, synced);
    let take = |shared: &Shared, object: DeserializeGuard<SeccompNode>| {
        let name = object.name_any();
        let report = match object.0 {
            Ok(node) => Report::of(node),
            Err(error) => {
                shared.reporter.report(Outcome {
                    level: Level::Warning,
                    reason: "InvalidReport",
                    action: "Watch",
                    message: format!(
                        "SeccompNode {name} can't be read, so its node counts as one that has reported nothing: {error}"
                    ),
                    object: None,
                });
                Report::of_metadata(&error.metadata)
            }
        };
        let was_left_out = shared.world().nodes().is_left_out(&name);
        shared.change(|world, now| world.reported(&name, Some(report), now));
        if shared.world().nodes().is_left_out(&name) != was_left_out {
            shared.nodes_changed.notify_one();
        }
        name
    };
    move |change| match change {
        Change::ListBegins => drop(listing.end()),
        Change::Listed(object) => drop(listing.keys.insert(take(&shared, object))),
        Change::Applied(object) => drop(take(&shared, object)),
        Change::Deleted(object) => {
            shared.change(|world, now| world.reported(&object.name_any(), None, now));
            shared.nodes_changed.notify_one();
        }
        Change::ListEnds => {
            let listed = listing.end();
            shared.change(|world, now| world.reports_listed(&listed, now));
            shared.nodes_changed.notify_one();
            listing.done();
        }
    }
}

/// The namespaces that bear the label which permits looser profiles: the watch selects them, so that losing it is a deletion.
pub(crate) fn permitted(
    shared: Arc<Shared>,
    synced: &Synced,
    resource: &'static str,
) -> impl FnMut(Change<PartialObjectMeta<Namespace>>) + use<> {
    let mut listing = Listing::new(resource, synced);
    move |change| match change {
        Change::ListBegins => drop(listing.end()),
        Change::Listed(namespace) => {
            shared.change(|world, _| world.permit(&namespace.name_any(), true));
            listing.keys.insert(namespace.name_any());
        }
        Change::Applied(namespace) => shared.change(|world, _| world.permit(&namespace.name_any(), true)),
        Change::Deleted(namespace) => shared.change(|world, _| world.permit(&namespace.name_any(), false)),
        Change::ListEnds => {
            let listed = listing.end();
            shared.change(|world, _| world.permitted_listed(&listed));
            listing.done();
        }
    }
}
