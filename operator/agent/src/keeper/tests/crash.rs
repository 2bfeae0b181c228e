//! Killed at any instant, it leaves the old file or the new one, whole.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use super::*;

const DIRECTORY: &str = "PORTCULLIS_TEST_CRASH_DIRECTORY";
const KILLS: usize = 25;
/// Larger than one page and than one write of any file system.
const SIZE: usize = 48 * 1024;

fn content(letter: u8) -> String {
    String::from_utf8(vec![letter; SIZE]).unwrap()
}

/// The agent that is killed: run by the test below as a process of its own.
#[test]
#[ignore = "started by killed_at_any_instant_it_leaves_a_whole_file"]
fn writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let mut node = Node::at(Path::new(&directory));
    node.handle(vec![whole_list(Vec::new())]);
    for sequence in 1.. {
        let letter = b'a' + u8::try_from(sequence % 5).unwrap();
        node.handle(vec![applied(&web(), &content(letter), sequence)]);
    }
}

#[test]
fn killed_at_any_instant_it_leaves_a_whole_file() {
    let temporary = tempfile::tempdir().unwrap();
    let mut node = Node::at(temporary.path());
    node.handle(vec![whole_list(Vec::new()), applied(&web(), &content(b'a'), 1)]);
    node.keeper = None;
    let path = node.path("shop/web.json");
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = [0_u64; 5];
            while !done.load(Ordering::Relaxed) {
                let bytes = fs::read(&path).expect("the file is missing");
                assert_eq!(bytes.len(), SIZE, "the file is torn or empty");
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "the file is a mixture");
                seen[usize::from(bytes[0] - b'a')] += 1;
                reads.fetch_add(1, Ordering::Relaxed);
            }
            seen
        });
        for kill in 0..KILLS {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "keeper::tests::crash::writer", "--ignored"])
                .env(DIRECTORY, temporary.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Killed after it was seen to write, at a different instant each time.
            let before = reads.load(Ordering::Relaxed);
            let first = fs::read(&path).unwrap()[0];
            while !reader.is_finished()
                && (reads.load(Ordering::Relaxed) < before + 7 * kill as u64
                    || fs::read(&path).unwrap()[0] == first)
            {
                thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    let contents = seen.iter().filter(|count| **count > 0).count();
    assert!(contents > 1, "nothing was written while it was read: {seen:?}");
    // The agent that comes next knows what is its own, and finds nothing to complain of.
    let outcome = {
        node.boot();
        node.turn()
    };
    assert_eq!(node.metric("files_foreign", None), 0.0);
    assert!(outcome.wanted.is_empty());
    assert_eq!(fs::read_dir(node.path(".store/temporary")).unwrap().count(), 0);
}
