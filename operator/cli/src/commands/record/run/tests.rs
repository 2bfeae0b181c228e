use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::cluster::fake::{self, Asked};

const RECORDINGS: &str = "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccomprecordings/web";
const PARTS: &str = "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccomprecordingparts";
const PODS: &str = "/api/v1/namespaces/shop/pods";

/// What an API server with one recording, a pod of it on node n1, and that node's recorder has.
struct State {
    run: Option<String>,
    generation: i64,
    /// The recorder answers a new generation.
    answers: bool,
    /// The definition knows the field.
    knows_run: bool,
    may_list_pods: bool,
    is_deleted: bool,
    /// Writes that are overtaken from now on.
    conflicts: u32,
    /// What was asked to be written.
    writes: Vec<Value>,
}

#[derive(Clone)]
struct Server(Arc<Mutex<State>>);

impl Server {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            run: None,
            generation: 1,
            answers: true,
            knows_run: true,
            may_list_pods: true,
            is_deleted: false,
            conflicts: 0,
            writes: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn cluster(&self) -> Cluster {
        let server = self.clone();
        fake::cluster(move |asked| server.state().answer(&asked))
    }
}

impl State {
    fn recording(&self) -> Value {
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecording",
            "metadata": {
                "namespace": "shop", "name": "web", "uid": "uid-1", "generation": self.generation,
                "resourceVersion": self.generation.to_string(),
            },
            "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "run": self.run},
        })
    }

    fn part(&self) -> Value {
        let observed = if self.answers { self.generation } else { 1 };
        let entry = |run: &str, calls: &str| json!({"image": "sha256:ab", "container": "nginx", "run": run, "containers": 1, "calls": calls});
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecordingPart",
            "metadata": {
                "namespace": "shop", "name": "web.n1", "uid": "part", "resourceVersion": "5",
                "annotations": {"portcullis.dev/invited": "uid-1"},
            },
            "spec": {
                "recording": "web", "recordingUid": "uid-1", "node": "n1", "observedGeneration": observed,
                "entries": [entry("", "SCMP_ARCH_X86_64=0:1:0"), entry("smoke", "SCMP_ARCH_X86_64=0:1:0,1:1:0")],
            },
        })
    }

    fn answer(&mut self, asked: &Asked) -> (StatusCode, Value) {
        let watches = asked.query.contains("watch=true");
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", RECORDINGS) if self.is_deleted => {
                fake::refusal(StatusCode::NOT_FOUND, "NotFound", "not found")
            }
            ("GET", RECORDINGS) => (StatusCode::OK, self.recording()),
            ("PATCH", RECORDINGS) => {
                assert!(asked.query.contains("fieldManager=kubectl-seccomp"), "{}", asked.query);
                if self.conflicts > 0 {
                    self.conflicts -= 1;
                    return fake::refusal(StatusCode::CONFLICT, "Conflict", "the object has been modified");
                }
                assert_eq!(asked.body["metadata"]["resourceVersion"], self.generation.to_string());
                self.writes.push(asked.body["spec"].clone());
                self.generation += 1;
                let run = asked.body["spec"]["run"].as_str().map(str::to_owned);
                self.run = run.filter(|_| self.knows_run);
                (StatusCode::OK, self.recording())
            }
            ("GET", PODS) if !self.may_list_pods => {
                fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "it is forbidden")
            }
            ("GET", PODS) if !watches => {
                assert!(asked.query.contains("labelSelector=app%3Dweb"), "{}", asked.query);
                fake::list(&[json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "web-0"},
                    "spec": {"nodeName": "n1", "containers": []},
                    "status": {"phase": "Running", "containerStatuses": [{
                        "name": "nginx", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                        "state": {"running": {}},
                    }]},
                })])
            }
            ("GET", PARTS) if !watches => fake::list(&[self.part()]),
            ("GET", PARTS) => (StatusCode::OK, json!({"type": "MODIFIED", "object": self.part()})),
            ("GET", PODS) => (
                StatusCode::OK,
                json!({"type": "BOOKMARK", "object": {
                    "apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "2"},
                }}),
            ),
            other => panic!("nobody should ask for {other:?}"),
        }
    }
}

/// A signal reaches every test of this process, so they bracket one after another.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Brackets some work in a cluster; the nodes have a moment to answer.
async fn around(
    server: &Server,
    take_over: bool,
    work: impl AsyncFnOnce(&mut Nodes, &mut Signals) -> Result<Ended>,
) -> Result<Verdict> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let cluster = server.cluster();
    let recording = recordings::find(&cluster, "web").await.unwrap();
    let limit = Limit(Some(Duration::from_millis(200)));
    let run = Run { cluster: &cluster, recording, name: "smoke".to_owned(), limit };
    run.around(take_over, &mut Signals::new().unwrap(), &mut Console::new(), work).await
}

fn shell(script: &str) -> impl AsyncFnOnce(&mut Nodes, &mut Signals) -> Result<Ended> {
    let arguments = ["-c".into(), OsString::from(script)];
    async move |nodes: &mut Nodes, signals: &mut Signals| {
        child::run("sh".as_ref(), &arguments, nodes, signals).await
    }
}

fn set_and_taken_away() -> Vec<Value> {
    vec![json!({"run": "smoke"}), json!({"run": null})]
}

#[tokio::test]
async fn the_recording_names_the_run_while_the_command_runs_and_the_status_is_the_commands() {
    let server = Server::new();
    let meanwhile = async |nodes: &mut Nodes, signals: &mut Signals| {
        assert_eq!(server.state().run.as_deref(), Some("smoke"));
        assert_eq!(nodes.running().iter().collect::<Vec<_>>(), ["n1"]);
        shell("exit 3")(nodes, signals).await
    };
    assert_eq!(around(&server, false, meanwhile).await.unwrap(), Verdict::Exited(3));
    assert_eq!(server.state().writes, set_and_taken_away());
    assert_eq!(server.state().run, None);
}

#[tokio::test]
async fn a_write_that_was_overtaken_is_made_again() {
    let server = Server::new();
    server.state().conflicts = 2;
    assert_eq!(around(&server, false, shell("exit 0")).await.unwrap(), Verdict::Exited(0));
    assert_eq!(server.state().writes, set_and_taken_away());
}

#[tokio::test]
async fn the_command_is_not_run_where_a_node_does_not_answer() {
    let server = Server::new();
    server.state().answers = false;
    let error = around(&server, false, async |_, _| panic!("it is not run")).await.unwrap_err().to_string();
    assert!(error.contains("no answer in time from the recorder of the node n1"), "{error}");
    assert_eq!(server.state().run, None, "the run is taken away again");
}

#[tokio::test]
async fn what_is_missing_at_the_end_does_not_hide_how_the_command_ended() {
    let server = Server::new();
    let stops_answering = async |nodes: &mut Nodes, signals: &mut Signals| {
        // It answered the beginning, and nothing after that.
        server.state().answers = false;
        shell("kill -9 $$")(nodes, signals).await
    };
    assert_eq!(around(&server, false, stops_answering).await.unwrap(), Verdict::Exited(137));
    assert_eq!(server.state().run, None);
}

#[tokio::test]
async fn another_run_is_not_disturbed() {
    let server = Server::new();
    server.state().run = Some("nightly".to_owned());
    let error = around(&server, false, async |_, _| panic!("it is not run")).await.unwrap_err().to_string();
    assert!(error.contains("the run nightly is under way") && error.contains("--take-over"), "{error}");
    assert!(server.state().writes.is_empty());
    assert_eq!(around(&server, true, shell("exit 0")).await.unwrap(), Verdict::Exited(0));
    // One that somebody set meanwhile stays.
    let taken = async |nodes: &mut Nodes, signals: &mut Signals| {
        server.state().run = Some("other".to_owned());
        shell("exit 0")(nodes, signals).await
    };
    assert_eq!(around(&server, false, taken).await.unwrap(), Verdict::Exited(0));
    assert_eq!(server.state().run.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_recording_that_is_deleted_meanwhile_does_not_hide_how_the_command_ended() {
    let server = Server::new();
    let deletes = async |nodes: &mut Nodes, signals: &mut Signals| {
        server.state().is_deleted = true;
        shell("exit 4")(nodes, signals).await
    };
    assert_eq!(around(&server, false, deletes).await.unwrap(), Verdict::Exited(4));
}

#[tokio::test]
async fn without_the_right_to_read_pods_it_works_and_waits_for_fewer() {
    let server = Server::new();
    server.state().may_list_pods = false;
    assert_eq!(around(&server, false, shell("exit 0")).await.unwrap(), Verdict::Exited(0));
    assert_eq!(server.state().writes, set_and_taken_away());
}

#[tokio::test]
async fn an_older_definition_is_told_apart() {
    let server = Server::new();
    server.state().knows_run = false;
    let error = around(&server, false, async |_, _| panic!("it is not run")).await.unwrap_err().to_string();
    assert!(error.contains("knows no spec.run"), "{error}");
}

#[tokio::test]
async fn a_command_that_can_not_be_run_ends_the_run_too() {
    let server = Server::new();
    let missing = async |nodes: &mut Nodes, signals: &mut Signals| {
        child::run("/no/such/command".as_ref(), &[], nodes, signals).await
    };
    let error = format!("{:#}", around(&server, false, missing).await.unwrap_err());
    assert!(error.starts_with("can't run /no/such/command: "), "{error}");
    assert_eq!(server.state().writes, set_and_taken_away());
}

#[tokio::test]
async fn a_signal_goes_to_the_command() {
    let server = Server::new();
    let asked = "trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.1; done";
    assert_eq!(around(&server, false, shell(asked)).await.unwrap(), Verdict::Exited(7));
    assert_eq!(server.state().run, None);
}

#[test]
fn a_run_is_named_as_a_label_can_be() {
    for (program, name) in [
        ("./api-tests.sh", "api-tests.sh"),
        ("/usr/bin/npm", "npm"),
        ("my tests", "my-tests"),
        ("_x_", "x"),
        ("--", "run"),
        ("ä", "run"),
    ] {
        assert_eq!(name_of(&OsString::from(program)), name, "{program}");
        assert!(run_name(&name_of(&OsString::from(program))).is_ok());
    }
    let long = OsString::from(format!("{}.sh", "a".repeat(62)));
    assert_eq!(name_of(&long), "a".repeat(62));
    for wrong in ["", "a/b", "-a", "a-", "a b"] {
        assert!(run_name(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_run_speaks_of_the_absences_of_its_own_time() {
    let absence = |until| Absence { node: "n1".to_owned(), until: Some(until), ..Absence::default() };
    let tally = Tally { absences: [absence(90), absence(110)].into(), ..Tally::default() };
    let begun_at = Timestamp::from_second(100).unwrap();
    assert_eq!(absences_since(&tally, begun_at).collect::<Vec<_>>(), [&absence(110)]);
}
