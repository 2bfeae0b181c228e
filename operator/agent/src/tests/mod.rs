//! The whole agent against an API server that does as it is told.

mod api;

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_api::{Owner, RevisionMeta};
use portcullis_profile::Digest;
use portcullis_runtime::Process;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use self::api::{Api, Seen};
use super::*;

/// A running agent and its API server.
struct Agent {
    api: Api,
    client: Client,
    process: Process,
    task: Option<JoinHandle<()>>,
    directory: TempDir,
    arguments: Vec<&'static str>,
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

impl Agent {
    /// An agent of a cluster in this state, with these arguments beyond the necessary ones.
    fn start(arguments: &[&'static str], cluster: impl FnOnce(&Api)) -> Self {
        let (api, client) = Api::start();
        cluster(&api);
        let mut agent = Self {
            api,
            client,
            process: Process::new("agent").unwrap(),
            task: None,
            directory: tempfile::tempdir().unwrap(),
            arguments: arguments.to_vec(),
        };
        agent.run();
        agent
    }

    fn run(&mut self) {
        let directory = self.directory.path().to_str().unwrap();
        let mut arguments = vec!["agent", "--node-name=node-1", "--pod-uid=pod-1", "--pod-name=agent-0"];
        arguments.extend(["--namespace=portcullis", "--directory", directory]);
        arguments.extend(&self.arguments);
        let Arguments { settings } = clap::Parser::try_parse_from(arguments).unwrap();
        self.process = Process::new("agent").unwrap();
        let (process, client) = (self.process.clone(), self.client.clone());
        self.task = Some(tokio::spawn(async move {
            let gate = process.readiness.gate("first-sync");
            process.clone().run(serve(process, settings, client, gate)).await.unwrap();
        }));
    }

    async fn stop(&mut self) {
        self.process.shutdown.cancel();
        self.task.take().unwrap().await.unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("profiles").join(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    fn exposed(&self, line: &str) -> bool {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.process.registry.gather()).unwrap();
        text.lines().any(|found| found == line)
    }

    /// Waits for something on disk that the API server hears nothing of.
    async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !so(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            tokio::task::yield_now().await;
        }
    }
}

fn owner(name: &str) -> Owner {
    Owner::namespaced("shop", name).unwrap()
}

fn revision(name: &str, content: &str, sequence: i64) -> RevisionMeta {
    let digest = Digest::of(content.as_bytes());
    RevisionMeta { owner: owner(name), owner_uid: "u".to_owned(), digest, sequence, revoked: None }
}

#[tokio::test]
async fn a_new_revision_costs_one_event_and_one_patch() {
    let agent = Agent::start(&[], |_| {});
    agent.api.until_reported([]).await;
    assert!(agent.process.readiness.is_ready());
    agent.api.until("the watch", |state| (state.watches() == 1).then_some(())).await;
    let before = agent.api.with(|state| state.seen.len());
    let web = revision("web", "{}", 1);
    agent.api.put(&web, "{}");
    let status = agent.api.until_reported([&web]).await;
    assert_eq!(agent.read("shop/web.json").as_deref(), Some("{}"));
    assert_eq!(status.agent_pod_uid.as_deref(), Some("pod-1"));
    agent.api.with(|state| assert_eq!(state.seen[before..], [Seen::Patch]));
    agent.until("metrics", |a| a.exposed("portcullis_agent_revision_to_file_seconds_count 1")).await;
    assert!(agent.exposed("portcullis_agent_event_to_file_seconds_count 1"));
    assert!(agent.exposed("portcullis_agent_api_reachable 1"));
    // The same object once more, as after a change of something else in it.
    agent.api.put(&web, "{}");
    agent.api.put(&revision("db", "[]", 1), "[]");
    agent.api.until_reported([&web, &revision("db", "[]", 1)]).await;
    agent.api.with(|state| assert_eq!(state.statuses.len(), 3));
}

#[tokio::test]
async fn a_restart_with_a_full_store_reads_no_content() {
    let content = "x".repeat(10_000);
    let revisions: Vec<_> =
        (0..300).map(|n| revision(&format!("p{n}"), &format!("{content}{n}"), 1)).collect();
    let mut agent = Agent::start(&[], |api| {
        for (number, revision) in revisions.iter().enumerate() {
            api.put(revision, &format!("{content}{number}"));
        }
    });
    agent.api.until_reported(&revisions).await;
    agent.api.with(|state| {
        assert_eq!(state.gets(), 300, "the first agent of a node reads each content once");
        state.seen.clear();
        state.bytes = 0;
        state.statuses.clear();
    });
    agent.stop().await;
    agent.run();
    agent.api.until_reported(&revisions).await;
    agent.api.with(|state| {
        assert_eq!(state.gets(), 0);
        assert_eq!((state.lists(), state.statuses.len()), (1, 1));
        assert!(state.bytes < 300 * 1_000, "{} bytes were read", state.bytes);
    });
    assert!(agent.exposed("portcullis_agent_files_written_total 0"));
}

#[tokio::test]
async fn guards_while_the_api_server_is_down_and_syncs_when_it_is_up() {
    let web = revision("web", "{}", 1);
    let mut agent = Agent::start(&[], |api| api.put(&web, "{}"));
    agent.api.until_reported([&web]).await;
    agent.stop().await;
    fs::remove_file(agent.path("shop/web.json")).unwrap();
    agent.api.with(|state| state.down = true);
    agent.run();
    agent.until("the repair at the start", |agent| agent.read("shop/web.json").is_some()).await;
    fs::write(agent.path("shop/web.json"), "changed").unwrap();
    agent.until("the repair", |agent| agent.read("shop/web.json").as_deref() == Some("{}")).await;
    assert!(!agent.process.readiness.is_ready());
    agent.until("a try", |a| a.exposed("portcullis_agent_api_reachable 0")).await;
    let db = revision("db", "[]", 1);
    agent.api.with(|state| {
        state.down = false;
        state.statuses.clear();
    });
    agent.api.put(&db, "[]");
    agent.api.until_reported([&web, &db]).await;
    assert!(agent.process.readiness.is_ready());
}

#[tokio::test]
async fn a_lost_connection_removes_nothing_and_lists_anew() {
    let web = revision("web", "{}", 1);
    let agent = Agent::start(&[], |api| api.put(&web, "{}"));
    agent.api.until_reported([&web]).await;
    agent.api.until("the watch", |state| (state.watches() == 1).then_some(())).await;
    agent.api.with(|state| state.down = true);
    agent.api.end_watches(false);
    let db = revision("db", "[]", 1);
    agent.api.put(&db, "[]");
    agent.until("an error", |a| a.exposed("portcullis_agent_watch_restarts_total{reason=\"error\"} 1")).await;
    agent.api.with(|state| state.down = false);
    agent.api.until_reported([&web, &db]).await;
    assert_eq!(agent.read("shop/web.json").as_deref(), Some("{}"));
    agent.api.with(|state| assert!(state.lists() >= 2));
}

#[tokio::test]
async fn a_watch_that_ends_in_order_goes_on_where_it_ended() {
    let web = revision("web", "{}", 1);
    let agent = Agent::start(&[], |_| {});
    agent.api.until("the watch", |state| (state.watches() == 1).then_some(())).await;
    agent.api.put(&web, "{}");
    agent.api.until_reported([&web]).await;
    let bookmark = json!({ "type": "BOOKMARK", "object": {
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRevision", "metadata": { "resourceVersion": "77" },
    }});
    agent.api.say(&bookmark);
    agent.api.end_watches(true);
    agent.api.until("the next watch", |state| (state.watches() == 2).then_some(())).await;
    agent.api.with(|state| {
        assert!(state.seen.contains(&Seen::Watch { version: "77".to_owned() }), "{:?}", state.seen);
        assert_eq!(state.lists(), 1);
    });
    assert!(agent.exposed("portcullis_agent_watch_restarts_total{reason=\"ended\"} 1"));
}

#[tokio::test]
async fn a_version_that_is_gone_lists_anew_and_what_is_missing_goes_after_the_grace() {
    let (web, db) = (revision("web", "{}", 1), revision("db", "[]", 1));
    let agent = Agent::start(&["--grace-seconds=1"], |api| {
        api.put(&web, "{}");
        api.put(&db, "[]");
    });
    agent.api.until_reported([&web, &db]).await;
    agent.api.until("the watch", |state| (state.watches() == 1).then_some(())).await;
    agent.api.lose(&db);
    agent.api.with(|state| state.expire_next_watch = true);
    agent.api.end_watches(true);
    agent.api.until_reported([&web]).await;
    assert_eq!(agent.read("shop/db.json").as_deref(), Some("[]"), "it is not in the set but on disk");
    assert!(agent.exposed("portcullis_agent_watch_restarts_total{reason=\"expired\"} 1"));
    agent.until("the grace to end", |agent| agent.read("shop/db.json").is_none()).await;
    assert_eq!(agent.read("shop/web.json").as_deref(), Some("{}"));
}

#[tokio::test]
async fn an_explicit_deletion_is_carried_out_and_reported() {
    let (web, db) = (revision("web", "{}", 1), revision("db", "[]", 1));
    let agent = Agent::start(&[], |api| {
        api.put(&web, "{}");
        api.put(&db, "[]");
    });
    agent.api.until_reported([&web, &db]).await;
    agent.api.until("the watch", |state| (state.watches() == 1).then_some(())).await;
    agent.api.delete(&db);
    agent.api.until_reported([&web]).await;
    assert_eq!(agent.read("shop/db.json"), None);
}

#[tokio::test]
async fn a_version_of_the_future_is_found_out_by_the_next_list() {
    let (web, new) = (revision("web", "{}", 1), revision("web", "[]", 2));
    let agent = Agent::start(&["--relist-seconds=1"], |api| {
        api.with(|state| state.version = 5_000);
        api.put(&web, "{}");
    });
    agent.api.until_reported([&web]).await;
    agent.api.until("the watch", |state| (state.watches() >= 1).then_some(())).await;
    // etcd is restored to a time long ago: what comes has low versions, and the watch hears nothing of it.
    agent.api.with(|state| state.version = 10);
    agent.api.end_watches(true);
    agent.api.with(|state| state.revisions.clear());
    agent.api.put(&web, "{}");
    agent.api.put(&new, "[]");
    agent.api.until_reported([&web, &new]).await;
    assert_eq!(agent.read("shop/web.json").as_deref(), Some("[]"));
    agent
        .api
        .until("a watch from the past", |state| {
            state.seen.contains(&Seen::Watch { version: state.version.to_string() }).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_status_waits_for_its_object() {
    let web = revision("web", "{}", 1);
    let agent = Agent::start(&[], |api| {
        api.put(&web, "{}");
        api.with(|state| state.no_node = true);
    });
    agent.api.until("two tries", |state| (state.count(|seen| *seen == Seen::Patch) >= 2).then_some(())).await;
    assert!(agent.process.readiness.is_ready(), "the files are there all the same");
    agent.api.with(|state| state.no_node = false);
    agent.api.until_reported([&web]).await;
}

#[tokio::test]
async fn many_revisions_at_once_cost_few_patches() {
    let revisions: Vec<_> = (0..300).map(|n| revision(&format!("p{n}"), &n.to_string(), 1)).collect();
    let agent = Agent::start(&[], |_| {});
    agent.api.until("the watch", |state| (state.watches() == 1).then_some(())).await;
    let began = Instant::now();
    for (number, revision) in revisions.iter().enumerate() {
        agent.api.put(revision, &number.to_string());
    }
    agent.api.until_reported(&revisions).await;
    let most = 3 + usize::try_from(began.elapsed().as_millis() / 100).unwrap();
    agent.api.with(|state| {
        assert!(state.statuses.len() <= most, "{} patches, {most} at most", state.statuses.len());
        assert_eq!(state.gets(), 0);
    });
}

#[tokio::test]
async fn a_repair_is_an_event_about_the_node() {
    let web = revision("web", "{}", 1);
    let agent = Agent::start(&[], |api| api.put(&web, "{}"));
    agent.api.until_reported([&web]).await;
    fs::write(agent.path("shop/web.json"), "changed").unwrap();
    let event = agent
        .api
        .until("the Event", |state| {
            state.events.iter().find(|event| event["reason"] == "FileRepaired").cloned()
        })
        .await;
    assert_eq!(event["regarding"]["kind"], "SeccompNode");
    assert_eq!(event["regarding"]["name"], "node-1");
    assert_eq!(event["regarding"]["uid"], "uid-of-node-1");
    let note = event["note"].as_str().unwrap();
    assert_eq!(note, "restored /var/lib/kubelet/seccomp/profiles/shop/web.json: its content was changed");
    assert!(agent.exposed("portcullis_agent_files_repaired_total{cause=\"changed\"} 1"));
}

#[tokio::test]
async fn a_revision_that_the_controller_did_not_write_holds_nothing_up() {
    let web = revision("web", "{}", 1);
    let agent = Agent::start(&[], |api| {
        let mut forged = revision("db", "[]", 1);
        api.put(&forged, "[]");
        forged.owner = owner("other");
        api.with(|state| {
            let (_, mut object) = state.revisions.pop_first().unwrap();
            object.metadata.labels = forged.to_metadata().labels;
            state.revisions.insert(object.metadata.name.clone().unwrap(), object);
        });
        api.put(&web, "{}");
    });
    let status = agent.api.until_reported([&web]).await;
    assert_eq!(status.revisions, 1);
    assert!(agent.exposed("portcullis_agent_files_failed_total{reason=\"InvalidRevision\"} 1"));
}

#[tokio::test]
async fn a_mount_that_is_gone_ends_the_process_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let error = Base::open(&directory.path().join("none"), Path::new("/var/lib/kubelet/seccomp"), "profiles");
    let error = error.unwrap_err().to_string();
    assert!(error.contains("where the host's /var/lib/kubelet/seccomp should be mounted"), "{error}");
}
