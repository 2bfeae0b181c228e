//! Kubeconfig files with everything inside, so that a copy of one works anywhere on the machine.

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::{
    network, paths,
    paths::Paths,
    pki::{certificate_file, key_file},
};

/// Writes the kubeconfig of a user whose certificate is issued. JSON is YAML, so kubectl reads it.
pub(crate) fn write(paths: &Paths, user: &str, file: &std::path::Path) -> Result<()> {
    let data = |file: &std::path::Path| paths::read(file).map(|text| BASE64_STANDARD.encode(text));
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "portcullis",
            "cluster": {
                "server": network::api_server_url(),
                "certificate-authority-data": data(&paths.pki().join("ca.crt"))?,
            },
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": data(&certificate_file(paths, user))?,
                "client-key-data": data(&key_file(paths, user))?,
            },
        }],
        "contexts": [{ "name": "portcullis", "context": { "cluster": "portcullis", "user": user } }],
        "current-context": "portcullis",
    });
    paths::write_json(file, &content)
}
