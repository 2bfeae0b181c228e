//! `/metrics`, for Prometheus.

use std::net::IpAddr;

use hyper::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    http::request,
};
use prometheus::{IntCounterVec, Opts, Registry, TextEncoder};
use tracing::error;

use super::{
    Access, Answer, Pages,
    access::{KINDS, Verdict},
    text, unless_it_reads,
};

/// What Prometheus asks.
pub(crate) struct Metrics {
    registry: Registry,
    guard: Option<Guard>,
}

/// Who may ask, and how often which was said.
struct Guard {
    access: Access,
    verdicts: IntCounterVec,
}

impl Pages for Metrics {
    async fn answer(&self, peer: IpAddr, request: &request::Parts) -> Answer {
        if let Some(refused) = unless_it_reads(&request.method) {
            return refused;
        }
        if request.uri.path() != "/metrics" {
            return text(StatusCode::NOT_FOUND, "there is /metrics\n".to_owned());
        }
        match &self.guard {
            None => self.show(),
            Some(guard) => match guard.refusal(peer, &request.headers).await {
                Some(refusal) => refusal,
                None => self.show(),
            },
        }
    }
}

impl Guard {
    async fn refusal(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Answer> {
        let verdict = match bearer(headers) {
            Some(token) => self.access.judge(peer, token).await,
            None => Verdict::Unknown,
        };
        self.verdicts.with_label_values(&[verdict.kind()]).inc();
        let (status, said) = match verdict {
            Verdict::Allowed => return None,
            Verdict::Unknown => {
                (StatusCode::UNAUTHORIZED, "a bearer token that the API server knows is needed\n".to_owned())
            }
            Verdict::Forbidden(user) => {
                (StatusCode::FORBIDDEN, format!("{user} may not get the nonResourceURL /metrics\n"))
            }
            Verdict::TooMany => {
                (StatusCode::TOO_MANY_REQUESTS, "too many unknown tokens, try again\n".to_owned())
            }
            Verdict::Unreviewed => {
                let said = "the API server does not say who may read the metrics, try again\n";
                (StatusCode::SERVICE_UNAVAILABLE, said.to_owned())
            }
        };
        let mut answer = text(status, said);
        let header = match status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = header {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Some(answer)
    }
}

/// The token of `Authorization: Bearer <token>`, the scheme in any case (RFC 7235).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl Metrics {
    /// For everybody.
    pub(crate) const fn open(registry: Registry) -> Self {
        Self { registry, guard: None }
    }

    /// For whom the API server permits it.
    ///
    /// # Errors
    /// Where the count of what was said is registered already.
    pub(crate) fn guarded(registry: Registry, access: Access) -> Result<Self, prometheus::Error> {
        let verdicts = IntCounterVec::new(
            Opts::new(
                "portcullis_metrics_requests_total",
                "Requests for these metrics by what was said to them: allowed, unauthenticated, forbidden, \
                 too_many (unknown tokens), unreviewed (the API server did not answer)",
            ),
            &["verdict"],
        )?;
        for kind in KINDS {
            verdicts.with_label_values(&[kind]);
        }
        registry.register(Box::new(verdicts.clone()))?;
        Ok(Self { registry, guard: Some(Guard { access, verdicts }) })
    }

    fn show(&self) -> Answer {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(body) => {
                let mut response = text(StatusCode::OK, body);
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static(prometheus::TEXT_FORMAT));
                response
            }
            Err(error) => {
                error!(%error, "can't encode the metrics");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("can't encode the metrics: {error}\n"))
            }
        }
    }
}
