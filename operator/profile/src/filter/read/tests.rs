//! What is joined into conditions of profiles, what can't be said, and programs made to cost whoever reads them much.

use super::*;
use crate::{
    evaluate::Outcome,
    filter::{Instruction, Reading},
};

const ARCH: u32 = 0xc000_003e;
const ALLOW: (u16, u8, u8, u32) = (0x06, 0, 0, 0x7fff_0000);
const DENY: (u16, u8, u8, u32) = (0x06, 0, 0, 0x0005_0001);

type Codes = Vec<(u16, u8, u8, u32)>;

fn program(codes: impl IntoIterator<Item = (u16, u8, u8, u32)>) -> Program {
    let instructions = codes.into_iter().map(|(code, jt, jf, k)| Instruction { code, jt, jf, k }).collect();
    Program::new(instructions).expect("the kernel takes it")
}

fn load(place: u32) -> (u16, u8, u8, u32) {
    (0x20, 0, 0, place)
}

fn read(codes: impl IntoIterator<Item = (u16, u8, u8, u32)>) -> Result<Reading, TooComplex> {
    Reading::of(&[program(codes)], Arch::X86_64, &Budget::default())
}

/// What is said of `ioctl` where a program that looks at nothing else goes by its arguments.
fn words(codes: Codes) -> String {
    let own = u8::try_from(codes.len() - 1).expect("few instructions");
    let head = [load(4), (0x15, 0, own + 3, ARCH), load(0), (0x15, 0, own + 1, 16)];
    let reading = read(head.into_iter().chain(codes).chain([DENY])).expect("it is simple");
    let summary = reading.summaries().remove(0);
    let ioctl = summary.calls.into_iter().find(|call| call.name == "ioctl").expect("a call");
    ioctl.words.unwrap_or_else(|| ioctl.otherwise.to_string())
}

#[test]
fn words_of_arguments_are_joined_into_conditions() {
    let fails = "; else fails with EPERM";
    // arg2 == 0x1_0000_0005
    let equal = vec![load(36), (0x15, 0, 3, 1), load(32), (0x15, 0, 1, 5), ALLOW, DENY];
    assert_eq!(words(equal), format!("is allowed if arg2 == 0x100000005{fails}"));
    let unequal = vec![load(36), (0x15, 0, 2, 1), load(32), (0x15, 1, 0, 5), ALLOW, DENY];
    assert_eq!(words(unequal), format!("is allowed if arg2 != 0x100000005{fails}"));
    let at_least = vec![load(36), (0x25, 3, 0, 1), (0x15, 0, 3, 1), load(32), (0x35, 0, 1, 5), ALLOW, DENY];
    assert_eq!(words(at_least), format!("is allowed if arg2 >= 0x100000005{fails}"));
    let at_most = vec![load(36), (0x25, 4, 0, 1), (0x15, 0, 2, 1), load(32), (0x25, 1, 0, 5), ALLOW, DENY];
    assert_eq!(words(at_most), format!("is allowed if arg2 <= 0x100000005{fails}"));
    let masked = vec![
        load(36),
        (0x54, 0, 0, 0xff),
        (0x15, 0, 4, 1),
        load(32),
        (0x54, 0, 0, 0xf0),
        (0x15, 0, 1, 0x30),
        ALLOW,
        DENY,
    ];
    assert_eq!(words(masked), format!("is allowed if arg2 & 0xff000000f0 == 0x100000030{fails}"));
    // A shift asks for the same as a mask.
    let shifted = vec![load(32), (0x74, 0, 0, 4), (0x15, 0, 1, 3), ALLOW, DENY];
    assert_eq!(words(shifted), format!("is allowed if arg2 & 0xfffffff0 == 48{fails}"));
    // An order of bits that are not all of a word's.
    let field = vec![load(32), (0x54, 0, 0, 3), (0x35, 0, 1, 2), ALLOW, DENY];
    assert_eq!(words(field), format!("is allowed if arg2 & 2 == 2{fails}"));
}

#[test]
fn what_no_profile_can_say_is_said_in_words() {
    let unsaid = |codes: Codes| {
        let reading = read(codes).expect("it is simple");
        let on_native = reading.reservations().iter().find(|one| one.arch == Arch::X86_64);
        let what = on_native.expect("it can't be said").what;
        // The span holds both.
        let decision = reading.evaluator().evaluate(Arch::X86_64, 1, [0; 6]);
        assert!(decision.is_contested(), "{decision:?}");
        assert!(!on_native.expect("one").to_string().is_empty());
        what
    };
    assert_eq!(unsaid(vec![load(8), (0x15, 0, 1, 5), ALLOW, DENY]), Unsaid::InstructionPointer);
    let sum = vec![load(16), (0x04, 0, 0, 1), (0x15, 0, 1, 5), ALLOW, DENY];
    assert_eq!(unsaid(sum), Unsaid::Arithmetic);
    let two = vec![load(16), (0x07, 0, 0, 0), load(24), (0x1d, 0, 1, 0), ALLOW, DENY];
    assert_eq!(unsaid(two), Unsaid::Arithmetic);
    assert_eq!(unsaid(vec![load(16), (0x16, 0, 0, 0)]), Unsaid::ComputedReturn);
    let parity = vec![load(0), (0x45, 0, 1, 1), ALLOW, DENY];
    let reading = read(parity).expect("it is simple");
    // Named calls are told apart all the same.
    let of = |number| reading.evaluator().evaluate(Arch::X86_64, number, [0; 6]);
    assert_eq!((of(0).outcome, of(1).outcome), (outcome(DENY.3), outcome(ALLOW.3)));
    assert!(
        of(1 << 20).is_contested() && reading.reservations().iter().any(|one| one.what == Unsaid::NumberBits)
    );
}

#[test]
fn high_words_of_x32_are_no_profiles() {
    let reading = read(vec![load(20), (0x15, 0, 1, 0), ALLOW, DENY]).expect("it is simple");
    assert!(reading.reservations().iter().all(|one| (one.arch, one.what) == (Arch::X32, Unsaid::HighWords)));
    assert!(reading.evaluator().evaluate(Arch::X32, 1, [0; 6]).is_contested());
    // The kernel gives 32-bit programs' calls none.
    assert_eq!(reading.evaluator().evaluate(Arch::X86, 1, [0; 6]).outcome, outcome(ALLOW.3));
}

/// Programs of as many instructions as there may be.
fn hostile() -> Vec<(&'static str, Codes)> {
    let full = |mut codes: Codes, again: &dyn Fn(u32) -> Codes| {
        for at in 0.. {
            let next = again(at);
            if codes.len() + next.len() > 4094 {
                break;
            }
            codes.extend(next);
        }
        codes.extend([ALLOW, DENY]);
        codes
    };
    let word = |at: u32| 16 + at * 4 % 48;
    vec![
        // Every way has another number in the index register.
        (
            "2^800 states",
            full(vec![(0x01, 0, 0, 1)], &|at| {
                let double = [(0x87, 0, 0, 0), (0x24, 0, 0, 3), (0x07, 0, 0, 0)];
                [&[load(word(at)), (0x45, 0, 3, 1 << (at % 32))][..], &double].concat()
            }),
        ),
        (
            "every number",
            full(vec![load(0)], &|at| vec![(0x15, 0, 1, at * 7), (0x06, 0, 0, 0x0005_0000 | (at % 4096))]),
        ),
        (
            "bits of numbers",
            full(vec![load(0)], &|at| {
                vec![(0x45, 0, 1, 0x0140_0000 << (at % 6)), (0x06, 0, 0, 0x0005_0000 | (at % 4096))]
            }),
        ),
        (
            "2^800 ways",
            full(Vec::new(), &|at| {
                let (one, other) = (1 << (at % 31), 1 << (at % 29));
                vec![load(word(at)), (0x45, 3, 0, one), load(word(at + 1)), (0x45, 1, 0, other), DENY]
            }),
        ),
        (
            "conditions of all arguments",
            full(Vec::new(), &|at| {
                vec![load(word(at)), (0x15, 0, 1, at), (0x06, 0, 0, 0x0005_0000 | (at % 4096))]
            }),
        ),
        ("one deep expression", full(vec![load(0)], &|at| vec![(0x04, 0, 0, at), (0xa4, 0, 0, at * 5)])),
        (
            "deep expressions of numbers",
            full(vec![load(0)], &|at| {
                vec![
                    (0x04, 0, 0, at),
                    (0xa4, 0, 0, at * 5),
                    (0x15, 0, 1, at),
                    (0x06, 0, 0, 0x0005_0000 | (at % 4096)),
                ]
            }),
        ),
        (
            "a full memory",
            full((0..16).flat_map(|at| [load(at * 4), (0x02, 0, 0, at)]).collect(), &|at| {
                let (one, other) = (at % 16, (at + 5) % 16);
                vec![
                    (0x60, 0, 0, one),
                    (0x61, 0, 0, other),
                    (0x2d, 0, 1, 0),
                    (0x0c, 0, 0, 0),
                    (0x02, 0, 0, one),
                ]
            }),
        ),
    ]
}

#[test]
fn hostile_programs_end_within_the_budget() {
    for (what, codes) in hostile() {
        let begun = std::time::Instant::now();
        let budget = Budget::default();
        let reading = Reading::of(&[program(codes.clone())], Arch::X86_64, &budget);
        let took = begun.elapsed();
        // Unoptimised, on a machine that does other things too.
        assert!(took.as_secs() < 20, "{what} took {took:?}");
        if let Ok(reading) = reading {
            let data = super::super::Data { number: 1, arch: ARCH, ..Default::default() };
            let actual: Outcome = outcome(program(codes).run(&data));
            let decision = reading.evaluator().evaluate(Arch::X86_64, 1, [0; 6]);
            let span = decision.outcome.strictness()..=decision.strictest().strictness();
            assert!(span.contains(&actual.strictness()), "{what}: {actual}, not {decision:?}");
        }
    }
}

#[test]
fn no_filter_is_nothing_to_read() {
    assert_eq!(Reading::of(&[], Arch::X86_64, &Budget::default()).err(), Some(TooComplex));
}
