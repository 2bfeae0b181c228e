use proptest::prelude::*;

use super::*;

const INDEX: &str = "apiVersion: index.portcullis.dev/v1
profiles:
- name: nginx
  description: Reverse proxy and web server
  repository: registry.example/profiles/nginx
  keywords: [http, Proxy]
  maintainers: [{name: Web team, email: web@example.com}]
  versions:
  - version: 1.29.0
    digest: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
  - version: 1.28.0
    digest: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
  aFieldOfALaterReader: 1
";

#[test]
fn the_first_version_is_the_newest() {
    let index = Index::parse(INDEX.as_bytes()).unwrap();
    let nginx = index.entry("nginx").unwrap();
    assert_eq!(nginx.version(None).unwrap().0.version, "1.29.0");
    let (_, reference) = nginx.version(Some("1.28.0")).unwrap();
    assert_eq!(
        reference.to_string(),
        "registry.example/profiles/nginx@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let error = nginx.version(Some("2")).unwrap_err();
    assert_eq!(error, "nginx has no version 2: it has 1.29.0, 1.28.0");
}

#[test]
fn a_word_is_looked_for_in_any_case() {
    let index = Index::parse(INDEX.as_bytes()).unwrap();
    let nginx = &index.profiles[0];
    assert!(["NGI", "proxy", "http", "reverse"].iter().all(|word| nginx.matches(word)));
    assert!(!nginx.matches("redis"));
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    let long = "a".repeat(64);
    for (from, to, said) in [
        ("index.portcullis.dev/v1", "index.portcullis.dev/v2", "apiVersion: is \"index.portcullis.dev/v2\""),
        ("name: nginx", "name: ../nginx", "profiles[0].name: \"../nginx\" is no name"),
        ("name: nginx", &format!("name: {long}"), "profiles[0].name"),
        ("Reverse proxy", "\"\\e[31mReverse\"  #", "profiles[0].description: has control characters"),
        ("profiles/nginx", "profiles/nginx:1", "profiles[0].repository: leave out tag and digest"),
        ("profiles/nginx", "Profiles/nginx", "profiles[0].repository"),
        ("1.28.0", "1.29.0", "profiles[0].versions: 1.29.0 is there twice"),
        ("digest: sha256:ba", "digest: sha256:BA", "is not a digest"),
        ("description:", "describtion:", "missing field"),
        ("profiles:", "profiles: [", "it is no index"),
    ] {
        let text = INDEX.replacen(from, to, 1);
        assert_ne!(text, INDEX, "{from}");
        let error = Index::parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let twice = format!("{INDEX}{}", INDEX.split_once("profiles:\n").unwrap().1);
    assert!(Index::parse(twice.as_bytes()).unwrap_err().contains("profiles[1].name: nginx is there twice"));
    assert!(Index::parse(&vec![b' '; 4 * 1024 * 1024 + 1]).unwrap_err().contains("over 4194304"));
}

#[test]
fn an_index_is_at_an_address_in_a_registry_or_a_file() {
    assert!(matches!("https://example.com/i.yaml".parse(), Ok(Source::Web(_))));
    assert!(matches!("oci://example.com/i:1".parse(), Ok(Source::Registry(_))));
    assert_eq!("a/i.yaml".parse::<Source>().unwrap(), Source::File("a/i.yaml".into()));
    assert!("ftp://example.com/i.yaml".parse::<Source>().is_err());
}

#[test]
fn aliases_without_end_and_nesting_are_refused() {
    let mut laughs = "apiVersion: index.portcullis.dev/v1\na0: &a0 [x, x]\n".to_owned();
    for level in 1..40 {
        let before = level - 1;
        laughs += &format!("a{level}: &a{level} [*a{before}, *a{before}]\n");
    }
    assert!(Index::parse(laughs.as_bytes()).is_err());
    let deep = format!("apiVersion: index.portcullis.dev/v1\nprofiles: {}", "[".repeat(100_000));
    assert!(Index::parse(deep.as_bytes()).is_err());
}

proptest! {
    /// Whatever was changed in an index, what is read of it keeps the rules.
    #[test]
    fn a_changed_index_is_refused_or_whole(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut text = INDEX.as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(text.len());
            text[place] = byte;
        }
        if let Ok(index) = Index::parse(&text) {
            for entry in &index.profiles {
                let shown = entry.name.chars().chain(entry.description.chars());
                prop_assert!(shown.clone().all(|c| !c.is_control()) && !entry.name.contains('/'));
                prop_assert!(entry.version(None).is_ok());
            }
        }
    }
}
