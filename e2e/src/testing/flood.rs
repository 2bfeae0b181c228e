//! A pod that floods ports with connections.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::busybox;
use crate::{
    Operator,
    image::NGINX,
    operator::{AGENTS, CONTROLLERS},
};

/// Opens hundreds of connections to each address and port given, in four forms: silent, with half a request line, with a header that never
/// ends, and with hundreds of requests whose answers are never read. It holds them all, and opens them anew every five seconds.
/// The image has Perl without its modules, so Linux's numbers stand for their names: `AF_INET`, `SOCK_STREAM`, `F_SETFL`, `O_NONBLOCK`.
const FLOOD: &str = r#"
$SIG{PIPE} = "IGNORE";
my ($seconds, @targets) = @ARGV;
my $end = time + $seconds;
my @forms = ("", "GET /metr", "GET /metrics HTTP/1.1\r\nHost: a\r\nX-Long: ", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" x 300);
my $opened = 0;
while (time < $end) {
    my @held;
    for my $target (@targets) {
        my ($host, $port) = split /:/, $target;
        for my $number (1 .. 420) {
            socket(my $connection, 2, 1, 0) or next;
            fcntl($connection, 4, 2048);
            connect($connection, pack("S n C4 x8", 2, $port, split(/\./, $host)));
            push @held, [$connection, $forms[$number % 4]];
        }
    }
    select(undef, undef, undef, 1);
    for my $held (@held) {
        $opened++ if getpeername($held->[0]);
        syswrite($held->[0], $held->[1]) if length $held->[1];
    }
    select(undef, undef, undef, 4);
}
print "opened $opened\n";
"#;

/// A pod of the cluster with Perl, which runs the flood for so many seconds and prints how many connections it opened.
///
/// # Errors
/// Where the spec is none of a pod.
pub fn flooding(targets: &[String], seconds: u64) -> Result<Pod> {
    let mut command = vec!["perl".to_owned(), "-e".to_owned(), FLOOD.to_owned(), seconds.to_string()];
    command.extend_from_slice(targets);
    busybox(
        "flood",
        &json!({
            "restartPolicy": "Never",
            "containers": [{ "name": "flood", "image": NGINX, "command": command }],
        }),
    )
}

/// Each address and port of the operator's agents and controllers.
///
/// # Errors
/// Where one of the pods has no address.
pub async fn ports(operator: &Operator) -> Result<Vec<String>> {
    let pods = [operator.pods(AGENTS).await?, operator.pods(CONTROLLERS).await?].concat();
    let address = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let addresses = pods.iter().map(address).collect::<Option<Vec<_>>>().context("a pod has no address")?;
    Ok(addresses.iter().flat_map(|address| [8080, 8081].map(|port| format!("{address}:{port}"))).collect())
}
