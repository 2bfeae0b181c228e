//! The model against the running kernel: a child process confines itself with libseccomp and says what its calls
//! came to.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[expect(dead_code, reason = "the loader alone is used here")]
mod oracle;

use std::{env, process::Command};

use oracle::{NATIVE, filter};
use portcullis_profile::{
    Action, Arg, Operator, Profile, Rule,
    evaluate::{Evaluator, Runtime},
    syscalls,
};

/// Set in the child, which makes no call but those of [`CALLS`] under the filter.
const CHILD: &str = "PORTCULLIS_KERNEL_TEST_CHILD";

/// Calls that harm nothing whatever their arguments.
const CALLS: &[(&str, [u64; 6])] = &[
    ("getppid", [0, 0, 0, 0, 0, 0]),
    ("getppid", [1, 0, 0, 0, 0, 0]),
    ("getppid", [5, 1, 0, 0, 0, 0]),
    ("getppid", [7, 1, 0, 0, 0, 0]),
    ("getppid", [u64::MAX, 2, 0, 0, 0, 0]),
    ("getuid", [1 << 32, 0, 0, 0, 0, 0]),
    ("getuid", [(1 << 32) - 1, 0, 0, 0, 0, 0]),
    ("getgid", [0, 0, 1, 0, 0, 0]),
    ("getgid", [0, 0, 2, 0, 0, 0]),
    ("getgid", [0, 0, 3, 0, 0, 0]),
    ("geteuid", [0, 0, 0, 0, 0, 40]),
    ("geteuid", [0, 0, 0, 0, 0, 41]),
    ("sched_yield", [0; 6]),
];

fn rule(name: &str, errno: u32, args: &[(u8, Operator, u64, u64)]) -> Rule {
    Rule {
        names: vec![name.to_owned()],
        action: Action::Errno,
        errno_ret: Some(errno),
        args: args.iter().map(|&(index, op, value, value_two)| Arg { index, value, value_two, op }).collect(),
    }
}

/// Denials by a different errno each, of calls that never fail otherwise.
fn profile() -> Profile {
    use Operator::{Equal, GreaterThan, LessThan, MaskedEq, NotEqual};
    Profile {
        default_action: Action::Allow,
        default_errno_ret: None,
        architectures: vec![NATIVE],
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls: vec![
            rule("getppid", 11, &[(0, Equal, 5, 0), (1, Equal, 1, 0)]),
            rule("getppid", 12, &[(0, MaskedEq, u64::MAX, 7)]),
            // A repeated index: either will do.
            rule("getppid", 13, &[(1, Equal, 2, 0), (1, Equal, 3, 0)]),
            rule("getuid", 14, &[(0, GreaterThan, 0xffff_ffff, 0)]),
            // A datum's bit outside the mask counts for nothing.
            rule("getgid", 15, &[(2, MaskedEq, 1, 3)]),
            rule("geteuid", 16, &[(5, NotEqual, 40, 0)]),
            rule("geteuid", 17, &[(5, LessThan, 0, 0)]),
            rule("sched_yield", 18, &[]),
            rule("sched_yield", 19, &[]),
        ],
    }
}

#[test]
fn evaluates_as_the_kernel_does() {
    if env::var_os(CHILD).is_some() {
        return confined();
    }
    let evaluator = Evaluator::new(&profile(), Runtime::Crun, NATIVE).expect("crun takes the profile");
    let expected: Vec<String> = CALLS
        .iter()
        .map(|(name, arguments)| {
            let decision = evaluator.evaluate_name(NATIVE, name, *arguments).expect("a known name");
            assert!(!decision.is_contested(), "{name}");
            format!("{:?}", decision.outcome.errno())
        })
        .collect();
    let child = Command::new(env::current_exe().expect("a test has a file"))
        .args(["--exact", "evaluates_as_the_kernel_does", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("the test can be started again");
    let text = String::from_utf8_lossy(&child.stdout);
    let answers =
        text.lines().find_map(|line| line.split_once("ANSWERS ")).expect("the child says what it got").1;
    assert_eq!(answers.split(' ').collect::<Vec<_>>(), expected);
    assert!(expected.iter().any(|one| one == "None") && expected.iter().any(|one| one != "None"));
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
/// Loads the filter into this process and reports the errno of each call.
fn confined() {
    filter(&profile(), Runtime::Crun)
        .expect("libseccomp takes the profile")
        .load()
        .expect("the kernel takes the filter");
    let answers: Vec<String> =
        CALLS.iter().map(|(name, arguments)| format!("{:?}", call(name, arguments))).collect();
    println!("ANSWERS {}", answers.join(" "));
}

#[expect(unsafe_code, reason = "only a raw call takes arguments that the call doesn't have")]
fn call(name: &str, arguments: &[u64; 6]) -> Option<u16> {
    let number = i64::from(syscalls::number(NATIVE, name).expect("a known name"));
    let [a, b, c, d, e, f] = *arguments;
    // SAFETY: none of the calls of `CALLS` takes a pointer or changes anything.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    (answer == -1)
        .then(|| std::io::Error::last_os_error().raw_os_error().and_then(|errno| u16::try_from(errno).ok()))?
}
