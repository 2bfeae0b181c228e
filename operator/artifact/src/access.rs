//! How registries may be reached.

use std::{path::Path, time::Duration};

use reqwest::Certificate;

use crate::{Credential, Error, Result, transport};

/// The largest file of certificates that is read, in bytes: a whole system's bundle is a quarter of it.
const MAX_CERTIFICATES_BYTES: u64 = 1024 * 1024;

/// How a registry may be reached, and as whom.
#[derive(Clone)]
pub struct Access {
    /// Plain HTTP instead of TLS, for the registry and everything it points to.
    pub plain_http: bool,
    /// Certificate authorities that are trusted besides the system's.
    pub(crate) authorities: Vec<Certificate>,
    /// How long a task as a whole may take.
    pub timeout: Duration,
    /// Who asks.
    pub credential: Credential,
}

impl Access {
    /// By TLS, trusting the system's authorities, as nobody, in five minutes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            plain_http: false,
            authorities: Vec::new(),
            timeout: Duration::from_secs(300),
            credential: Credential::Anonymous,
        }
    }

    /// Trusts the authorities in a PEM file too.
    ///
    /// # Errors
    /// Where the file can't be read or holds no certificate.
    pub fn trust(&mut self, file: &Path) -> Result<()> {
        let refuse = |problem: String| Error::File { file: file.to_owned(), problem };
        let text = crate::credentials::read(file, MAX_CERTIFICATES_BYTES)?;
        let found = Certificate::from_pem_bundle(&text)
            .map_err(|error| refuse(format!("no certificates in PEM can be read from it ({error})")))?;
        if found.is_empty() {
            return Err(refuse("it holds no certificate in PEM".to_owned()));
        }
        self.authorities.extend(found);
        Ok(())
    }

    /// Runs a task for as long as a task may take.
    pub(crate) async fn within<T>(&self, registry: &str, task: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.timeout, task).await {
            Ok(ended) => ended,
            Err(_) => Err(Error::Deadline { registry: registry.to_owned(), seconds: self.timeout.as_secs() }),
        }
    }

    pub(crate) fn client(&self) -> Result<reqwest::Client> {
        transport::client(self)
    }
}

impl Default for Access {
    fn default() -> Self {
        Self::new()
    }
}
