//! Keeps one `SeccompNode` for each Linux node, which that node's agent then fills in (an agent may not create any), and says in it what
//! the agent can't know: which machine the report is of, whether the agent runs, and whether its word lasts.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp,
};
use kube::Resource as _;
use portcullis_api::SeccompNode;
use portcullis_runtime::Report as Outcome;
use tokio::time::{Instant, sleep};

use crate::{
    error::Failure,
    nodes::{Machine, Nodes, Notice, notice_of_word},
    shared::Shared,
};

/// How long changes are gathered, and how long a failed round rests.
const GATHER: Duration = Duration::from_millis(200);
const REST: Duration = Duration::from_secs(5);
/// How often it is looked what there is to be said of agents.
const REVIEW: Duration = Duration::from_secs(10);
/// Most objects of which something is said in one round: new nodes wait for theirs no longer.
const MOST_SAID: usize = 100;

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
struct Todo {
    /// Objects, with their UIDs, that belong to no node.
    delete: Vec<(String, Option<String>)>,
    /// Nodes, with their UIDs, that have no object, or of whose object the machine is to be written down.
    write: Vec<(String, String, Option<Machine>)>,
    say: Vec<Saying>,
}

/// What is to be said in an object.
#[derive(Debug, PartialEq)]
struct Saying {
    name: String,
    uid: String,
    conditions: Vec<Condition>,
    /// What is worth an Event.
    notice: Option<Notice>,
}

enum Change {
    Delete((String, Option<String>)),
    Write((String, String, Option<Machine>)),
    Say(Saying),
}

fn todo(nodes: &Nodes, now: Instant, clock: Timestamp) -> Todo {
    let mut missing: HashMap<&str, _> = nodes.facts().map(|facts| (facts.name.as_str(), facts)).collect();
    let mut todo = Todo::default();
    for (name, report) in nodes.reports() {
        let Some(facts) = missing.remove(name.as_str()) else {
            todo.delete.push((name.clone(), report.uid.clone()));
            continue;
        };
        if report.node_uid.as_ref() != Some(&facts.uid) {
            // Of an earlier node of this name: once it is gone, the node gets one of its own.
            todo.delete.push((name.clone(), report.uid.clone()));
            continue;
        }
        if let Some(machine) = report.to_record(facts) {
            todo.write.push((name.clone(), facts.uid.clone(), Some(machine)));
        }
        if let Some(uid) = &report.uid
            && let Some(conditions) = nodes.conditions(name, report, now, clock)
        {
            let notice = notice_of_word(name, &report.conditions, &conditions);
            todo.say.push(Saying { name: name.clone(), uid: uid.clone(), conditions, notice });
        }
    }
    todo.write.extend(missing.into_values().map(|facts| (facts.name.clone(), facts.uid.clone(), None)));
    todo.delete.sort_unstable();
    todo.write.sort_unstable_by(|one, other| (one.2.is_some(), &one.0).cmp(&(other.2.is_some(), &other.0)));
    todo.say.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    todo
}

/// Works until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            () = shared.nodes_changed.notified() => {}
            () = sleep(REVIEW) => {}
        }
        // Also lets the watch show what the last round wrote.
        sleep(GATHER).await;
        let mut todo = todo(shared.world().nodes(), Instant::now(), Timestamp::now());
        let has_more = todo.say.len() > MOST_SAID;
        todo.say.truncate(MOST_SAID);
        let whole = round(&shared, todo).await;
        if !whole {
            sleep(REST).await;
        }
        if !whole || has_more {
            shared.nodes_changed.notify_one();
        }
    }
}

/// Does it all, and says whether that worked. One object that something refuses must not keep the others from their nodes; where the API
/// server itself has trouble, the rest waits.
async fn round(shared: &Shared, todo: Todo) -> bool {
    let Todo { delete, write, say } = todo;
    let mut whole = true;
    let changes = delete.into_iter().map(Change::Delete);
    let changes = changes.chain(write.into_iter().map(Change::Write));
    for change in changes.chain(say.into_iter().map(Change::Say)) {
        if shared.shutdown.is_cancelled() {
            return whole;
        }
        let done = match change {
            Change::Delete((name, uid)) => shared.cluster.delete_report(&name, uid).await.map(drop),
            Change::Write((name, uid, machine)) => shared.cluster.write_report(&name, &uid, machine).await,
            Change::Say(saying) => write_conditions(shared, saying).await,
        };
        let Err(failure) = done else { continue };
        whole = false;
        if failure.category().is_overtaken() {
            continue;
        }
        shared.report_failure(&failure, None);
        if !failure.category().concerns_object() {
            break;
        }
    }
    whole
}

/// Writes the conditions, and makes an Event of what is worth one once they are written, so that it comes once.
async fn write_conditions(shared: &Shared, saying: Saying) -> Result<(), Failure> {
    let Saying { name, uid, conditions, notice } = saying;
    shared.cluster.write_report_conditions(&name, &uid, &conditions).await?;
    if let Some((level, reason, message)) = notice {
        let object = Some(ObjectReference {
            api_version: Some(SeccompNode::api_version(&()).into_owned()),
            kind: Some(SeccompNode::kind(&()).into_owned()),
            name: Some(name),
            uid: Some(uid),
            ..ObjectReference::default()
        });
        shared.reporter.report(Outcome { level, reason, action: "Count", message, object });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        changelog::ChangeLog,
        nodes::{NodeFacts, Report},
        settings::Lasting,
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
        let mut nodes = Nodes::new("profiles".to_owned(), Lasting::default());
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
        let todo = todo(&nodes, now, Timestamp::UNIX_EPOCH);
        assert_eq!(todo.write, [("new".to_owned(), "2".to_owned(), None)]);
        assert_eq!(todo.say, [], "an agent has some time to come");
        assert_eq!(
            todo.delete,
            [
                ("again".to_owned(), Some("object-of-3".to_owned())),
                ("gone".to_owned(), Some("object-of-6".to_owned())),
            ]
        );
    }

    #[test]
    fn the_machine_that_a_report_is_of_is_written_down_once_and_an_agent_that_is_away_is_said() {
        let (log, now) = (ChangeLog::default(), Instant::now());
        let mut nodes = Nodes::new("profiles".to_owned(), Lasting::default());
        let machine = Machine { id: "m".to_owned(), boot: "b".to_owned() };
        nodes.apply_node(NodeFacts { machine: machine.clone(), ..facts("n", "1", true) }, &log, now);
        let reported = Report {
            digest: Some(log.set().digest()),
            boot: "b".to_owned(),
            ..report("1").unwrap_or_default()
        };
        nodes.report("n", Some(reported.clone()), &log, now);
        let one = todo(&nodes, now, Timestamp::UNIX_EPOCH);
        assert_eq!(one.write, [("n".to_owned(), "1".to_owned(), Some(machine.clone()))]);
        nodes.report("n", Some(Report { recorded: machine, ..reported }), &log, now);
        assert_eq!(todo(&nodes, now, Timestamp::UNIX_EPOCH), Todo::default());
        let later = todo(&nodes, now + Duration::from_secs(60), Timestamp::UNIX_EPOCH);
        assert_eq!(later.say.len(), 1);
        assert_eq!((later.say[0].name.as_str(), later.say[0].uid.as_str()), ("n", "object-of-1"));
        assert_eq!(later.say[0].notice, None);
    }
}
