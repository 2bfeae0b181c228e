//! What can go wrong.

use std::sync::Arc;

/// Why the controller can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no usable configuration for the API server.
    #[error(transparent)]
    Client(#[from] portcullis_runtime::ClientError),
    /// A metric can't be registered.
    #[error("can't register a metric")]
    Metrics(#[from] prometheus::Error),
    /// The sub-directory can't be a part of a pod's path.
    #[error("--subdirectory {0:?}: give a relative path without '..', such as profiles")]
    Subdirectory(String),
}

/// A request to the API server that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("can't {what}: {}", innermost(source))]
pub(crate) struct Failure {
    /// What was tried, naming the object.
    what: String,
    source: Arc<kube::Error>,
}

impl Failure {
    /// Says what was tried.
    pub(crate) fn of(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self { what, source: Arc::new(source) }
    }

    /// The same of an error that several wait for.
    pub(crate) fn of_shared(what: impl Into<String>, source: Arc<kube::Error>) -> Self {
        Self { what: what.into(), source }
    }

    /// A word for the cause: a metric's label, an Event's reason.
    pub(crate) fn category(&self) -> Category {
        match &*self.source {
            kube::Error::Api(status) => match status.code {
                403 if is_namespace_ending(status) => Category::NotFound,
                401 | 403 => Category::Forbidden,
                404 => Category::NotFound,
                409 => Category::Conflict,
                400 | 413 | 422 => Category::Refused,
                429 => Category::Throttled,
                _ => Category::Server,
            },
            kube::Error::SerdeError(_) => Category::Unreadable,
            _ => Category::Unreachable,
        }
    }
}

/// What a failure may be due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    /// A right is missing, or an admission policy refuses.
    Forbidden,
    /// The object is gone.
    NotFound,
    /// The object is another by now.
    Conflict,
    /// The API server does not take what was written.
    Refused,
    /// Too many requests.
    Throttled,
    /// The API server has trouble itself.
    Server,
    /// An answer can't be read.
    Unreadable,
    /// There is no answer.
    Unreachable,
}

impl Category {
    /// Every category.
    pub(crate) const ALL: [Self; 8] = [
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::Refused,
        Self::Throttled,
        Self::Server,
        Self::Unreadable,
        Self::Unreachable,
    ];

    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "ApiForbidden",
            Self::NotFound => "ApiNotFound",
            Self::Conflict => "ApiConflict",
            Self::Refused => "ApiRefused",
            Self::Throttled => "ApiThrottled",
            Self::Server => "ApiServerError",
            Self::Unreadable => "ApiUnreadable",
            Self::Unreachable => "ApiUnreachable",
        }
    }

    /// Whether the object went away or changed under our hands: the watch will show how, so it is no failure.
    pub(crate) const fn is_overtaken(self) -> bool {
        matches!(self, Self::NotFound | Self::Conflict)
    }

    /// Whether somebody who looks at the object can do something about it.
    pub(crate) const fn concerns_object(self) -> bool {
        matches!(self, Self::Forbidden | Self::Refused)
    }
}

/// Whether nothing can be created because the namespace is being deleted: `corev1.NamespaceTerminatingCause`,
/// <https://github.com/kubernetes/api/blob/v0.36.3/core/v1/types.go>.
fn is_namespace_ending(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// The words of the API server, without the layers around them.
fn innermost(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
