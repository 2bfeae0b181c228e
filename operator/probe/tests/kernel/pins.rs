//! What stays when the process ends, and what goes.

use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

use aya::programs::{links::PinnedLink, loaded_programs};
use portcullis_probe::{Attachment, Error, Probe, uninstall};

use crate::{
    application::{CONTAINER, NOW, OWN_MOUNTS, exec},
    machine::{DENIALS, FILTERED, Node, counted, counts, expect, of, until, waits_in_read},
};

#[test]
fn a_restart_loses_nothing() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), DENIALS).expect("a pod can be watched");
    let mut subject = cgroup.start(&[
        "deny=102:0x50001",
        "filter",
        "call=39*10",
        "wait",
        "call=39*100",
        "call=102",
        "wait",
        "call=39*1000",
        "call=102",
    ]);
    subject.go_on();
    until("the first calls are counted", || counted(&node, id).get("read") == Some(&1));
    node.close();
    // The second read is entered when the calls before it were made, with no process of ours alive.
    subject.go_on_to_next_wait();
    node.reopen();
    assert_eq!(node.attachment(), Attachment::Typed);
    subject.go_on();
    assert!(subject.end().success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(counts(&recorded.calls), expect([("getpid", 1110), ("read", 2), ("exit_group", 1)]));
    assert_eq!(counts(&recorded.denied), expect([("getuid", 2)]));
}

#[test]
fn a_restart_loses_no_application_without_a_filter() {
    for watch in [CONTAINER, NOW] {
        let mut node = Node::new();
        let pod = node.pod();
        let (id, cgroup) = pod.container();
        let begin: &[&str] = if watch == NOW { &[] } else { &[OWN_MOUNTS, &exec()] };
        let rest = [
            "call=39*10",
            "wait",
            "call=39*100",
            "fork",
            "wait",
            "call=39*1000",
            "join",
            "wait",
            "call=39*10000",
        ];
        let mut application = cgroup.start(&[begin, &rest].concat());
        node.watch(&pod.target(), watch).expect("a pod can be watched");
        application.go_on();
        until("the first calls are counted", || counted(&node, id).get("read") == Some(&1));
        // A runtime's process, which waits, is none of the application's before and after.
        let mut runtime = cgroup.start(&["call=102"]);
        node.close();
        application.go_on();
        // Its child waits, started while no process of ours is alive.
        let children = format!("/proc/{0}/task/{0}/children", application.id());
        until("the child waits", || {
            let child = fs::read_to_string(&children).unwrap_or_default();
            child.trim().parse().is_ok_and(waits_in_read)
        });
        node.reopen();
        node.watch_only(&BTreeMap::from([(pod.target(), watch)])).expect("targets can be confirmed");
        runtime.go_on();
        assert!(runtime.end().success());
        application.go_on();
        until("the child's calls are counted", || counted(&node, id).get("read") == Some(&3));
        application.go_on();
        assert!(application.end().success());
        let mut truth =
            expect([("getpid", 11110), ("read", 3), ("fork", 1), ("wait4", 1), ("exit_group", 2)]);
        if watch == CONTAINER {
            truth.insert("execve".to_owned(), 1);
        }
        assert_eq!(counted(&node, id), truth, "{watch:?}");
    }
}

#[test]
fn a_new_process_takes_over_while_an_application_forks() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), CONTAINER).expect("a pod can be watched");
    let exec = exec();
    let forks = 200;
    let mut steps = vec![OWN_MOUNTS, &exec];
    steps.extend(std::iter::repeat_n(["fork", "call=110*2000", "join"], forks).flatten());
    steps.push("exit=17");
    let mut subject = cgroup.start(&steps);
    subject.go_on();
    let mut restarts = 0;
    while subject.running() {
        node.close();
        node.reopen();
        restarts += 1;
    }
    assert_eq!(subject.end().code(), Some(17));
    let counted = counted(&node, id);
    let least = 2000 * forks as u64;
    assert!(
        (least..=least + restarts).contains(&counted["getppid"]),
        "{counted:?} after {restarts} restarts"
    );
    assert!(restarts > 0);
}

#[test]
fn a_new_process_takes_over_in_the_middle_of_calls() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let mut subject = cgroup.start(&["filter", "call=110*300000"]);
    subject.go_on();
    let mut restarts = 0;
    while !counted(&node, id).contains_key("exit_group") {
        node.close();
        node.reopen();
        restarts += 1;
    }
    assert!(subject.end().success());
    let counted = counted(&node, id)["getppid"];
    // A call during the store that hands over may count twice, never not at all.
    assert!((300_000..=300_000 + restarts).contains(&counted), "{counted} after {restarts} restarts");
    assert!(restarts > 0);
}

#[test]
fn nothing_is_attached_while_nothing_is_watched() {
    let mut node = Node::new();
    assert_eq!(node.attachment(), Attachment::None);
    assert_eq!(links(&node), 0);
    let pod = node.pod();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    assert_eq!(links(&node), 8);
    node.watch(&pod.target(), DENIALS).expect("a watch can change");
    assert_eq!(links(&node), 9);
    node.watch(&pod.target(), FILTERED).expect("a watch can change");
    assert_eq!(links(&node), 8);
    node.unwatch(&pod.target()).expect("a watch can end");
    assert_eq!((node.attachment(), links(&node), node.targets().expect("targets")), (Attachment::None, 0, 0));
    let (_, cgroup) = pod.container();
    assert!(cgroup.run(&["filter"]).success());
    assert!(node.snapshot().expect("a snapshot").containers.is_empty());
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched again");
    assert!(cgroup.run(&["filter"]).success());
    assert_eq!(node.snapshot().expect("a snapshot").containers.len(), 1);
}

/// How many links a node has pinned.
fn links(node: &Node) -> usize {
    link_files(&node.directory()).len()
}

fn link_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for schema in fs::read_dir(directory).expect("a node's directory").flatten() {
        for entry in fs::read_dir(schema.path()).expect("a schema's directory").flatten() {
            if entry.file_name().to_string_lossy().starts_with("links_") {
                found.extend(fs::read_dir(entry.path()).expect("links").flatten().map(|link| link.path()));
            }
        }
    }
    found
}

#[test]
fn targets_are_found_again_and_replaced_as_a_whole() {
    let mut node = Node::new();
    let (first, second) = (node.pod(), node.pod());
    node.watch(&first.target(), FILTERED).expect("a pod can be watched");
    node.close();
    node.reopen();
    assert_eq!(node.targets().expect("targets"), 1);
    node.watch_only(&BTreeMap::from([(second.target(), FILTERED)])).expect("targets can be replaced");
    let (_, cgroup) = first.container();
    let (id, other) = second.container();
    assert!(cgroup.run(&["filter"]).success());
    assert!(other.run(&["filter"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(snapshot.containers.len(), 1);
    assert_eq!(of(&snapshot, id).container.pod, Some(second.uid));
}

#[test]
fn another_process_is_kept_out_and_another_schema_removed() {
    let mut node = Node::new();
    assert!(matches!(Probe::open(&node.settings), Err(Error::Busy { .. })));
    assert!(matches!(uninstall(&node.settings.pins, &node.settings.node), Err(Error::Busy { .. })));
    let leftover = node.directory().join("v0_1_1_1_1");
    fs::create_dir(&leftover).expect("a leftover");
    node.close();
    node.reopen();
    assert!(!leftover.exists());
}

#[test]
fn uninstalling_detaches_and_unloads() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), DENIALS).expect("a pod can be watched");
    let files = link_files(&node.directory());
    let programs: Vec<u32> = files
        .iter()
        .map(|file| {
            let link = PinnedLink::from_pin(file).expect("a link");
            aya::programs::links::FdLink::from(link).info().expect("its info").program_id()
        })
        .collect();
    assert_eq!(programs.len(), 9);
    let loaded = || loaded_programs().flatten().filter(|program| programs.contains(&program.id())).count();
    assert_eq!(loaded(), 9);
    node.close();
    assert_eq!(loaded(), 9, "they outlive the process");
    assert!(uninstall(&node.settings.pins, &node.settings.node).expect("pins can be removed"));
    until("the kernel has unloaded the programs", || loaded() == 0);
    assert!(!node.directory().exists());
    assert!(!uninstall(&node.settings.pins, &node.settings.node).expect("twice is no error"));
}

#[test]
fn what_is_no_bpf_file_system_is_refused() {
    let mut settings = Node::new().settings.clone();
    let directory = tempfile::tempdir().expect("a directory");
    settings.pins = directory.path().to_owned();
    let error = Probe::open(&settings).expect_err("it is no BPF file system");
    assert!(error.to_string().contains("mount -t bpf bpf"), "{error}");
    settings.pins = "/sys/fs/bpf/portcullis".into();
    settings.node = "../escape".to_owned();
    assert!(matches!(Probe::open(&settings), Err(Error::NodeName(_))));
}

/// A pod that came and went while nobody was there can't be counted, but that it was there is known.
#[test]
fn pods_that_came_while_nobody_was_there_are_known() {
    let mut node = Node::new();
    assert_eq!(node.absence().expect("it can be asked"), None, "nobody was there before");
    let watched = node.pod();
    node.watch(&watched.target(), FILTERED).expect("a pod can be watched");
    let before = node.pod();
    drop(before.container());
    node.stay().expect("it can say so");
    node.close();
    let stranger = node.pod();
    let (_, cgroup) = stranger.container();
    assert!(cgroup.run(&["filter", "call=39"]).success());
    drop(cgroup);
    let (_, of_the_watched) = watched.container();
    node.reopen();
    let absence = node.absence().expect("it can be asked").expect("there was one");
    assert_eq!(absence.strangers.keys().collect::<Vec<_>>(), [&stranger.uid], "{absence:?}");
    assert!(absence.strangers.values().all(|at| *at >= absence.since && *at <= SystemTime::now()));
    assert!(absence.noted, "the programs stayed attached");
    drop(of_the_watched);
    node.stay().expect("it can say so");
    assert_eq!(node.absence().expect("it can be asked"), None);
}

/// While nothing is watched nothing is attached, so nobody takes note of pods.
#[test]
fn while_nothing_was_watched_nobody_noted_which_pods_came() {
    let mut node = Node::new();
    node.stay().expect("it can say so");
    node.close();
    let stranger = node.pod();
    drop(stranger.container());
    node.reopen();
    let absence = node.absence().expect("it can be asked").expect("there was one");
    assert!(absence.strangers.is_empty() && !absence.noted, "{absence:?}");
}
