//! Indexes of profiles.

use portcullis_artifact::{INDEX_MEDIA_TYPE, IndexSource, Wanted, fetch_index, pull};
use serde_json::json;

use crate::fake::{Fake, OCI_MANIFEST, whole};

const INDEX: &str = "apiVersion: index.portcullis.dev/v1\nprofiles: []\n";

#[tokio::test]
async fn an_index_is_had_from_the_web_a_registry_and_a_file() {
    let fake = Fake::lying(|asked| {
        asked.line.starts_with("GET /index.yaml").then(|| whole(hyper::StatusCode::OK, "text/plain", INDEX))
    })
    .await;
    let mut manifest = fake.manifest("application/vnd.oci.empty.v1+json", &[INDEX.as_bytes()]);
    manifest["artifactType"] = json!(INDEX_MEDIA_TYPE);
    fake.put_manifest("1", OCI_MANIFEST, &manifest);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, INDEX).unwrap();
    let sources = [
        format!("http://{}/index.yaml", fake.host),
        format!("oci://{}/profiles:1", fake.host),
        file.path().display().to_string(),
    ];
    for source in sources {
        let (index, text) = fetch_index(&source.parse().unwrap(), &Fake::access()).await.unwrap();
        assert!(index.profiles.is_empty());
        assert_eq!(text, INDEX.as_bytes());
    }
    let error = pull(&fake.reference("profiles:1"), &Wanted::default(), &Fake::access()).await.unwrap_err();
    assert!(error.to_string().contains("not a profile"), "{error}");
}

#[tokio::test]
async fn an_index_without_tls_that_is_missing_or_none_is_refused() {
    let fake = Fake::lying(|asked| {
        asked.line.starts_with("GET /page").then(|| whole(hyper::StatusCode::OK, "text/html", "<html>"))
    })
    .await;
    fake.put_manifest("1", OCI_MANIFEST, &fake.manifest("application/vnd.example", &[b"x"]));
    let fetch = async |source: &str, plain_http: bool| {
        let mut access = Fake::access();
        access.plain_http = plain_http;
        let source: IndexSource = source.parse().unwrap();
        fetch_index(&source, &access).await.unwrap_err().to_string()
    };
    let page = format!("http://{}/page", fake.host);
    assert!(fetch(&page, false).await.contains("not encrypted"));
    assert!(fetch(&page, true).await.contains("it is no index"));
    assert!(fetch(&format!("http://{}/gone", fake.host), true).await.contains("there is no index"));
    assert!(fetch(&format!("oci://{}/x:1", fake.host), true).await.contains("its type has to be"));
    assert!(fetch("/nowhere/index.yaml", false).await.contains("can't read /nowhere/index.yaml"));
}
