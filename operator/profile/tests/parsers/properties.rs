//! What holds of every parser whatever it is given; a panic says that it doesn't.
//!
//! Shared by the property tests here and by the fuzz targets in `fuzz/`.

use std::collections::BTreeSet;

use portcullis_profile::{
    Arch, MAX_DOCUMENT_BYTES, Profile,
    compare::Budget,
    constants,
    docker::{self, Context, Kernel},
    filter::{Assembly, Data, Instruction, Program, Reading, enforced, outcome},
    import::{
        Generation, MAX_EXAMPLES, Observed, RULED_ARGUMENTS, Unread,
        audit::{Audit, AuditLog, MAX_PROGRAMS},
        hook::Hook,
        strace::{Event, Strace, Summary},
    },
};

/// An example shows at most this much: 80 bytes of a line, each of which may become an escape.
const MAX_EXAMPLE_BYTES: usize = 80 * 10 + 3;

/// What is read is written and read again as the same content; what is not read says why, in bounded words.
pub(crate) fn profile(data: &[u8]) {
    match Profile::parse(data) {
        Ok(profile) => {
            let canonical = profile.canonical();
            // A document near the limit may grow beyond it where it is written out.
            if canonical.render().len() <= MAX_DOCUMENT_BYTES {
                let again = Profile::parse(&canonical.render()).expect("what is rendered can be read");
                assert_eq!(again.canonical(), canonical);
            }
        }
        Err(errors) => {
            assert!((1..=20).contains(&errors.errors().len()));
            assert!(errors.to_string().len() < 20_000, "{}", errors.to_string().len());
        }
    }
}

/// Docker's format: resolving never fails in another way than by an error.
pub(crate) fn docker(data: &[u8]) {
    let Ok(document) = serde_json::from_slice(data) else { return };
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let context = Context::default_capabilities(arch, Kernel { version: 5, patch_level: 10 });
        match docker::resolve(&document, &context) {
            Ok(resolved) => {
                let rendered = resolved.profile.render();
                let again = Profile::parse(&rendered);
                assert!(again.is_ok() || rendered.len() > MAX_DOCUMENT_BYTES, "{again:?}");
            }
            Err(errors) => assert!((1..=20).contains(&errors.errors().len())),
        }
    }
}

/// A trace reads the same in one piece and in many, has at most two events a line (a call, and the one that it restarts), and gives a profile that can be read.
pub(crate) fn strace(data: &[u8]) {
    let whole = traced(data, data.len().max(1));
    let pieces = traced(data, 7);
    assert_eq!(whole, pieces);
    let (observed, summary, events) = whole;
    assert!(events <= 2 * summary.lines);
    bounded(&summary.unread);
    // Making a profile takes ten times as long as reading; what was read decides little about it.
    if events > 0 && data.len().is_multiple_of(16) {
        let generated = observed.profile(&Generation::default());
        let again = Profile::parse(&generated.profile.render()).expect("what is generated can be read");
        assert_eq!(again.canonical(), generated.profile.canonical());
    }
}

/// The same behind the headings of a table, which mutations seldom find.
pub(crate) fn strace_table(data: &[u8]) {
    const HEAD: &[u8] = b"% time     seconds  usecs/call     calls    errors syscall\n\
        ------ ----------- ----------- --------- --------- ----------------\n";
    strace(&[HEAD, data].concat());
    strace(data);
}

fn traced(data: &[u8], piece: usize) -> (Observed, Summary, u64) {
    let calls: BTreeSet<&str> = RULED_ARGUMENTS.iter().map(|rule| rule.call).collect();
    let mut observed = Observed::with_arguments(&calls);
    let mut events = 0;
    let mut each = |event: Event<'_>| {
        events += 1;
        if let Event::Call(call) = event {
            let values = call.values();
            assert_eq!(call.value(1), values[1]);
        }
        observed.record(event);
    };
    let mut strace = Strace::new(Arch::X86_64);
    for piece in data.chunks(piece) {
        strace.feed(piece, &mut each);
    }
    let summary = strace.finish(&mut each);
    (observed, summary, events)
}

/// A log reads the same in one piece and in many, and every line of it is counted once.
pub(crate) fn audit(data: &[u8]) {
    let whole = logged(data, data.len().max(1));
    assert_eq!(whole, logged(data, 7));
    assert_eq!(whole.records + whole.repeated + whole.others + whole.unread.count(), whole.lines);
    assert!(whole.programs.len() <= MAX_PROGRAMS + 1);
    bounded(&whole.unread);
    let counted: u64 = whole.programs.values().flat_map(|program| program.calls.values()).sum();
    // A line of the Security Profiles Operator's enricher has several calls.
    assert!(counted >= whole.records);
}

fn logged(data: &[u8], piece: usize) -> AuditLog {
    let mut audit = Audit::new(Arch::X86_64);
    for piece in data.chunks(piece) {
        audit.feed(piece);
    }
    audit.finish()
}

/// What the hook wrote is completed into a profile that can be read.
pub(crate) fn hook(data: &[u8]) {
    if let Ok(hook) = Hook::parse(data) {
        let profile = hook.complete(&Generation::default());
        let again = Profile::parse(&profile.render());
        assert!(again.is_ok() || profile.render().len() > MAX_DOCUMENT_BYTES);
    }
}

/// An argument has a value or none, and the names of a value are read as that value. The first two bytes choose call
/// and architecture.
pub(crate) fn argument(data: &[u8]) {
    const PLACES: &[(&str, usize)] = &[
        ("clone", 0),
        ("clone", 1),
        ("socket", 0),
        ("socket", 1),
        ("socket", 2),
        ("ioctl", 1),
        ("prctl", 0),
        ("fcntl", 1),
        ("openat", 2),
        ("mmap", 3),
        ("mount", 3),
        ("personality", 0),
        ("read", 0),
    ];
    let [place, arch, text @ ..] = data else { return };
    let (call, index) = PLACES[usize::from(*place) % PLACES.len()];
    let arch = Arch::ALL[usize::from(*arch) % Arch::ALL.len()];
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Some(value) = constants::value(arch, call, index, text)
        && let Some(names) = constants::names(arch, call, index, value)
    {
        assert_eq!(constants::value(arch, call, index, &names), Some(value), "{names}");
    }
}

/// A program of classic BPF: whatever the kernel takes is read within the budget, and what is read is what it does. Bytes that are no
/// program are made one.
pub(crate) fn program(data: &[u8]) {
    for program in [Program::from_bytes(data, false), Program::new(mended(data))].into_iter().flatten() {
        let bytes = program.to_bytes(false);
        assert_eq!(Program::from_bytes(&bytes, false).as_ref(), Ok(&program));
        let lines = Assembly { program: &program, big_endian: false }.to_string().lines().count();
        assert_eq!(lines, program.instructions().len() + 2);
        let filters = [program];
        if let Ok(reading) = Reading::of(&filters, Arch::X86_64, &Budget::default()) {
            agrees(&filters, &reading);
        }
    }
}

/// Calls with the words that a program compares with.
fn agrees(filters: &[Program], reading: &Reading) {
    const CALLS: [(Arch, u32); 3] =
        [(Arch::X86_64, 0xc000_003e), (Arch::X86, 0x4000_0003), (Arch::X32, 0xc000_003e)];
    let constants = filters.iter().flat_map(Program::instructions).map(|one| one.k);
    let mut words: Vec<u32> =
        constants.flat_map(|k| [k, k.wrapping_add(1), k.wrapping_sub(1), !k]).chain([0, 1]).collect();
    words.sort_unstable();
    words.dedup();
    words.truncate(64);
    for (at, &word) in words.iter().enumerate() {
        let other = u64::from(words[words.len() - 1 - at]);
        for (arch, token) in CALLS {
            let wide = if arch == Arch::X86 { 0 } else { other << 32 };
            let number = word & 0x3fff_ffff | if arch == Arch::X32 { 1 << 30 } else { 0 };
            let arguments =
                [u64::from(word), other, wide | u64::from(word), wide | other, 0, u64::from(word)];
            let data = Data { number, arch: token, arguments, ..Data::default() };
            let actual = outcome(enforced(filters, &data));
            let decision = reading.evaluator().evaluate(arch, number, arguments);
            let span = decision.outcome.strictness()..=decision.strictest().strictness();
            assert!(span.contains(&actual.strictness()), "{arch} {data:x?}: {actual}, not {decision:?}");
            assert!(decision.is_contested() || decision.outcome == actual, "{arch} {data:x?} {decision:?}");
        }
    }
}

/// Instructions that the kernel takes, by the bytes.
fn mended(data: &[u8]) -> Vec<Instruction> {
    const CODES: [u16; 20] = [
        0x20, 0x15, 0x06, 0x25, 0x35, 0x45, 0x54, 0x05, 0x20, 0x15, 0x02, 0x60, 0x07, 0x87, 0x74, 0x04, 0x3c,
        0x1d, 0x16, 0x61,
    ];
    let (chunks, _) = data.as_chunks::<8>();
    let left = |at: usize| chunks.len() - at;
    // Scratch memory is written before anything else.
    let begun = (0..4).map(|word| Instruction { code: 0x02, k: word, ..Instruction::default() });
    let own = chunks.iter().enumerate().map(|(at, chunk)| {
        let one = Instruction::from_bytes(*chunk, false);
        let code = CODES[usize::from(one.code) % CODES.len()];
        let most = left(at).min(256) as u32;
        let k = match code {
            0x20 => one.k % 16 * 4,
            0x02 | 0x60 | 0x61 => one.k % 4,
            0x05 => one.k % most,
            0x74 => one.k % 32,
            _ => one.k,
        };
        let jump = |distance: u8| (u32::from(distance) % most) as u8;
        Instruction { code, jt: jump(one.jt), jf: jump(one.jf), k }
    });
    let end = Instruction { code: 0x16, ..Instruction::default() };
    begun.chain(own).chain([end]).collect()
}

fn bounded(unread: &Unread) {
    for (_, count, examples) in unread.by_reason() {
        assert!(count >= 1 && examples.len() <= MAX_EXAMPLES);
        assert!(examples.iter().all(|example| example.text.len() <= MAX_EXAMPLE_BYTES));
    }
}
