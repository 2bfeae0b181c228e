use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::Value;

use super::*;
use crate::fake_api::{self, refusal};

fn process_and_reporter(taken: bool) -> (Process, Reporter, mpsc::UnboundedReceiver<(String, Value)>) {
    let process = Process::new("agent").unwrap();
    let (seen, requests) = mpsc::unbounded_channel();
    let client = fake_api::client(move |asked| {
        seen.send((format!("{} {}", asked.method, asked.path), asked.body.clone())).unwrap();
        if taken { (StatusCode::OK, asked.body) } else { refusal(StatusCode::FORBIDDEN, "Forbidden") }
    });
    let reporter = Reporter::new(&process, client, "agent-x").unwrap();
    (process, reporter, requests)
}

fn report(message: &str) -> Report {
    Report {
        level: Level::Warning,
        reason: "Repaired",
        action: "Repair",
        message: message.to_owned(),
        object: Some(ObjectReference {
            api_version: Some("portcullis.dev/v1alpha1".to_owned()),
            kind: Some("SeccompNode".to_owned()),
            name: Some("n1".to_owned()),
            ..ObjectReference::default()
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_published_at_once_and_its_repeats_as_a_series_every_five_minutes() {
    let (_process, reporter, mut requests) = process_and_reporter(true);
    reporter.report(report("shop/web.json was removed"));
    reporter.report(report("shop/web.json was removed"));
    reporter.report(report("shop/db.json was removed"));
    let (request, event) = requests.recv().await.unwrap();
    assert_eq!(request, "POST /apis/events.k8s.io/v1/namespaces/default/events");
    assert_eq!(event["note"], "shop/web.json was removed");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reportingController"], "portcullis-agent");
    assert_eq!(event["reportingInstance"], "agent-x");
    // The repeat is left out; another note is another Event.
    let (_, event) = requests.recv().await.unwrap();
    assert_eq!(event["note"], "shop/db.json was removed");

    tokio::time::advance(REPEAT).await;
    reporter.report(report("shop/web.json was removed"));
    let (request, event) = requests.recv().await.unwrap();
    assert!(request.starts_with("PATCH "), "{request}");
    assert_eq!(event["series"]["count"], 2);
    assert_eq!(reporter.reports.with_label_values(&["warning", "Repaired"]).get(), 4);
    assert_eq!(reporter.dropped.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_bounded_and_counted() {
    let (_process, reporter, mut requests) = process_and_reporter(true);
    for number in 0..QUEUE {
        reporter.report(report(&format!("file {number}")));
    }
    for _ in 0..BURST {
        requests.recv().await.unwrap();
    }
    // An event of another kind goes through again when the bucket has refilled.
    tokio::time::sleep(REFILL).await;
    reporter.report(report("the last"));
    let (_, event) = requests.recv().await.unwrap();
    assert_eq!(event["note"], "the last");
    assert_eq!(reporter.dropped.get(), u64::try_from(QUEUE).unwrap() - u64::from(BURST));
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_counted_and_stops_nothing() {
    let (process, reporter, mut requests) = process_and_reporter(false);
    reporter.report(report("one"));
    reporter.report(report("two"));
    requests.recv().await.unwrap();
    requests.recv().await.unwrap();
    tokio::task::yield_now().await;
    let families = process.registry.gather();
    let failed = families.iter().find(|family| family.name() == "portcullis_events_failed_total").unwrap();
    assert!(failed.get_metric()[0].get_counter().get_value() >= 1.0);
}

#[test]
fn a_long_note_is_cut_at_a_character() {
    let note = truncate("é".repeat(600));
    assert!(note.len() <= MAX_NOTE && note.ends_with('…'), "{} bytes", note.len());
    assert_eq!(truncate("short".to_owned()), "short");
}

#[tokio::test]
async fn a_report_without_an_object_makes_no_event() {
    let asked = Arc::new(Mutex::new(0));
    let process = Process::new("agent").unwrap();
    let counter = asked.clone();
    let client = fake_api::client(move |asked| {
        *counter.lock().unwrap() += 1;
        (StatusCode::OK, asked.body)
    });
    let reporter = Reporter::new(&process, client, "agent-x").unwrap();
    reporter.report(Report { object: None, ..report("no object") });
    drop(reporter);
    let shutdown = process.shutdown.clone();
    shutdown.cancel();
    process.run(async { Ok::<_, crate::BoxError>(()) }).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), 0);
}
