//! The processor time that judging one document takes, of a profile as people write them and of hostile ones.
//!
//! Prints milliseconds of the thread's own processor time, which other programs on the machine don't change much.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench is a program")]

#[path = "../tests/hostile/mod.rs"]
mod hostile;
#[path = "../tests/judge/mod.rs"]
mod judge;

use portcullis_profile::{Profile, compare::Budget, runtime_defaults};

/// The processor time of this thread, in seconds.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) writes the structure that it is given.
    #[allow(unsafe_code, reason = "the standard library has no clock of a thread's processor time")]
    let read = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(read, 0, "the clock can't be read");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() {
    let default = &runtime_defaults()[0].profile;
    let honest = [
        ("the runtime default", vec![default.clone()]),
        ("sixteen bases of 450 calls", vec![default.clone(); 16]),
    ];
    let hostile = hostile::documents().into_iter().map(|(what, document)| (what, vec![document]));
    let all: Vec<(&str, Vec<Profile>)> = honest.into_iter().chain(hostile).chain(hostile::unions()).collect();
    // What is known to everybody is made before.
    judge::judge(&all[0].1, &Budget::default());
    for (what, parts) in &all {
        let begun = processor_time();
        let served = judge::judge(parts, &Budget::default());
        let took = (processor_time() - begun) * 1e3;
        println!("{took:8.1} ms  {}  {what}", if served { "served " } else { "refused" });
    }
}
