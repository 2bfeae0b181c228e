//! What ends a recorder.

/// An error that ends the recorder. What was counted stays in the kernel, and the one that starts next goes on with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The probe can't be opened or read.
    #[error(transparent)]
    Probe(#[from] portcullis_probe::Error),
    /// A metric's name is taken.
    #[error("can't register the recorder's metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No client of the API server.
    #[error(transparent)]
    Client(#[from] portcullis_runtime::ClientError),
    /// The watches ended before the process was told to stop.
    #[error("the recorder's watches ended before the process was told to stop")]
    WatchesEnded,
}
