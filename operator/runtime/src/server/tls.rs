//! TLS for the metrics: a certificate made at the start, or one that is mounted and changes while the process runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

use crate::explain;

/// How often a mounted certificate is looked at. A kubelet takes a minute or two to bring a Secret's change into a pod.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The files' names in a Secret of type kubernetes.io/tls.
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can't be read.
    #[error("can't read {} (--metrics-cert-path)", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM (--metrics-cert-path)", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Key and certificate can't be used together.
    #[error("the certificate can't be used for the metrics")]
    Unusable(#[from] rustls::Error),
    /// A certificate can't be made.
    #[error("can't make a certificate for the metrics")]
    Made(#[from] rcgen::Error),
}

/// The certificate that is shown, and where it is from.
#[derive(Debug)]
pub(crate) struct Tls {
    shown: Arc<Shown>,
    directory: Option<PathBuf>,
    provider: Arc<CryptoProvider>,
}

impl Tls {
    /// With the certificate in a directory, or one of its own.
    ///
    /// # Errors
    /// Where there is none that can be used.
    pub(crate) fn new(directory: Option<PathBuf>) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (files, key) = match &directory {
            Some(directory) => {
                let files = Files::read(directory)?;
                let key = files.parse(directory, &provider)?;
                (Some(files), key)
            }
            None => (None, self_made(&provider)?),
        };
        let shown = Shown(RwLock::new(Current { files, key: Arc::new(key) }));
        Ok(Self { shown: Arc::new(shown), directory, provider })
    }

    /// What takes connections.
    ///
    /// # Errors
    /// Where the provider knows no protocol version, which is a mistake of ours.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Nothing is kept of a client once it is gone.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes up what is mounted anew, for ever. One that can't be used is said so, and the earlier one stays.
    pub(crate) async fn follow(self) {
        let Some(directory) = self.directory else { return std::future::pending().await };
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.shown.look(&directory, &self.provider) {
                Ok(false) => {}
                Ok(true) => info!(directory = %directory.display(), "the metrics have a new certificate"),
                Err(error) => error!(error = explain(&error), "the metrics keep their earlier certificate"),
            }
        }
    }
}

fn self_made(provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    // Nobody can verify it, so its names are for those who look.
    let made = rcgen::generate_simple_self_signed(["portcullis".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    Ok(CertifiedKey::from_der(vec![made.cert.der().clone()], key, provider)?)
}

/// The two files' bytes.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(directory: &Path) -> Result<Self, TlsError> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).map_err(|source| TlsError::Read { path, source })
        };
        Ok(Self { chain: read(CHAIN)?, key: read(KEY)? })
    }

    fn parse(&self, directory: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let fault = |name: &str, what, source| TlsError::Pem { path: directory.join(name), what, source };
        let mut chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<_, _>>()
            .map_err(|source| fault(CHAIN, "certificate", source))?;
        if chain.is_empty() {
            let none = rustls::pki_types::pem::Error::NoItemsFound;
            return Err(fault(CHAIN, "certificate", none));
        }
        chain.shrink_to_fit();
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| fault(KEY, "key", source))?;
        Ok(CertifiedKey::from_der(chain, key, provider)?)
    }
}

#[derive(Debug)]
struct Current {
    /// None where it was made at the start.
    files: Option<Files>,
    key: Arc<CertifiedKey>,
}

#[derive(Debug)]
struct Shown(RwLock<Current>);

impl Shown {
    /// Whether there was something new.
    fn look(&self, directory: &Path, provider: &CryptoProvider) -> Result<bool, TlsError> {
        let files = Files::read(directory)?;
        if self.0.read().unwrap_or_else(PoisonError::into_inner).files.as_ref() == Some(&files) {
            return Ok(false);
        }
        let key = Arc::new(files.parse(directory, provider)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Current { files: Some(files), key };
        Ok(true)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio_rustls::TlsConnector;

    use super::*;

    /// A client that trusts the certificate that is shown.
    pub(crate) fn connector(tls: &Tls) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(shown(tls))).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(tls.provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    fn write(directory: &Path) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["mounted".to_owned()]).unwrap();
        let pem = |label: &str, der: &[u8]| {
            use base64::{Engine as _, prelude::BASE64_STANDARD};
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
        };
        fs::write(directory.join(CHAIN), pem("CERTIFICATE", made.cert.der())).unwrap();
        fs::write(directory.join(KEY), pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
        made.cert.der().to_vec()
    }

    fn shown(tls: &Tls) -> Vec<u8> {
        tls.shown.0.read().unwrap().key.cert[0].to_vec()
    }

    #[test]
    fn a_mounted_certificate_is_taken_up_anew_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let missing = Tls::new(Some(path.to_owned())).unwrap_err().to_string();
        assert!(missing.starts_with("can't read ") && missing.contains("tls.crt"), "{missing}");

        let first = write(path);
        let tls = Tls::new(Some(path.to_owned())).unwrap();
        tls.acceptor().unwrap();
        assert_eq!(shown(&tls), first);
        assert!(!tls.shown.look(path, &tls.provider).unwrap(), "nothing is new");

        let second = write(path);
        assert!(tls.shown.look(path, &tls.provider).unwrap());
        assert_eq!(shown(&tls), second);

        let another = write(path);
        fs::write(path.join(KEY), "no key").unwrap();
        let said = tls.shown.look(path, &tls.provider).unwrap_err().to_string();
        assert!(said.contains("tls.key holds no key in PEM"), "{said}");
        assert_ne!(another, second);
        assert_eq!(shown(&tls), second);
        fs::write(path.join(CHAIN), "").unwrap();
        let said = tls.shown.look(path, &tls.provider).unwrap_err().to_string();
        assert!(said.contains("tls.crt holds no certificate in PEM"), "{said}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        let chain = fs::read(directory.path().join(CHAIN)).unwrap();
        write(directory.path());
        fs::write(directory.path().join(CHAIN), chain).unwrap();
        let said = Tls::new(Some(directory.path().to_owned())).unwrap_err().to_string();
        assert_eq!(said, "the certificate can't be used for the metrics");
    }
}
