//! Recordings: the laws of their union, and what is made of them.

mod laws;
mod make;

use portcullis_profile::{
    Arch,
    recording::{Call, Observation, Seen, Subject, Tally},
    syscalls,
};

fn call(name: &str) -> Call {
    let number = syscalls::number(Arch::X86_64, name).expect("a call of x86-64");
    Call { arch: Arch::X86_64, number }
}

fn saw(names: &[&str]) -> Observation {
    let calls = names.iter().map(|name| (call(name), Seen { count: 1, first_at: 10 }));
    Observation { containers: 1, calls: calls.collect(), ..Observation::default() }
}

fn subject(container: &str, run: &str) -> Subject {
    Subject { image: "sha256:1".to_owned(), container: container.to_owned(), run: run.to_owned() }
}

fn tally(seen: &[(&str, &str, Observation)]) -> Tally {
    let mut tally = Tally::default();
    for (container, run, observation) in seen {
        tally.add_one(subject(container, run), observation);
    }
    tally
}
