//! Log lines to standard error, and panics among them.

use std::panic;

use tracing::error;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{LogFormat, Settings, StartError};

/// Installs the process's one subscriber.
pub(crate) fn install(settings: &Settings) -> Result<(), StartError> {
    let filter = filter(&settings.log_level)?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => registry.with(layer.with_ansi(false)).try_init(),
        LogFormat::Json => {
            registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()
        }
    }
    .map_err(|_| StartError::LogsTwice)?;
    log_panics();
    Ok(())
}

/// A release build aborts on a panic, so the hook is the only place that can still say where it was.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        error!(location, "panic: {message}");
    }));
}

/// What is logged. kube's client logs a response that it can't read, whole and however large, and gives the error to its caller, who
/// logs it too; so it is only heard where somebody asks for it by name.
fn filter(level: &str) -> Result<EnvFilter, StartError> {
    EnvFilter::builder()
        .parse(format!("kube_client=error,{level}"))
        .map_err(|source| StartError::LogLevel { value: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_heard_only_where_it_is_named() {
        let said = |level: &str| filter(level).unwrap().to_string();
        assert!(said("debug").contains("kube_client=error"));
        let asked = said("info,kube_client=debug");
        assert!(asked.contains("kube_client=debug") && !asked.contains("kube_client=error"), "{asked}");
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        let error = filter("a=b=c").unwrap_err().to_string();
        assert!(error.starts_with("--log-level \"a=b=c\" is neither a level"), "{error}");
    }
}
