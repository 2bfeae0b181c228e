//! Log lines to standard error, and panics among them.

use std::{
    io::{self, Write},
    panic,
};

use portcullis_profile::escaped;
use tracing::error;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{LogFormat, Settings, StartError};

/// Installs the process's one subscriber.
pub(crate) fn install(settings: &Settings) -> Result<(), StartError> {
    let filter = filter(&settings.log_level)?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(|| Lines(io::stderr()));
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

/// Takes events and writes each as one line in which nothing gives orders to a terminal: objects' names, paths and servers' messages are a
/// stranger's, and those of several lines would make events of their own. What is escaped is JSON's escape, so JSON stays what it is.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // The subscriber formats an event as a whole.
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        self.0.write_all(format!("{}\n", escaped(line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_client_is_heard_only_where_it_is_named() {
        let said = |level: &str| filter(level).unwrap().to_string();
        assert!(said("debug").contains("kube_client=error"));
        let asked = said("info,kube_client=debug");
        assert!(asked.contains("kube_client=debug") && !asked.contains("kube_client=error"), "{asked}");
    }

    /// What is written of an event with a stranger's words in each of the places that a subscriber formats in its own way.
    fn written(words: &str, json: bool) -> String {
        #[derive(Clone, Default)]
        struct Shared(Arc<Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let shared = Shared::default();
        let writer = shared.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || Lines(writer.clone()));
        let registry = tracing_subscriber::registry();
        let log = || {
            let error: &(dyn std::error::Error + 'static) = &io::Error::other(words.to_owned());
            error!(shown = %words, debugged = ?words, text = words, error, "message {words}");
        };
        if json {
            tracing::subscriber::with_default(registry.with(layer.json().flatten_event(true)), log);
        } else {
            tracing::subscriber::with_default(registry.with(layer.with_ansi(false)), log);
        }
        String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_event_is_one_line_that_gives_no_orders_whoever_wrote_its_words() {
        let words = "x\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\n2026-01-01T00:00:00Z  INFO forged";
        for json in [false, true] {
            let said = written(words, json);
            assert_eq!(said.lines().count(), 1, "{said}");
            let line = said.strip_suffix('\n').unwrap();
            assert!(line.chars().all(portcullis_profile::is_printable), "{line:?}");
            if json {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(event["shown"], words, "{line}");
            }
        }
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        let error = filter("a=b=c").unwrap_err().to_string();
        assert!(error.starts_with("--log-level \"a=b=c\" is neither a level"), "{error}");
    }
}
