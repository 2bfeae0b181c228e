//! The cluster's certificate authority and what it signs.

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::paths::{self, Paths};

/// How long certificates are valid: a local cluster is thrown away long before.
const VALIDITY: Duration = Duration::days(365);
/// Clocks of a machine that wakes up may be behind.
const SKEW: Duration = Duration::hours(1);

/// Who a certificate speaks for.
pub(crate) struct Identity<'a> {
    /// The file name's stem, and the user of a kubeconfig.
    pub(crate) name: &'a str,
    /// The user's name in Kubernetes.
    pub(crate) common_name: &'a str,
    /// The user's group in Kubernetes.
    pub(crate) organization: Option<&'a str>,
    /// The names that clients may call a server by.
    pub(crate) dns: Vec<String>,
    /// The addresses that clients may call a server by.
    pub(crate) addresses: Vec<IpAddr>,
}

impl<'a> Identity<'a> {
    /// A client that serves nothing.
    pub(crate) fn client(name: &'a str, common_name: &'a str, organization: Option<&'a str>) -> Self {
        Self { name, common_name, organization, dns: Vec::new(), addresses: Vec::new() }
    }
}

/// The certificate authority, kept as files so that nodes can join later.
pub(crate) struct Authority {
    paths: Paths,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority and the key that signs service account tokens.
    pub(crate) fn create(paths: &Paths) -> Result<Self> {
        let key = KeyPair::generate().context("can't make the authority's key")?;
        let parameters = authority_parameters();
        let certificate = parameters.self_signed(&key).context("can't sign the authority's certificate")?;
        let pki = paths.pki();
        paths::write(&pki.join("ca.crt"), certificate.pem())?;
        paths::write(&pki.join("ca.key"), key.serialize_pem())?;
        let tokens = KeyPair::generate().context("can't make the key of service account tokens")?;
        paths::write(&pki.join("sa.key"), tokens.serialize_pem())?;
        paths::write(&pki.join("sa.pub"), tokens.public_key_pem())?;
        Ok(Self { paths: paths.clone(), issuer: Issuer::new(parameters, key) })
    }

    /// The authority of a cluster that runs.
    pub(crate) fn load(paths: &Paths) -> Result<Self> {
        let file = paths.pki().join("ca.key");
        let key = KeyPair::from_pem(&paths::read(&file)?)
            .with_context(|| format!("{} holds no key", file.display()))?;
        Ok(Self { paths: paths.clone(), issuer: Issuer::new(authority_parameters(), key) })
    }

    /// Signs a certificate for both directions and writes it as `<name>.crt` with `<name>.key`.
    pub(crate) fn issue(&self, identity: &Identity<'_>) -> Result<()> {
        let key = KeyPair::generate().with_context(|| format!("can't make the key of {}", identity.name))?;
        let certificate = parameters(identity)?
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("can't sign the certificate of {}", identity.name))?;
        paths::write(&certificate_file(&self.paths, identity.name), certificate.pem())?;
        paths::write(&key_file(&self.paths, identity.name), key.serialize_pem())
    }
}

pub(crate) fn certificate_file(paths: &Paths, name: &str) -> PathBuf {
    paths.pki().join(format!("{name}.crt"))
}

pub(crate) fn key_file(paths: &Paths, name: &str) -> PathBuf {
    paths.pki().join(format!("{name}.key"))
}

fn validity(parameters: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - SKEW;
    parameters.not_after = now + VALIDITY;
}

fn authority_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    validity(&mut parameters);
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "portcullis-e2e");
    parameters.distinguished_name = name;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    parameters
}

fn parameters(identity: &Identity<'_>) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(identity.dns.clone())
        .with_context(|| format!("{} has a name that no certificate can hold", identity.name))?;
    validity(&mut parameters);
    let addresses = identity.addresses.iter().copied().map(SanType::IpAddress);
    parameters.subject_alt_names.extend(addresses);
    let mut name = DistinguishedName::new();
    if let Some(organization) = identity.organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, identity.common_name);
    parameters.distinguished_name = name;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}
