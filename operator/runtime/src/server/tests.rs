use tokio::time::timeout;

use super::{
    attack::{Attack, Form, ask},
    *,
};
use crate::Readiness;

/// Longer than anything takes here, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often each path is asked for under attack.
const ROUNDS: usize = 10;
/// Connections of each form to each port, all in this process and not optimised. The test on a cluster has thousands.
const EACH: usize = 60;
const HERE: &str = "127.0.0.1:0";

struct Server {
    probes: SocketAddr,
    metrics: SocketAddr,
    readiness: Readiness,
    shutdown: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<Result<(), BoxError>>>,
}

/// Both ports, as a process has them.
fn serve() -> Server {
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    let registry = crate::metrics::registry("agent").unwrap();
    let bind = |limits| {
        let port = Port::bind(HERE.parse().unwrap(), "--test", limits).unwrap();
        (port.listener.local_addr().unwrap(), port)
    };
    let ((probes, probes_port), (metrics, metrics_port)) = (bind(Limits::PROBES), bind(Limits::METRICS));
    let (pages, stop) = (Probes { readiness: readiness.clone() }, shutdown.clone());
    let first = tokio::spawn(async { Ok(probes_port.serve(pages, None, stop).await?) });
    let (pages, stop) = (Metrics::open(registry), shutdown.clone());
    let second =
        tokio::spawn(on_own_thread(
            "metrics",
            || async move { Ok(metrics_port.serve(pages, None, stop).await?) },
        ));
    Server { probes, metrics, readiness, shutdown, tasks: vec![first, second] }
}

impl Server {
    async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            timeout(Limits::METRICS.deadline * 2, task).await.expect("the server stops").unwrap().unwrap();
        }
    }
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, path).await.unwrap()
}

#[tokio::test]
async fn answers_what_a_kubelet_and_prometheus_ask_and_stops_when_told() {
    let server = serve();
    assert_eq!(get(server.probes, "/livez").await.0, 200);
    assert_eq!(get(server.probes, "/readyz").await.0, 503, "ready without a gate");
    let gate = server.readiness.gate("first-sync");
    let (status, answer) = get(server.probes, "/readyz").await;
    assert!(status == 503 && answer.ends_with("waiting for: first-sync\n"), "{answer}");
    gate.open();
    assert_eq!(get(server.probes, "/readyz").await.0, 200);
    assert_eq!(get(server.probes, "/metrics").await.0, 404, "metrics are the other port's");

    let (status, answer) = get(server.metrics, "/metrics").await;
    assert!(status == 200 && answer.contains("portcullis_build_info{role=\"agent\",version="), "{answer}");
    assert!(answer.contains("process_resident_memory_bytes "), "{answer}");
    assert_eq!(get(server.metrics, "/readyz").await.0, 404, "probes are the other port's");
    server.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let port = Port::bind(HERE.parse().unwrap(), "--test", Limits::PROBES).unwrap();
    let address = port.listener.local_addr().unwrap();
    let error = Port::bind(address, "--test", Limits::PROBES).unwrap_err();
    assert_eq!(error.to_string(), format!("can't listen on {address} (--test)"));
}

/// What is asked under attack is answered before many more hostile connections have come: a measure that does not depend on how busy the
/// machine is.
async fn in_turn<T>(attack: &Attack, connections: usize, asked: impl Future<Output = T>) -> T {
    let before = attack.made();
    let most = before + u64::try_from(connections * 5).unwrap().max(20_000);
    tokio::select! {
        answer = asked => answer,
        () = attack.has_made(most) => panic!("no answer while {connections} became {}", attack.made() - before),
        () = tokio::time::sleep(PATIENCE) => panic!("no answer, and {} came meanwhile", attack.made() - before),
    }
}

/// Asks again and again under attack; every single question must be answered.
async fn outlives(sources: Vec<IpAddr>, forms: &[Form], each: usize) {
    let server = serve();
    server.readiness.gate("first-sync").open();
    let attacks = [(server.probes, "/readyz"), (server.metrics, "/metrics")]
        .map(|(target, path)| Attack::begin(target, path, sources.clone(), forms.to_vec(), each));
    for attack in &attacks {
        attack.has_made(1000).await;
    }
    for _ in 0..ROUNDS {
        for (address, path, attack) in [
            (server.probes, "/livez", &attacks[0]),
            (server.probes, "/readyz", &attacks[0]),
            (server.metrics, "/metrics", &attacks[1]),
        ] {
            let (status, _) = in_turn(attack, forms.len() * each, ask(address, path)).await.unwrap();
            assert_eq!(status, 200, "{path}");
        }
    }
    drop(attacks);
    server.stop().await;
}

fn address(c: u8, d: u8) -> IpAddr {
    [127, 0, c, d].into()
}

#[tokio::test]
async fn more_connections_of_one_pod_than_there_are_places_hold_up_nobody() {
    outlives(vec![address(1, 1)], &Form::HOLDING, EACH).await;
}

#[tokio::test]
async fn neither_do_those_of_many_pods() {
    outlives((1..=200).map(|pod| address(2, pod)).collect(), &Form::HOLDING, EACH).await;
}

/// As where a network translates every pod's address to the node's.
#[tokio::test]
async fn neither_do_those_of_the_asker_s_own_address() {
    outlives(vec![address(0, 1)], &Form::HOLDING, EACH).await;
}

#[tokio::test]
async fn neither_do_connections_that_come_and_go_as_fast_as_they_can() {
    outlives(vec![address(3, 1)], &[Form::Churns], EACH).await;
}

/// Each form alone is ended by the deadline, with nobody else there to take its place.
#[tokio::test]
async fn every_connection_ends_by_itself() {
    let server = serve();
    for form in Form::HOLDING {
        let attack = Attack::begin(server.probes, "/readyz", vec![address(4, 1)], vec![form], 1);
        // The second is made once the server has ended the first.
        timeout(Limits::PROBES.deadline * 5, attack.has_made(2))
            .await
            .unwrap_or_else(|_| panic!("{form:?} is held for ever"));
    }
    server.stop().await;
}

/// The metrics over TLS, for whom an API server permits them.
#[tokio::test]
async fn with_tls_whoever_is_permitted_reads_the_metrics_and_a_flood_holds_up_nobody() {
    let shutdown = CancellationToken::new();
    let port = Port::bind(HERE.parse().unwrap(), "--test", Limits::METRICS).unwrap();
    let at = port.listener.local_addr().unwrap();
    let tls = Tls::new(None).unwrap();
    let connector = super::tls::tests::connector(&tls);
    let (acceptor, stop) = (tls.acceptor().unwrap(), shutdown.clone());
    let server = tokio::spawn(on_own_thread("metrics", || async move {
        let (access, ..) = super::access::tests::access();
        let pages = Metrics::guarded(crate::metrics::registry("agent")?, access)?;
        Ok(port.serve(pages, Some(acceptor), stop).await?)
    }));
    let scrape = async |lines: &str| -> std::io::Result<(u16, String)> {
        let stream = tokio::net::TcpStream::connect(at).await?;
        let stream = connector.connect("portcullis".try_into().unwrap(), stream).await?;
        super::attack::ask_over(stream, "/metrics", lines).await
    };
    for (lines, expected) in [
        ("Authorization: Bearer prometheus\r\n", 200),
        ("authorization: bearer prometheus\r\n", 200),
        ("Authorization: Bearer tenant\r\n", 403),
        ("Authorization: Bearer forged\r\n", 401),
        ("Authorization: Basic prometheus\r\n", 401),
        ("Authorization: Bearer \r\n", 401),
        ("", 401),
    ] {
        let (status, answer) = scrape(lines).await.unwrap();
        assert_eq!(status, expected, "{lines:?}: {answer}");
        assert_eq!(answer.contains("portcullis_build_info"), status == 200, "{answer}");
    }
    let (_, answer) = scrape("Authorization: Bearer prometheus\r\n").await.unwrap();
    for (verdict, count) in [("allowed", 3), ("forbidden", 1), ("unauthenticated", 4)] {
        let line = format!("portcullis_metrics_requests_total{{verdict=\"{verdict}\"}} {count}\n");
        assert!(answer.contains(&line), "no {line}{answer}");
    }
    assert!(ask(at, "/metrics").await.is_err(), "plain HTTP is answered");

    let forms = [&Form::HOLDING[..], &[Form::Churns]].concat();
    let hostile = forms.len() * EACH;
    let attack = Attack::begin(at, "/metrics", vec![address(5, 1)], forms, EACH);
    attack.has_made(1000).await;
    for _ in 0..ROUNDS {
        let scraped = scrape("Authorization: Bearer prometheus\r\n");
        assert_eq!(in_turn(&attack, hostile, scraped).await.unwrap().0, 200);
    }
    drop(attack);
    shutdown.cancel();
    timeout(Limits::METRICS.deadline * 2, server).await.expect("the server stops").unwrap().unwrap();
}
