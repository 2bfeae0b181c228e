//! Who may read the metrics, as the API server says: TokenReview for who it is, SubjectAccessReview for whether he may.
//!
//! The same questions as kube-rbac-proxy and controller-runtime ask, so the same ClusterRoles answer them: `get` of the
//! nonResourceURL `/metrics`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::explain;

/// How long the API server may take for one question.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a yes holds. A right that was taken away ends by then.
const YES: Duration = Duration::from_secs(60);
/// How long a no holds. A right that was given is there by then.
const NO: Duration = Duration::from_secs(30);
/// How long a yes outlives the API server: metrics are wanted most when it is away.
const YES_WITHOUT_SERVER: Duration = Duration::from_secs(3600);
/// How many answers are kept of each kind. Who is refused can't push out who is not.
const KEPT_YES: usize = 64;
const KEPT_NO: usize = 512;
/// How often one peer may have tokens looked at that are not known, and how many at once.
const OF_PEER: Pace = Pace { every: Duration::from_secs(1), burst: 4 };
/// The same for all together.
const OF_ALL: Pace = Pace { every: Duration::from_millis(100), burst: 20 };
/// How many peers' paces are remembered.
const PEERS: usize = 1024;

/// What is said to who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// He may.
    Allowed,
    /// Nobody knows who he is.
    Unknown,
    /// He is known, by this name, and may not.
    Forbidden(String),
    /// Too many unknown tokens come from him, or from all.
    TooMany,
    /// The API server does not say.
    Unreviewed,
}

/// What [`Verdict::kind`] may be.
pub(crate) const KINDS: [&str; 5] = ["allowed", "unauthenticated", "forbidden", "too_many", "unreviewed"];

impl Verdict {
    /// A metric's label.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Allowed => KINDS[0],
            Self::Unknown => KINDS[1],
            Self::Forbidden(_) => KINDS[2],
            Self::TooMany => KINDS[3],
            Self::Unreviewed => KINDS[4],
        }
    }
}

/// Asks the API server, not often.
pub(crate) struct Access {
    client: Client,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the token's digest, so that no token stays in memory.
    yes: HashMap<Digest, Instant>,
    no: HashMap<Digest, (Instant, Verdict)>,
    peers: HashMap<IpAddr, Instant>,
    all: Option<Instant>,
    warned: Option<Instant>,
}

type Digest = [u8; 32];

/// The generic cell rate algorithm: `burst` at once, then one `every` so often.
#[derive(Clone, Copy, Debug)]
struct Pace {
    every: Duration,
    burst: u32,
}

impl Pace {
    /// When the next would come if this one is let through; none where it is not.
    fn take(self, due: Option<Instant>, now: Instant) -> Option<Instant> {
        let next = due.unwrap_or(now).max(now) + self.every;
        (next - now <= self.every * self.burst).then_some(next)
    }
}

/// What is known of a token before anybody is asked.
enum Known {
    Verdict(Verdict),
    /// A yes that is too old to count by itself.
    OldYes,
    Nothing,
}

impl Access {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, state: Mutex::default() }
    }

    /// Whether whoever has this token may read the metrics.
    pub(crate) async fn judge(&self, peer: IpAddr, token: &str) -> Verdict {
        let digest: Digest = Sha256::digest(token).into();
        let known = self.state().known(&digest);
        let old_yes = match known {
            Known::Verdict(verdict) => return verdict,
            Known::OldYes => true,
            // Who was let in before is asked about again at any time, which is once a minute at most.
            Known::Nothing if !self.state().may_ask(peer) => return Verdict::TooMany,
            Known::Nothing => false,
        };
        match timeout(PATIENCE, self.review(token)).await {
            Ok(Ok(verdict)) => {
                self.state().remember(digest, verdict.clone());
                verdict
            }
            failed => {
                let error = match failed {
                    Ok(Err(error)) => explain(&error),
                    _ => format!("no answer within {} s", PATIENCE.as_secs()),
                };
                if self.state().may_warn() {
                    warn!(error, "the API server does not say who may read the metrics");
                }
                if old_yes { Verdict::Allowed } else { Verdict::Unreviewed }
            }
        }
    }

    async fn review(&self, token: &str) -> Result<Verdict, kube::Error> {
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let asked = TokenReview { spec, ..Default::default() };
        let status = reviews.create(&PostParams::default(), &asked).await?.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Verdict::Unknown);
        };
        let name = user.username.clone().unwrap_or_default();
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let asked = SubjectAccessReview { spec: may_read_metrics(user), ..Default::default() };
        let status = reviews.create(&PostParams::default(), &asked).await?.status.unwrap_or_default();
        Ok(if status.allowed { Verdict::Allowed } else { Verdict::Forbidden(name) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each entry stands for itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_read_metrics(user: UserInfo) -> SubjectAccessReviewSpec {
    let UserInfo { username, groups, uid, extra } = user;
    SubjectAccessReviewSpec {
        user: username,
        groups,
        uid,
        extra,
        non_resource_attributes: Some(NonResourceAttributes {
            path: Some("/metrics".to_owned()),
            verb: Some("get".to_owned()),
        }),
        resource_attributes: None,
    }
}

impl State {
    fn known(&self, digest: &Digest) -> Known {
        let now = Instant::now();
        if let Some((at, verdict)) = self.no.get(digest)
            && now - *at < NO
        {
            return Known::Verdict(verdict.clone());
        }
        match self.yes.get(digest) {
            Some(at) if now - *at < YES => Known::Verdict(Verdict::Allowed),
            Some(at) if now - *at < YES_WITHOUT_SERVER => Known::OldYes,
            _ => Known::Nothing,
        }
    }

    fn may_ask(&mut self, peer: IpAddr) -> bool {
        let now = Instant::now();
        if self.peers.len() >= PEERS {
            self.peers.retain(|_, due| *due > now);
        }
        if self.peers.len() >= PEERS && !self.peers.contains_key(&peer) {
            return false;
        }
        let Some(next) = OF_PEER.take(self.peers.get(&peer).copied(), now) else { return false };
        let Some(all) = OF_ALL.take(self.all, now) else { return false };
        self.peers.insert(peer, next);
        self.all = Some(all);
        true
    }

    fn remember(&mut self, digest: Digest, verdict: Verdict) {
        let now = Instant::now();
        match verdict {
            Verdict::Allowed => {
                self.no.remove(&digest);
                make_room(&mut self.yes, KEPT_YES, |at| *at);
                self.yes.insert(digest, now);
            }
            no => {
                self.yes.remove(&digest);
                make_room(&mut self.no, KEPT_NO, |(at, _)| *at);
                self.no.insert(digest, (now, no));
            }
        }
    }

    fn may_warn(&mut self) -> bool {
        let now = Instant::now();
        let may = self.warned.is_none_or(|at| now - at >= Duration::from_secs(60));
        if may {
            self.warned = Some(now);
        }
        may
    }
}

/// Leaves out the oldest where there is no room for one more.
fn make_room<V>(kept: &mut HashMap<Digest, V>, most: usize, at: impl Fn(&V) -> Instant) {
    if kept.len() < most {
        return;
    }
    if let Some(oldest) = kept.iter().min_by_key(|(_, value)| at(value)).map(|(digest, _)| *digest) {
        kept.remove(&oldest);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        net::Ipv4Addr,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use http::StatusCode;
    use serde_json::json;
    use tokio::time::advance;

    use super::*;
    use crate::fake_api::{self, refusal};

    const PROMETHEUS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    /// An API server that knows `prometheus`, who may, and `tenant`, who may not. How often it was asked about tokens, and whether
    /// it is away (1).
    pub(crate) fn access() -> (Access, Arc<AtomicU32>, Arc<AtomicU32>) {
        let (asked, away) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (count, gone) = (asked.clone(), away.clone());
        let client = fake_api::client(move |request| {
            if gone.load(Ordering::Relaxed) == 1 {
                return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
            }
            let spec = &request.body["spec"];
            let mut answer = request.body.clone();
            match request.path.as_str() {
                "/apis/authentication.k8s.io/v1/tokenreviews" => {
                    count.fetch_add(1, Ordering::Relaxed);
                    let known = ["prometheus", "tenant"].iter().find(|name| spec["token"] == **name);
                    answer["status"] = match known {
                        Some(name) => {
                            json!({ "authenticated": true, "user": { "username": name, "groups": ["g"] } })
                        }
                        None => json!({ "authenticated": false, "error": "no such token" }),
                    };
                }
                "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
                    assert_eq!(spec["nonResourceAttributes"], json!({ "path": "/metrics", "verb": "get" }));
                    assert_eq!(spec["groups"], json!(["g"]));
                    answer["status"] = json!({ "allowed": spec["user"] == "prometheus" });
                }
                path => panic!("{path} was asked"),
            }
            (StatusCode::CREATED, answer)
        });
        (Access::new(client), asked, away)
    }

    #[tokio::test(start_paused = true)]
    async fn the_api_server_is_asked_once_for_as_long_as_an_answer_holds() {
        let (access, asked, _) = access();
        for _ in 0..3 {
            assert_eq!(access.judge(PROMETHEUS, "prometheus").await, Verdict::Allowed);
            assert_eq!(access.judge(STRANGER, "tenant").await, Verdict::Forbidden("tenant".to_owned()));
            assert_eq!(access.judge(STRANGER, "forged").await, Verdict::Unknown);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        advance(NO).await;
        assert_eq!(access.judge(STRANGER, "tenant").await, Verdict::Forbidden("tenant".to_owned()));
        assert_eq!(access.judge(PROMETHEUS, "prometheus").await, Verdict::Allowed);
        assert_eq!(asked.load(Ordering::Relaxed), 4, "a yes holds longer");
        advance(YES).await;
        assert_eq!(access.judge(PROMETHEUS, "prometheus").await, Verdict::Allowed);
        assert_eq!(asked.load(Ordering::Relaxed), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_tokens_reaches_the_api_server_at_a_pace_and_shuts_nobody_else_out() {
        let (access, asked, _) = access();
        assert_eq!(access.judge(PROMETHEUS, "prometheus").await, Verdict::Allowed);
        for second in 0..120 {
            for token in 0..200 {
                let verdict = access.judge(STRANGER, &format!("{second}-{token}")).await;
                assert!(matches!(verdict, Verdict::Unknown | Verdict::TooMany), "{verdict:?}");
            }
            assert_eq!(access.judge(PROMETHEUS, "prometheus").await, Verdict::Allowed, "after {second} s");
            advance(Duration::from_secs(1)).await;
        }
        let asked = asked.load(Ordering::Relaxed);
        assert!((120..=130).contains(&asked), "{asked} of 24,000 tokens reached the API server");
        // Another who was never seen is let through at once.
        assert_eq!(access.judge(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)), "forged").await, Verdict::Unknown);
        let state = access.state();
        assert!(state.no.len() <= KEPT_NO && state.yes.len() == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn many_peers_together_have_a_pace_too() {
        let (access, asked, _) = access();
        for pod in 0..5000_u32 {
            access.judge(IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + pod)), &format!("{pod}")).await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), OF_ALL.burst);
        assert!(access.state().peers.len() <= PEERS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_in_stays_in_while_the_api_server_is_away() {
        let (access, _, away) = access();
        assert_eq!(access.judge(PROMETHEUS, "prometheus").await, Verdict::Allowed);
        away.store(1, Ordering::Relaxed);
        advance(YES * 10).await;
        assert_eq!(access.judge(PROMETHEUS, "prometheus").await, Verdict::Allowed);
        assert_eq!(access.judge(STRANGER, "tenant").await, Verdict::Unreviewed);
        advance(YES_WITHOUT_SERVER).await;
        assert_eq!(access.judge(PROMETHEUS, "prometheus").await, Verdict::Unreviewed);
    }
}
