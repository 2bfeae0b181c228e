//! Settings that every role has.

use std::net::SocketAddr;

/// Settings that every role has.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// How to write log lines to standard error.
    #[arg(long, env = "PORTCULLIS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true, help_heading = "Options of every role")]
    pub log_format: LogFormat,
    /// What to log: a level (error, warn, info, debug, trace), or directives such as `info,portcullis_agent=debug`.
    #[arg(
        long,
        env = "PORTCULLIS_LOG_LEVEL",
        default_value = "info",
        global = true,
        help_heading = "Options of every role"
    )]
    pub log_level: String,
    /// Where to serve /livez, /readyz and /metrics.
    #[arg(
        long,
        env = "PORTCULLIS_LISTEN",
        default_value = "0.0.0.0:8080",
        global = true,
        help_heading = "Options of every role"
    )]
    pub listen: SocketAddr,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}
