//! What went wrong between here and the API server, and what to do about it.

use std::{error::Error, fmt};

use anyhow::anyhow;
use kube::{Resource, core::Status};

/// What was asked of the API server, to say it where it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) verb: &'static str,
    pub(crate) resource: String,
    pub(crate) group: String,
    /// None for every namespace, and for what is in none.
    pub(crate) namespace: Option<String>,
}

impl Attempt {
    /// A verb on a kind of object.
    pub(crate) fn new<K: Resource<DynamicType = ()>>(verb: &'static str, namespace: Option<&str>) -> Self {
        Self {
            verb,
            resource: K::plural(&()).into_owned(),
            group: K::group(&()).into_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }

    /// The error of this attempt, for people.
    pub(crate) fn failed(&self, error: &kube::Error) -> anyhow::Error {
        let failure = Failure { kind: FailureKind::of(error), message: self.message(error) };
        anyhow!(failure)
    }

    fn message(&self, error: &kube::Error) -> String {
        match FailureKind::of(error) {
            FailureKind::NotInstalled => format!(
                "the cluster knows no {}: Portcullis's resource definitions are not installed; install Portcullis, see \
                 docs/install.md",
                self.resource
            ),
            FailureKind::Forbidden => format!("can't {self}: {}. {}", explain(error), self.remedy()),
            _ => format!("can't {self}: {}", explain(error)),
        }
    }

    fn remedy(&self) -> String {
        let (role, place) = match &self.namespace {
            Some(namespace) => ("Role", format!(" in the namespace {namespace}")),
            None => ("ClusterRole", String::new()),
        };
        format!(
            "Ask the cluster's administrator for a {role} with the verb {} on the resource {} of the API group {:?}{place}",
            self.verb, self.resource, self.group
        )
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in the namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// What kind of failure it was, for a command that can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The resource does not exist: the CRDs are missing.
    NotInstalled,
    /// There is no object of that name.
    NotFound,
    /// A right is missing.
    Forbidden,
    /// The object has been changed meanwhile, or another field manager owns what was written.
    Conflict,
    /// No answer came.
    Unreachable,
    /// Anything else.
    Other,
}

impl FailureKind {
    fn of(error: &kube::Error) -> Self {
        let status = match error {
            kube::Error::Api(status) => status,
            kube::Error::Service(_) | kube::Error::HyperError(_) => return Self::Unreachable,
            _ => return Self::Other,
        };
        match status.code {
            // For an object that is missing the server names it; for a resource it has no details.
            404 if status.details.as_ref().is_some_and(|details| !details.name.is_empty()) => Self::NotFound,
            404 => Self::NotInstalled,
            403 => Self::Forbidden,
            409 => Self::Conflict,
            _ => Self::Other,
        }
    }

    /// That of an error of an [`Attempt`].
    pub(crate) fn of_attempt(error: &anyhow::Error) -> Self {
        error.downcast_ref::<Failure>().map_or(Self::Other, |failure| failure.kind)
    }
}

/// An [`Attempt`] that failed.
#[derive(Debug)]
struct Failure {
    kind: FailureKind,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// That there is no object of a name, in words that say where it was looked for.
pub(crate) fn not_found(message: String) -> anyhow::Error {
    anyhow!(Failure { kind: FailureKind::NotFound, message })
}

/// An error in one line, where nothing was asked of the API server yet.
pub(crate) fn plain(error: &kube::Error) -> anyhow::Error {
    anyhow!(explain(error))
}

/// An error and its causes as one line, each said once.
///
/// kube's errors show their causes within their own text, and an API server's `Status` in Rust's debug form; of these only the
/// innermost cause and the server's message are for people.
pub(crate) fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => of_status(status),
        kube::Error::Service(cause) => of_connection(cause.as_ref()),
        kube::Error::HyperError(cause) => of_connection(cause),
        other => innermost(other),
    }
}

fn of_status(status: &Status) -> String {
    match status.code {
        401 => {
            "the API server does not know you (401 Unauthorized): log in again, or check the token and the \
                certificate of the kubeconfig's user"
                .to_owned()
        }
        410 => "the list grew too old while it was read (410 Gone): run the command again".to_owned(),
        429 | 500..=599 => {
            format!("the API server is in trouble ({} {}): {}", status.code, status.reason, status.message)
        }
        _ => status.message.clone(),
    }
}

fn of_connection(error: &(dyn Error + 'static)) -> String {
    let cause = innermost(error);
    let is = |words: &str| cause.contains(words);
    let remedy = if is("timed out") || is("deadline has elapsed") || is("timeout") {
        "the API server does not answer in time; is the cluster up, and the network between? --request-timeout gives it longer"
    } else if is("UnknownIssuer") || is("invalid peer certificate") {
        "the API server's certificate is not signed by the authority of the kubeconfig; check certificate-authority-data"
    } else {
        "the API server can't be reached; is the cluster up, and is this the right context?"
    };
    format!("{remedy} ({cause})")
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::response::StatusDetails;
    use portcullis_api::{GROUP, SeccompProfile};

    use super::*;

    fn refused(code: u16, name: Option<&str>) -> kube::Error {
        let details = name.map(|name| StatusDetails {
            name: name.to_owned(),
            group: GROUP.to_owned(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        });
        kube::Error::Api(Box::new(Status { code, message: "no".to_owned(), details, ..Status::default() }))
    }

    #[test]
    fn a_missing_right_names_what_to_ask_for() {
        let error = Attempt::new::<Pod>("list", Some("shop")).failed(&refused(403, None));
        assert_eq!(
            error.to_string(),
            "can't list pods in the namespace shop: no. Ask the cluster's administrator for a Role with the verb list on \
             the resource pods of the API group \"\" in the namespace shop"
        );
        let error = Attempt::new::<SeccompProfile>("list", None).failed(&refused(403, None)).to_string();
        assert!(
            error.ends_with("a ClusterRole with the verb list on the resource seccompprofiles of the API group \"portcullis.dev\""),
            "{error}"
        );
    }

    #[test]
    fn a_missing_definition_is_told_from_a_missing_object() {
        let attempt = Attempt::new::<SeccompProfile>("get", Some("shop"));
        let (definition, object) =
            (attempt.failed(&refused(404, None)), attempt.failed(&refused(404, Some("web"))));
        assert_eq!(FailureKind::of_attempt(&definition), FailureKind::NotInstalled);
        assert_eq!(FailureKind::of_attempt(&object), FailureKind::NotFound);
        assert!(definition.to_string().contains("not installed"), "{definition}");
    }

    #[test]
    fn a_connection_that_fails_says_what_to_look_at() {
        let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error =
            Attempt::new::<Pod>("list", None).failed(&kube::Error::Service(Box::new(cause))).to_string();
        assert_eq!(
            error,
            "can't list pods: the API server can't be reached; is the cluster up, and is this the right context? \
             (connection refused)"
        );
    }
}
