//! A program with threads, seen without a filter: it starts them by clone3, which the runtime default answers with ENOSYS, and never calls the
//! clone that it would make then. Its profile must let it run all the same, and be no looser than the default.

use std::{fs, path::Path, process::Command};

use portcullis_profile::{
    Profile,
    evaluate::{Evaluator, Passage, Runtime},
};

use crate::{
    container::{Bundle, filter_of, waiting},
    machine::{METHODS, container_id, profile, record},
};

/// Compiles the program into a bundle, and gives its path.
fn threads(bundle: &Bundle) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/record/threads.c");
    let program = bundle.path().join("rootfs/bin/threads");
    let compiled = Command::new("gcc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-o"])
        .args([&program, &source])
        .status()
        .expect("gcc is needed to compile the program");
    assert!(compiled.success(), "gcc refused {}", source.display());
    program.to_str().expect("text").to_owned()
}

/// What a profile lets through of clone3, of a thread by clone, and of a new user namespace.
fn passes(profile: &Profile) -> [bool; 3] {
    let native = profile.architectures[0];
    let evaluator = Evaluator::new(profile, Runtime::Runc, native).expect("a profile that loads");
    [("clone3", 0), ("clone", 0x003d_0f00), ("clone", 0x1000_0011)].map(|(name, flags)| {
        let decision = evaluator.evaluate_name(native, name, [flags, 0, 0, 0, 0, 0]).expect("a call");
        decision.outcome.passage() == Passage::Permitted
    })
}

fn runs_under_its_profile(bundle: &Bundle, how: &str) {
    assert_eq!(passes(&profile(bundle.path(), "app.json")), [false, true, false], "{how}");
    bundle.configure_command(&["/bin/threads"], Some(filter_of(bundle)));
    let confined = bundle.run(&container_id());
    assert_eq!(String::from_utf8_lossy(&confined.stdout), "4 threads\n", "{how}: {confined:?}");
}

const OPTIONS: [&str; 4] = ["--with-runtime-base", "runc", "--file", "app.json"];

#[test]
fn a_command_with_threads_runs_under_its_profile() {
    let bundle = Bundle::new();
    let program = threads(&bundle);
    for method in METHODS {
        let ran =
            record(bundle.path(), &[&["--method", method], &OPTIONS[..], &["--", program.as_str()]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(ran.said.contains("clone3 is answered with ENOSYS"), "{}", ran.said);
        runs_under_its_profile(&bundle, method);
    }
}

#[test]
fn a_container_with_threads_and_without_a_filter_runs_under_its_profile() {
    let bundle = Bundle::new();
    threads(&bundle);
    let id = container_id();
    bundle.configure_command(&["/bin/threads"], None);
    let running = waiting(&bundle, &id);
    assert!(bundle.run(&id).status.success());
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    runs_under_its_profile(&bundle, "a container");
}

#[test]
fn what_strace_saw_of_threads_makes_a_profile_under_which_they_run() {
    let bundle = Bundle::new();
    let program = threads(&bundle);
    let traced =
        Command::new("strace").args(["-f", "-o", "trace", &program]).current_dir(bundle.path()).output();
    assert!(traced.expect("these tests need strace").status.success());
    let imported = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(["import", "strace", "--with-runtime-base", "runc", "trace"])
        .current_dir(bundle.path())
        .output()
        .expect("the binary can be run");
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    fs::write(bundle.path().join("app.json"), &imported.stdout).expect("it is written");
    runs_under_its_profile(&bundle, "strace");
}
