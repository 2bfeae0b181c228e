//! Errors as one line for people.

use std::error::Error;

use kube::core::Status;

/// An error and its causes, each said once.
///
/// Some errors show their cause within their own text, and kube's shows an API server's whole `Status` in Rust's debug form; of these
/// only the message and the reason are kept.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut said = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = text_of(error);
        if !said.contains(&text) {
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&text);
        }
        next = error.source();
    }
    said
}

fn text_of(error: &(dyn Error + 'static)) -> String {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return status_text(status);
    }
    if let Some(status) = error.downcast_ref::<Box<Status>>() {
        return status_text(status);
    }
    error.downcast_ref::<Status>().map_or_else(|| error.to_string(), status_text)
}

fn status_text(status: &Status) -> String {
    format!("{} ({} {})", status.message, status.code, status.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't read the lease")]
    struct Outer(#[source] kube::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("can't open x: {0}")]
    struct Repeats(#[source] std::io::Error);

    #[test]
    fn an_api_servers_refusal_is_its_message() {
        let status = Status {
            message: "leases is forbidden".to_owned(),
            reason: "Forbidden".to_owned(),
            code: 403,
            ..Status::default()
        };
        let error = Outer(kube::Error::Api(Box::new(status)));
        assert_eq!(explain(&error), "can't read the lease: leases is forbidden (403 Forbidden)");
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::from_raw_os_error(2);
        let said = format!("can't open x: {cause}");
        assert_eq!(explain(&Repeats(cause)), said);
    }
}
