//! Programs that libseccomp makes, read back: the reading does what the program does, and what the profile says.
#![cfg(target_arch = "x86_64")]

#[expect(dead_code, reason = "programs are made in two forms here, and outcomes are the model's")]
mod oracle;

use std::{
    cell::Cell,
    io::{Read as _, Seek as _},
};

use libseccomp::ScmpFilterContext;
use oracle::{NATIVE, audit_arch, bpf, filter, generate, stub};
use portcullis_profile::{
    Arch, Baseline, Profile,
    compare::{Budget, disputes},
    evaluate::{Evaluator, Runtime},
    filter::{Data, Program, Reading, Standing, enforced, outcome},
    runtime_default,
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

const ARCHES: &[Arch] = &[Arch::X86_64, Arch::X86, Arch::X32];

type Calls = Vec<(Arch, u32, [u64; 6])>;

/// How a filter is laid out: with the calls one after the other, or as a tree.
#[derive(Clone, Copy, Debug)]
enum Form {
    List,
    Tree,
}

/// What a runtime loads.
fn bytes(profile: &Profile, runtime: Runtime, form: Form) -> Option<Vec<u8>> {
    let mut context = filter(profile, runtime).ok()?;
    if matches!(form, Form::Tree) {
        context.set_ctl_optimize(2).expect("libseccomp 2.5");
    }
    let program = exported(&context)?;
    let stub = match runtime {
        Runtime::Runc => stub::generate(profile),
        Runtime::Crun => Vec::new(),
    };
    let stub = stub.iter().flat_map(|one| {
        let [a, b] = one.code.to_le_bytes();
        let [c, d, e, f] = one.k.to_le_bytes();
        [a, b, one.jt, one.jf, c, d, e, f]
    });
    Some(stub.chain(program).collect())
}

fn exported(context: &ScmpFilterContext) -> Option<Vec<u8>> {
    let mut file = tempfile::tempfile().expect("a temporary file");
    context.export_bpf(&file).ok()?;
    let mut bytes = Vec::new();
    file.rewind().expect("a file can be rewound");
    file.read_to_end(&mut bytes).expect("a file can be read");
    Some(bytes)
}

fn data(arch: Arch, number: u32, arguments: [u64; 6]) -> Data {
    // x32's numbers go with x86-64's audit architecture.
    let number = if arch == Arch::X32 { number | 1 << 30 } else { number };
    Data { number, arch: audit_arch(arch), arguments, ..Data::default() }
}

fn calls(profiles: &[&Profile]) -> impl Strategy<Value = Calls> + use<> {
    let call = select(ARCHES).prop_flat_map(|arch| (Just(arch), select(generate::numbers(arch))));
    prop::collection::vec((call, generate::arguments(profiles)), 120).prop_map(|all| {
        all.into_iter()
            .map(|((arch, number), arguments)| {
                // Profiles see the low words of 32-bit architectures alone, and the kernel gives no others but on x32.
                let narrow = |value| if arch == Arch::X86_64 { value } else { value & 0xffff_ffff };
                (arch, number, arguments.map(narrow))
            })
            .collect()
    })
}

fn any_profile() -> impl Strategy<Value = Profile> {
    prop_oneof![5 => generate::profile(), 1 => generate::tangled()]
}

fn case() -> impl Strategy<Value = (Profile, Runtime, Form, Calls)> {
    let forms = select(&[Form::List, Form::Tree][..]);
    (any_profile(), select(&[Runtime::Runc, Runtime::Crun][..]), forms).prop_flat_map(
        |(profile, runtime, form)| {
            let calls = calls(&[&profile]);
            (Just(profile), Just(runtime), Just(form), calls)
        },
    )
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })
}

fn read(filters: &[Program]) -> Reading {
    Reading::of(filters, NATIVE, &Budget::patient()).expect("libseccomp's programs are simple")
}

/// What the filters do with some calls is what the reading says.
fn check_calls(filters: &[Program], reading: &Reading, calls: &Calls) -> Result<(), TestCaseError> {
    for &(arch, number, arguments) in calls {
        let data = data(arch, number, arguments);
        if data.number >= 1 << 31 {
            continue;
        }
        let decision = reading.evaluator().evaluate(arch, number, arguments);
        let actual = outcome(enforced(filters, &data));
        prop_assert!(!decision.is_contested(), "{decision:?}");
        prop_assert_eq!(decision.outcome, actual, "{} {} {:x?}", arch, number, arguments);
    }
    Ok(())
}

/// For random profiles: the interpreter does what another one does, the reading what the interpreter does, and the profile compared with
/// its own program is equal to it. The document written of the reading does the same as the program.
#[test]
fn a_profile_is_equal_to_its_own_program() {
    let [equal, disputed, refused, written] = [const { Cell::new(0u32) }; 4];
    let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
    let result = runner(300).run(&case(), |(profile, runtime, form, calls)| {
        let said = disputes(&profile, runtime, NATIVE).expect("no such profile is generated");
        if said.iter().any(|one| one.cause == portcullis_profile::compare::DisputeCause::Endless) {
            return Ok(());
        }
        let Some(bytes) = bytes(&profile, runtime, form) else {
            count(&refused);
            return Ok(());
        };
        let program = Program::from_bytes(&bytes, false).expect("the kernel takes libseccomp's programs");
        prop_assert_eq!(&program.to_bytes(false), &bytes);
        let plain = bpf::parse(&bytes);
        for &(arch, number, arguments) in &calls {
            let data = data(arch, number, arguments);
            let other = bpf::run(&plain, data.arch, data.number, &arguments);
            prop_assert_eq!(program.run(&data), other);
        }
        let reading = read(std::slice::from_ref(&program));
        prop_assert!(reading.reservations().is_empty(), "{:?}", reading.reservations());
        check_calls(std::slice::from_ref(&program), &reading, &calls)?;
        let changes = reading
            .changes_from(&profile, runtime, &Budget::patient())
            .expect("no such profile is generated");
        if said.is_empty() {
            prop_assert_eq!(Standing::of(&changes), Standing::Equal, "{:?}", changes);
            count(&equal);
        } else {
            prop_assert!(changes.calls.iter().flat_map(|call| &call.differences).all(|one| !one.certain));
            count(&disputed);
        }
        // Writing takes ten times as long as reading.
        if calls.first().is_none_or(|(_, number, _)| number % 4 != 0) {
            return Ok(());
        }
        let document = reading.write(&Budget::patient());
        let back = reading
            .changes_from(&document.profile, document.runtime, &Budget::patient())
            .expect("both runtimes take what is written");
        let spoken = document.notes.iter().any(|note| !note.starts_with("calls newer"));
        prop_assert!(back.is_empty() || spoken, "{:?} {:?}", back, document);
        if back.is_empty() {
            count(&written);
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let counts = [&equal, &disputed, &refused, &written].map(Cell::get);
    assert!(counts[0] > 120 && counts[3] > 30, "{counts:?}");
}

/// Two and three filters of one task, in both orders.
#[test]
fn filters_that_are_stacked_are_read_as_the_kernel_runs_them() {
    let chain = prop::collection::vec((generate::profile(), select(&[Form::List, Form::Tree][..])), 2..=3);
    let case = chain.prop_flat_map(|chain| {
        let profiles: Vec<&Profile> = chain.iter().map(|(profile, _)| profile).collect();
        let calls = calls(&profiles);
        (Just(chain), calls)
    });
    let result = runner(150).run(&case, |(chain, calls)| {
        let programs: Option<Vec<Vec<u8>>> =
            chain.iter().map(|(profile, form)| bytes(profile, Runtime::Runc, *form)).collect();
        let Some(programs) = programs else { return Ok(()) };
        let filters: Vec<Program> = programs
            .iter()
            .map(|bytes| Program::from_bytes(bytes, false).expect("the kernel takes it"))
            .collect();
        check_calls(&filters, &read(&filters), &calls)
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A filter of one profile beside another profile: the verdict is that of the two profiles.
#[test]
fn a_filter_stands_to_another_profile_as_its_own_does() {
    let different = Cell::new(0u32);
    let case = (generate::profile(), generate::profile());
    let result = runner(200).run(&case, |(one, other)| {
        let runtime = Runtime::Crun;
        let is_disputed = |profile| !disputes(profile, runtime, NATIVE).expect("it loads").is_empty();
        if is_disputed(&one) || is_disputed(&other) {
            return Ok(());
        }
        let Some(bytes) = bytes(&one, runtime, Form::List) else { return Ok(()) };
        let reading = read(&[Program::from_bytes(&bytes, false).expect("the kernel takes it")]);
        let changes = reading.changes_from(&other, runtime, &Budget::patient()).expect("it loads");
        let profiles =
            portcullis_profile::compare::changes(&other, &one, runtime, NATIVE).expect("both load");
        let of_calls = |changes: &portcullis_profile::compare::Changes| {
            let calls = changes.calls.iter().map(|call| (call.arch, call.name, call.change));
            // Numbers without names are divided otherwise where a program was read, and an architecture of which a filter kills every call
            // is as good as unlisted.
            calls.filter(|(arch, name, _)| *arch == NATIVE && name.is_some()).collect::<Vec<_>>()
        };
        prop_assert_eq!(of_calls(&changes), of_calls(&profiles));
        if !changes.is_empty() {
            different.set(different.get() + 1);
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(different.get() > 50, "{}", different.get());
}

#[test]
fn default_profiles_are_read_and_written_back() {
    let baseline = Baseline::named("containerd@1.6").expect("a known one");
    let profiles = [&runtime_default(NATIVE).expect("it has one").profile, baseline.on(NATIVE).expect("one")];
    for profile in profiles {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            for form in [Form::List, Form::Tree] {
                let bytes = bytes(profile, runtime, form).expect("libseccomp takes it");
                let reading = read(&[Program::from_bytes(&bytes, false).expect("the kernel takes it")]);
                let changes = reading.changes_from(profile, runtime, &Budget::patient()).expect("it loads");
                assert!(changes.is_empty(), "{changes:?}");
                let written = reading.write(&Budget::patient());
                let back = reading
                    .changes_from(&written.profile, written.runtime, &Budget::patient())
                    .expect("it loads");
                assert!(back.is_empty(), "{:?} {back:?}", written.notes);
                let own = Evaluator::new(&written.profile, written.runtime, NATIVE).expect("it loads");
                assert_eq!(own.architectures().count(), reading.evaluator().architectures().count());
            }
        }
    }
}

/// To write the examples anew: `PORTCULLIS_UPDATE=1 cargo test -p portcullis-profile --test filter example`.
#[test]
fn every_example_of_a_program_is_its_profiles() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for example in ["docs/examples/old", "operator/cli/tests/examples/web"] {
        let file = |kind: &str| root.join(format!("{example}.{kind}"));
        let text = std::fs::read(file("json")).expect("the profile");
        let profile = Profile::parse(&text).expect("a profile");
        if std::env::var_os("PORTCULLIS_UPDATE").is_some() {
            let program = bytes(&profile, Runtime::Runc, Form::List).expect("libseccomp takes it");
            std::fs::write(file("bpf"), program).expect("it is written");
        }
        let program = std::fs::read(file("bpf")).expect("the program");
        let reading = read(&[Program::from_bytes(&program, false).expect("the kernel takes it")]);
        let changes = reading.changes_from(&profile, Runtime::Runc, &Budget::patient()).expect("it loads");
        assert!(changes.is_empty(), "{example}: {changes:?}");
    }
}
