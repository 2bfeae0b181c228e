//! `/livez` and `/readyz`, for the kubelet.

use std::net::IpAddr;

use hyper::{StatusCode, http::request};

use super::{Answer, Pages, text, unless_it_reads};
use crate::Readiness;

/// What the kubelet asks.
#[derive(Clone, Debug)]
pub(crate) struct Probes {
    /// What `/readyz` waits for.
    pub(crate) readiness: Readiness,
}

impl Pages for Probes {
    async fn answer(&self, _: IpAddr, request: &request::Parts) -> Answer {
        if let Some(refused) = unless_it_reads(&request.method) {
            return refused;
        }
        match request.uri.path() {
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready(),
            _ => text(StatusCode::NOT_FOUND, "there are /livez and /readyz\n".to_owned()),
        }
    }
}

impl Probes {
    fn ready(&self) -> Answer {
        match self.readiness.closed() {
            Some(closed) if closed.is_empty() => text(StatusCode::OK, "ok\n".to_owned()),
            Some(closed) => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", closed.join(", ")))
            }
            None => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        }
    }
}
