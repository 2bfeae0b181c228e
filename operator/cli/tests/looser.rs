//! Profiles of others that allow more than the runtime default.

mod binary;

use std::fs;

use binary::{Files, Ran, artifact::share, seccomp};

const LOOSER: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["read", "execve", "bpf", "mount"], "action": "SCMP_ACT_ALLOW"}]}"#;

fn usual() -> String {
    LOOSER.replace("\"bpf\", \"mount\"", "\"write\", \"exit\"")
}

fn names_the_calls(ran: &Ran) {
    for words in [
        "allows what the runtime default (",
        "denies:",
        "\n  bpf (SCMP_ARCH_AARCH64, SCMP_ARCH_X86_64)\n",
        "\n  mount (",
    ] {
        assert!(ran.errors.contains(words), "{words:?} in {}", ran.errors);
    }
}

#[test]
fn pulling_one_says_what_is_looser_and_needs_a_word() {
    for verbatim in [false, true] {
        let registry = share(LOOSER);
        let reference = format!("{}/web:1", registry.host);
        let files = Files::new(&[]);
        let pull = |more: &[&str]| {
            let verbatim = if verbatim { &["--verbatim"][..] } else { &[] };
            seccomp(&files, &[&["pull", &reference, "--plain-http"], verbatim, more].concat())
        };
        for more in [&[][..], &["-o", "web.json"]] {
            let ran = pull(more);
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.errors);
            names_the_calls(&ran);
            assert!(ran.errors.contains("Nothing is written."), "{}", ran.errors);
        }
        assert!(!files.path().join("web.json").exists());
        let ran = pull(&["-o", "web.json", "--allow-looser"]);
        assert_eq!(ran.code, 0, "{}", ran.errors);
        names_the_calls(&ran);
        assert!(fs::read_to_string(files.path().join("web.json")).expect("it is written").contains("bpf"));
    }
}

#[test]
fn installing_one_says_what_is_looser_and_needs_a_word() {
    let registry = share(LOOSER);
    let index = format!(
        "apiVersion: index.portcullis.dev/v1\nprofiles:\n- name: web\n  description: A server\n  repository: {}/web\n  \
         versions: [{{version: '1', digest: '{}'}}]\n",
        registry.host, registry.digest
    );
    let files = Files::new(&[("index.yaml", &index)]);
    let home = files.path().to_str().expect("text").to_owned();
    let install = |more: &[&str]| {
        binary::seccomp_at_home(&files, &home, &[&["install", "web", "--plain-http"], more].concat())
    };
    assert_eq!(binary::seccomp_at_home(&files, &home, &["index", "add", "team", "index.yaml"]).code, 0);
    for more in [&[][..], &["--resource"], &["-o", "-"], &["--force"]] {
        let ran = install(more);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{more:?}: {}", ran.errors);
        names_the_calls(&ran);
    }
    assert!(!files.path().join("web.json").exists());
    let resource = install(&["--resource", "--allow-looser"]);
    assert!(resource.code == 0 && resource.out.contains("- bpf"), "{resource:?}");
    assert_eq!(install(&["--allow-looser"]).code, 0);
    assert!(files.path().join("web.json").exists());
}

#[test]
fn another_baseline_says_what_is_looser() {
    let registry = share(LOOSER);
    let stricter = usual().replace("\"read\", ", "");
    let files = Files::new(&[("same.json", LOOSER), ("stricter.json", &stricter)]);
    let reference = format!("{}/web:1", registry.host);
    let pull = |baseline: &str| {
        seccomp(&files, &["pull", &reference, "--plain-http", "-o", "web.json", "--baseline", baseline])
    };
    let ran = pull("stricter.json");
    assert_eq!(ran.code, 1, "{}", ran.errors);
    assert!(ran.errors.contains("allows what the baseline stricter.json denies:"), "{}", ran.errors);
    assert!(ran.errors.contains("\n  read ("), "{}", ran.errors);
    let ran = pull("containerd@2.4");
    assert_eq!(ran.code, 1, "{}", ran.errors);
    assert!(ran.errors.contains("the runtime default of containerd 2.4"), "{}", ran.errors);
    assert!(!files.path().join("web.json").exists());
    let ran = pull("same.json");
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(!ran.errors.contains("denies"), "{}", ran.errors);
    assert_eq!(pull("none.json").code, 2);
}

#[test]
fn what_is_nowhere_looser_is_written_without_a_word() {
    let registry = share(&usual());
    let files = Files::new(&[]);
    let ran =
        seccomp(&files, &["pull", &format!("{}/web:1", registry.host), "--plain-http", "-o", "web.json"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(!ran.errors.contains("runtime default"), "{}", ran.errors);
}

#[test]
fn what_can_not_be_read_can_not_be_compared() {
    let registry = share(&LOOSER.replace("syscalls", "sysCalls"));
    let files = Files::new(&[]);
    let reference = format!("{}/web:1", registry.host);
    let ran = seccomp(&files, &["pull", &reference, "--plain-http", "--verbatim"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.errors);
    let ran = seccomp(&files, &["pull", &reference, "--plain-http", "--verbatim", "--allow-looser"]);
    assert!(ran.code == 0 && ran.out.contains("sysCalls"), "{ran:?}");
}
