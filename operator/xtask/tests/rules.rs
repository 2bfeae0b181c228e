//! Rules of this repository that a compiler does not hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use cargo_metadata::{Metadata, MetadataCommand};
use xtask::{codegen, workspace_root};

/// Which crate of the workspace may use which: `docs/architecture.md`, 'Crates'. Tests may use no more.
const ARROWS: &[(&str, &[&str])] = &[
    ("portcullis-profile", &[]),
    ("portcullis-probe", &["portcullis-profile"]),
    ("portcullis-trace", &["portcullis-profile"]),
    ("portcullis-api", &["portcullis-profile"]),
    ("portcullis-artifact", &["portcullis-profile"]),
    ("portcullis-runtime", &["portcullis-profile"]),
    ("portcullis-controller", &["portcullis-api", "portcullis-profile", "portcullis-runtime"]),
    ("portcullis-agent", &["portcullis-api", "portcullis-profile", "portcullis-runtime"]),
    (
        "portcullis-recorder",
        &["portcullis-api", "portcullis-probe", "portcullis-profile", "portcullis-runtime"],
    ),
    (
        "portcullis-cli",
        &[
            "portcullis-api",
            "portcullis-artifact",
            "portcullis-probe",
            "portcullis-profile",
            "portcullis-trace",
        ],
    ),
    (
        "portcullis",
        &["portcullis-agent", "portcullis-controller", "portcullis-recorder", "portcullis-runtime"],
    ),
    ("xtask", &["portcullis-api", "portcullis-profile", "portcullis-runtimes"]),
    ("portcullis-e2e", &["portcullis-api"]),
    ("portcullis-runtimes", &["portcullis-profile"]),
    ("portcullis-kernels", &["portcullis-runtimes"]),
];

/// What the model must do without: it has no I/O, no async and knows nothing of Kubernetes.
const NOT_IN_THE_MODEL: &[&str] = &["kube", "k8s-openapi", "tokio", "rustix", "libc", "futures"];

/// A file that grows beyond this does more than one thing.
const MAX_LINES: usize = 800;
/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Words that say that something is unfinished, put together here so that this file holds none.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("dbg", "!("),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Names of modules that attract whatever fits nowhere else.
const NAMELESS: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc"];

fn metadata() -> Metadata {
    let manifest = workspace_root().expect("the workspace").join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).exec().expect("cargo metadata answers")
}

/// The text files that belong to the repository, with their paths below its root.
fn files() -> Vec<(String, String)> {
    let root = workspace_root().expect("the workspace");
    ignore::WalkBuilder::new(&root)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build()
        .map(|entry| entry.expect("the tree can be walked"))
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(&root).expect("below the root").to_str()?.to_owned();
            // Bytes that are no text hold no words.
            Some((path, fs::read_to_string(entry.path()).ok()?))
        })
        .collect()
}

#[test]
fn crates_use_only_what_the_architecture_lets_them() {
    let metadata = metadata();
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ARROWS.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    let packages = metadata.workspace_packages();
    let names: BTreeSet<_> = packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, allowed.keys().copied().collect(), "ARROWS and the workspace's members differ");
    for package in packages {
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let lets = !names.contains(name) || allowed[package.name.as_str()].contains(name);
            assert!(lets, "{} must not use {name}", package.name);
        }
    }
}

#[test]
fn the_model_has_no_io_and_no_kubernetes() {
    let metadata = metadata();
    let model = metadata.packages.iter().find(|package| package.name == "portcullis-profile");
    let model = model.expect("the model's crate");
    for dependency in &model.dependencies {
        let runtime = dependency.kind == cargo_metadata::DependencyKind::Normal;
        let barred = NOT_IN_THE_MODEL.contains(&dependency.name.as_str());
        assert!(!(runtime && barred), "portcullis-profile must not use {}", dependency.name);
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).expect("a manifest can be read");
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{}", package.manifest_path);
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (path, text) in files() {
        for (number, line) in text.lines().enumerate() {
            let word = UNFINISHED.iter().find(|word| line.contains(**word));
            assert!(word.is_none(), "{path}:{}: {word:?}", number + 1);
        }
    }
}

#[test]
fn no_source_file_is_too_long() {
    let files = files();
    let mut wrong = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".rs")) {
        let lines = text.lines().count();
        let excepted = LONG_FILES.iter().any(|(file, _)| file == path);
        if lines > MAX_LINES && !excepted {
            wrong.push(format!("{path} has {lines} lines"));
        } else if lines <= MAX_LINES && excepted {
            wrong.push(format!("{path} needs no exception any more"));
        }
    }
    for (path, _) in LONG_FILES {
        if !files.iter().any(|(file, _)| file == path) {
            wrong.push(format!("{path} is excepted and does not exist"));
        }
    }
    assert!(wrong.is_empty(), "at most {MAX_LINES} lines are allowed: {wrong:#?}");
}

#[test]
fn every_module_has_a_name_of_its_own() {
    for (path, _) in files().iter().filter(|(path, _)| path.ends_with(".rs")) {
        let nameless = Path::new(path)
            .iter()
            .filter_map(|part| part.to_str())
            .any(|part| NAMELESS.contains(&part.trim_end_matches(".rs")));
        assert!(!nameless, "{path} says nothing of what is in it");
    }
}

#[test]
fn uninstalling_names_every_definition() {
    let page = workspace_root().expect("the workspace").join("docs/uninstall.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for crd in portcullis_api::crds().expect("definitions") {
        let name = crd.metadata.name.expect("a definition has a name");
        assert!(page.contains(&name), "docs/uninstall.md leaves {name}");
    }
}

/// The tests that the threat model names, as `path/file.rs::function`.
fn named_tests(page: &str) -> Vec<(&str, &str)> {
    page.split('`')
        .filter_map(|word| word.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect()
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let root = workspace_root().expect("the workspace");
    let page = fs::read_to_string(root.join("docs/threat-model.md")).expect("the page");
    for (file, function) in named_tests(&page) {
        let source = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let begins = format!("fn {function}(");
        let place = source.find(&begins).unwrap_or_else(|| panic!("{file} has no test {function}"));
        // Between a test's attribute and its name are other attributes and words of the declaration alone.
        let before = source[..place].rsplit("\n\n").next().unwrap_or_default();
        let in_macro =
            source[..place].rfind("proptest! {").is_some_and(|begin| !source[begin..place].contains("\n}\n"));
        assert!(
            before.contains("test]") || before.contains("test(") || in_macro,
            "{file}::{function} is no test"
        );
    }
    // Each actor has tests that show what stops it.
    for actor in page.split("\n## ").skip(1).filter(|section| section.contains("| what they can do |")) {
        let title = actor.lines().next().unwrap_or_default();
        assert!(named_tests(actor).len() > 1, "{title}: no tests are named");
    }
}

#[test]
fn generated_files_are_fresh() {
    let root = workspace_root().expect("the workspace");
    let stale = codegen::stale(&root).expect("generated files can be rendered");
    assert!(stale.is_empty(), "{stale:?}: run `make generate`");
}
