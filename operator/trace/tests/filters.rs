//! The filters of a task are those that it loaded, in their order. Needs root.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use portcullis_profile::filter::{Instruction, Program};
use portcullis_trace::{Unread, filters};

/// Loads as many filters as it has arguments: each allows everything after it has loaded the word at that place.
const SCRIPT: &str = r"
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0
for place in map(int, sys.argv[1:]):
    code = struct.pack('=HBBIHBBI', 0x20, 0, 0, place, 0x06, 0, 0, 0x7fff0000)
    memory = ctypes.create_string_buffer(code)
    program = Program(2, ctypes.addressof(memory))
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
print('loaded', flush=True)
sys.stdin.read()
";

/// A child under filters, which ends when this is dropped.
struct Confined(Child);

impl Confined {
    fn new(places: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT])
            .args(places)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed to load a filter");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it says something");
        assert_eq!(line, "loaded\n");
        Self(child)
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("it ends");
        // Being looked at did it no harm.
        assert!(status.success(), "{status}");
    }
}

fn program(place: u32) -> Program {
    let load = Instruction { code: 0x20, k: place, ..Instruction::default() };
    let allow = Instruction { code: 0x06, k: 0x7fff_0000, ..Instruction::default() };
    Program::new(vec![load, allow]).expect("a program")
}

#[test]
fn filters_are_read_back_the_oldest_first() {
    let confined = Confined::new(&["0", "4", "16"]);
    for _ in 0..2 {
        let found = filters(confined.0.id()).expect("these tests need root");
        let programs: Vec<Program> = found.iter().map(|filter| filter.program.clone()).collect();
        assert_eq!(programs, [0, 4, 16].map(program));
        assert!(found.iter().all(|filter| filter.logs == Some(false)), "{found:?}");
    }
}

#[test]
fn a_task_without_filters_and_none_at_all_are_told_apart() {
    let mut child = Command::new("sleep").arg("20").spawn().expect("sleep runs");
    let id = child.id();
    assert!(matches!(filters(id), Err(Unread::NoFilter(task)) if task == id));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert!(matches!(filters(id), Err(Unread::NoTask(_))));
}
