//! What a process answers over HTTP/1.1: the kubelet's probes on one port, metrics on another.
//!
//! Any pod may reach both where no network plugin enforces NetworkPolicies, so nothing here is anybody's for long: a connection has one
//! request, a deadline over all of it, and a place that it loses to a newcomer where all are taken. Nobody waits for another to leave.

mod access;
mod connection;
mod metrics;
mod probes;
mod slots;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode, header, http::request};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Semaphore, oneshot},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use self::slots::Slots;
pub(crate) use self::{access::Access, metrics::Metrics, probes::Probes, tls::Tls};
use crate::{BoxError, StartError};

/// How long to wait after a failed accept, which nearly always means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What one port spends on its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many connections are served at once.
    places: usize,
    /// How many the kernel holds until they are accepted.
    backlog: u32,
    /// How much of what a client sends the kernel holds before it is read: it counts as the container's memory.
    receive_buffer: u32,
    /// How long a client may take for a request's head.
    head: Duration,
    /// How large a request's head may be.
    head_bytes: usize,
    /// How long a connection may take from first to last.
    deadline: Duration,
}

impl Limits {
    /// A probe is answered in a millisecond and has a few headers. The places are many, so that one is lost only to a flood
    /// that comes while the request is on its way.
    pub(crate) const PROBES: Self = Self {
        places: 128,
        backlog: 4096,
        receive_buffer: 4 << 10,
        head: Duration::from_secs(2),
        head_bytes: 8 << 10,
        deadline: Duration::from_secs(2),
    };
    /// A head may hold a token.
    pub(crate) const METRICS: Self = Self {
        places: 64,
        backlog: 1024,
        receive_buffer: 8 << 10,
        head: Duration::from_secs(2),
        head_bytes: 16 << 10,
        deadline: Duration::from_secs(8),
    };
}

/// What a port answers.
pub(crate) trait Pages: Send + Sync + 'static {
    /// The answer to a request that came from a peer.
    fn answer(&self, peer: IpAddr, request: &request::Parts) -> impl Future<Output = Answer> + Send;
}

/// A whole answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A port with its limits.
#[derive(Debug)]
pub(crate) struct Port {
    listener: std::net::TcpListener,
    limits: Limits,
}

impl Port {
    /// Binds the listener, so that a port in use ends the process at its start. `setting` is named where it can't be.
    pub(crate) fn bind(
        address: SocketAddr,
        setting: &'static str,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let listen = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            // Accepted sockets inherit both. One that is dropped is gone at once, with what its client did not take: otherwise the kernel
            // would hold answers that nobody reads for minutes, as memory of this container, and without a bound on how many.
            socket.set_zero_linger()?;
            socket.set_recv_buffer_size(limits.receive_buffer)?;
            socket.bind(address)?;
            socket.listen(limits.backlog)?.into_std()
        };
        let listener = listen().map_err(|source| StartError::Listen { address, setting, source })?;
        Ok(Self { listener, limits })
    }

    /// Serves until shutdown, then lets open connections end, which their deadline bounds.
    ///
    /// # Errors
    /// Where the runtime can't watch the socket.
    pub(crate) async fn serve(
        self,
        pages: impl Pages,
        tls: Option<TlsAcceptor>,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let Self { listener, limits } = self;
        let listener = TcpListener::from_std(listener)?;
        let (pages, slots) = (Arc::new(pages), Arc::new(Slots::new(limits.places)));
        // A connection that lost its place is gone once its task has run: until then it holds a file descriptor, and only so many may.
        let descriptors = Arc::new(Semaphore::new(limits.places * 2));
        let connections = TaskTracker::new();
        let mut accepted_at_once = 0;
        loop {
            let accept = async {
                let permit = descriptors.clone().acquire_owned().await;
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                accepted = accept => accepted,
                () = shutdown.cancelled() => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "the server of probes or metrics can't accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = address.ip().to_canonical();
            let mut place = slots.enter(peer);
            let (pages, tls) = (pages.clone(), tls.clone());
            connections.spawn(async move {
                let served = connection::serve(stream, tls, peer, limits, &*pages);
                tokio::select! {
                    ended = served => if let Err(error) = ended {
                        debug!(%peer, error = &*error, "a connection broke");
                    },
                    () = place.lost() => debug!(%peer, "a connection gave way to another"),
                }
                drop((place, permit));
            });
            // Fewer at a time than there are places: a connection is looked at before others may take its place.
            accepted_at_once += 1;
            if accepted_at_once == limits.places / 4 {
                accepted_at_once = 0;
                tokio::task::yield_now().await;
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
        Ok(())
    }
}

/// Runs a future on a thread of its own, with a runtime of its own: however busy it is, the role's tasks get their turn.
///
/// # Errors
/// Those of the future; where there can be no thread or runtime, or it panicked.
pub(crate) async fn on_own_thread<F>(
    name: &'static str,
    future: impl FnOnce() -> F + Send + 'static,
) -> Result<(), BoxError>
where
    F: Future<Output = Result<(), BoxError>>,
{
    let (ended, end) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).stack_size(1 << 20).spawn(move || {
        // Nobody listens where the process is past its time to stop.
        let _: Result<(), _> = ended.send(runtime.block_on(async { future().await }));
    })?;
    end.await.unwrap_or_else(|_| Err("its thread panicked".into()))
}

fn text(status: StatusCode, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The refusal of what would change something.
fn unless_it_reads(method: &Method) -> Option<Answer> {
    (!matches!(*method, Method::GET | Method::HEAD))
        .then(|| text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n".to_owned()))
}

#[cfg(test)]
mod attack;
#[cfg(test)]
mod tests;
