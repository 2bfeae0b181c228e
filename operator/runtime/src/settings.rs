//! Settings that every role has.

use std::{net::SocketAddr, path::PathBuf};

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
    /// Where to serve /livez and /readyz, for the kubelet.
    #[arg(
        long,
        env = "PORTCULLIS_HEALTH_PROBE_BIND_ADDRESS",
        default_value = "0.0.0.0:8081",
        global = true,
        help_heading = "Options of every role"
    )]
    pub health_probe_bind_address: SocketAddr,
    /// Where to serve /metrics.
    #[arg(
        long,
        env = "PORTCULLIS_METRICS_BIND_ADDRESS",
        default_value = "0.0.0.0:8080",
        global = true,
        help_heading = "Options of every role"
    )]
    pub metrics_bind_address: SocketAddr,
    /// Serve /metrics over TLS, and only to whom the API server permits `get` of the nonResourceURL /metrics, by their bearer token.
    #[arg(long, env = "PORTCULLIS_METRICS_SECURE", global = true, help_heading = "Options of every role")]
    pub metrics_secure: bool,
    /// A directory with tls.crt and tls.key for --metrics-secure, read again when they change. Without it a certificate is made at
    /// the start, which nobody can verify.
    #[arg(
        long,
        env = "PORTCULLIS_METRICS_CERT_PATH",
        requires = "metrics_secure",
        global = true,
        help_heading = "Options of every role"
    )]
    pub metrics_cert_path: Option<PathBuf>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}
