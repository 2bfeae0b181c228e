//! `/livez`, `/readyz` and `/metrics` over plain HTTP/1.1.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use prometheus::{Registry, TextEncoder};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{Readiness, StartError};

/// How many connections are served at once; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may take for a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept, which nearly always means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Binds the listener, so that a port in use ends the process at its start.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|source| StartError::Listen { address, source })
}

/// What the server answers from.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    pub(crate) registry: Registry,
    pub(crate) readiness: Readiness,
}

/// Serves until shutdown, then lets open requests end.
pub(crate) async fn serve(listener: TcpListener, pages: Pages, shutdown: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accept = async {
            let permit = permits.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accept => accepted,
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "the metrics and health server can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = graceful.watch(connection(stream, pages.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection to the metrics and health server broke");
            }
            drop(permit);
        });
    }
    graceful.shutdown().await;
}

fn connection(
    stream: TcpStream,
    pages: Pages,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::Service<
        Request<Incoming>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send,
    >,
> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = pages.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n".to_owned());
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        match self.readiness.closed() {
            Some(closed) if closed.is_empty() => text(StatusCode::OK, "ok\n".to_owned()),
            Some(closed) => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", closed.join(", ")))
            }
            None => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(body) => {
                let mut response = text(StatusCode::OK, body);
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(prometheus::TEXT_FORMAT));
                response
            }
            Err(error) => {
                error!(%error, "can't encode the metrics");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("can't encode the metrics: {error}\n"))
            }
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_what_a_kubelet_and_prometheus_ask_and_stops_when_told() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::default();
        let pages =
            Pages { registry: crate::metrics::registry("agent").unwrap(), readiness: readiness.clone() };
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, pages, shutdown.clone()));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503 "), "ready without a gate");
        let gate = readiness.gate("first-sync");
        let answer = get(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("waiting for: first-sync\n"),
            "{answer}"
        );
        gate.open();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
        let metrics = get(address, "/metrics").await;
        assert!(metrics.contains("portcullis_build_info{role=\"agent\",version="), "{metrics}");
        assert!(metrics.contains("process_resident_memory_bytes "), "{metrics}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));

        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), server).await.expect("the server stops").unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_so() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let error = bind(address).unwrap_err();
        assert_eq!(error.to_string(), format!("can't listen on {address} (--listen)"));
    }
}
