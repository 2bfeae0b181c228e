//! Keeps one `SeccompNode` for each Linux node, which that node's agent then fills in: an agent may not create any.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{nodes::Nodes, shared::Shared};

/// How long changes are gathered, and how long a failed round rests.
const GATHER: Duration = Duration::from_millis(200);
const REST: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Todo {
    /// Nodes, with their UIDs, that have no object.
    create: Vec<(String, String)>,
    /// Objects, with their UIDs, that belong to no node.
    delete: Vec<(String, Option<String>)>,
}

enum Change {
    Delete((String, Option<String>)),
    Create((String, String)),
}

fn todo(nodes: &Nodes) -> Todo {
    let mut missing: HashMap<&str, &str> =
        nodes.facts().map(|facts| (facts.name.as_str(), facts.uid.as_str())).collect();
    let mut delete = Vec::new();
    for (name, report) in nodes.reports() {
        match missing.remove(name.as_str()) {
            Some(uid) if report.node_uid.as_deref() == Some(uid) => {}
            // Of an earlier node of this name: once it is gone, the node gets one of its own.
            _ => delete.push((name.clone(), report.uid.clone())),
        }
    }
    let mut create: Vec<_> =
        missing.into_iter().map(|(name, uid)| (name.to_owned(), uid.to_owned())).collect();
    create.sort_unstable();
    delete.sort_unstable();
    Todo { create, delete }
}

/// Works until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            () = shared.nodes_changed.notified() => {}
        }
        // Also lets the watch show what the last round wrote.
        sleep(GATHER).await;
        let todo = todo(shared.world().nodes());
        if !round(&shared, todo).await {
            sleep(REST).await;
            shared.nodes_changed.notify_one();
        }
    }
}

/// Does it all, and says whether that worked. One object that something refuses must not keep the others from their nodes; where the API
/// server itself has trouble, the rest waits.
async fn round(shared: &Shared, todo: Todo) -> bool {
    let mut whole = true;
    let deletions = todo.delete.into_iter().map(Change::Delete);
    for change in deletions.chain(todo.create.into_iter().map(Change::Create)) {
        if shared.shutdown.is_cancelled() {
            return whole;
        }
        let done = match change {
            Change::Delete((name, uid)) => shared.cluster.delete_report(&name, uid).await.map(drop),
            Change::Create((name, uid)) => shared.cluster.create_report(&name, &uid).await,
        };
        if let Err(failure) = done {
            shared.report_failure(&failure, None);
            whole = false;
            if !failure.category().concerns_object() {
                break;
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{
        changelog::ChangeLog,
        nodes::{NodeFacts, Report},
    };

    fn facts(name: &str, uid: &str, linux: bool) -> NodeFacts {
        NodeFacts { name: name.to_owned(), uid: uid.to_owned(), linux, ready: true, ..NodeFacts::default() }
    }

    fn report(node_uid: &str) -> Option<Report> {
        Some(Report {
            uid: Some(format!("object-of-{node_uid}")),
            node_uid: Some(node_uid.to_owned()),
            ..Report::default()
        })
    }

    #[test]
    fn each_linux_node_has_one_object_of_its_own() {
        let (log, now) = (ChangeLog::default(), Instant::now());
        let mut nodes = Nodes::default();
        for facts in [
            facts("kept", "1", true),
            facts("new", "2", true),
            facts("again", "4", true),
            facts("w", "5", false),
        ] {
            nodes.apply_node(facts, &log, now);
        }
        nodes.report("kept", report("1"), &log, now);
        nodes.report("again", report("3"), &log, now);
        nodes.report("gone", report("6"), &log, now);
        let todo = todo(&nodes);
        assert_eq!(todo.create, [("new".to_owned(), "2".to_owned())]);
        assert_eq!(
            todo.delete,
            [
                ("again".to_owned(), Some("object-of-3".to_owned())),
                ("gone".to_owned(), Some("object-of-6".to_owned())),
            ]
        );
    }
}
