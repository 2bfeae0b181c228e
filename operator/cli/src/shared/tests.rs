use super::*;

const INDEX: &str = "apiVersion: index.portcullis.dev/v1
profiles:
- name: nginx
  description: web
  repository: registry.example/profiles/nginx
  versions: [{version: '1', digest: 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}]
";

fn store(folder: &Path) -> Store {
    Store::new(&folder.join("config"), &folder.join("cache"))
}

fn added(name: &str) -> Added {
    Added { name: name.to_owned(), source: "https://example.com/index.yaml".to_owned() }
}

#[test]
fn what_is_added_is_listed_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert!(store.list().unwrap().is_empty());
    store.add(added("one"), INDEX.as_bytes()).unwrap();
    store.add(added("two"), INDEX.as_bytes()).unwrap();
    assert!(store.add(added("one"), b"").unwrap_err().to_string().contains("already"));
    assert_eq!(store.list().unwrap(), [added("one"), added("two")]);
    let names: Vec<_> =
        store.profiles(None).unwrap().into_iter().map(|(index, entry)| (index, entry.name)).collect();
    assert_eq!(names, [("one".to_owned(), "nginx".to_owned()), ("two".to_owned(), "nginx".to_owned())]);
    store.remove("one").unwrap();
    assert_eq!(store.list().unwrap(), [added("two")]);
    assert!(store.copy("one").unwrap().is_none());
    assert_eq!(store.remove("one").unwrap_err().to_string(), "there is no index one: added are two");
}

#[test]
fn a_name_stays_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "../x", "a/b", "a.b", &"a".repeat(64)] {
        let error = store(folder.path()).add(added(name), INDEX.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("is no name for an index"), "{error}");
    }
}

#[test]
fn a_damaged_file_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.add(added("one"), INDEX.as_bytes()).unwrap();
    store.keep("one", b"{").unwrap();
    assert!(store.profiles(None).unwrap_err().to_string().contains("run `index update one`"));
    fs::remove_file(store.copy_file("one")).unwrap();
    assert!(store.profiles(None).unwrap_err().to_string().contains("is gone: run `index update one`"));
    fs::write(store.list_file(), "indexes: 1").unwrap();
    assert!(store.list().unwrap_err().to_string().contains("remove it and add the indexes again"));
}
