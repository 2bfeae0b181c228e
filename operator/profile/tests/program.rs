//! The bounds of a filter's size against the programs that libseccomp makes.
#![cfg(target_arch = "x86_64")]

#[expect(dead_code, reason = "only the generators and the loader are used here")]
mod oracle;

use oracle::{
    NATIVE,
    bpf::{Instruction, JUMP, RETURN},
    generate, program,
};
use portcullis_profile::{
    Action, Arch, Baseline, Profile, Rule,
    evaluate::Runtime,
    program::{MAX_INSTRUCTIONS, bound},
    runtime_default, syscalls,
};
use proptest::prelude::*;

/// How many instructions the longest path through a program runs. Jumps only go forward.
fn longest_path(program: &[Instruction]) -> usize {
    let mut longest = vec![0; program.len() + 1];
    for (at, one) in program.iter().enumerate().rev() {
        let after = |distance: usize| longest.get(at + 1 + distance).copied().unwrap_or(0);
        longest[at] = 1 + match one.code {
            RETURN => 0,
            JUMP => after(one.k as usize),
            code if code & 7 == 5 => after(one.jt.into()).max(after(one.jf.into())),
            _ => after(0),
        };
    }
    longest[0]
}

fn check(profile: &Profile) -> Result<(), TestCaseError> {
    let mut arches = profile.architectures.clone();
    arches.push(NATIVE);
    let bound = bound(profile, &arches);
    for runtime in [Runtime::Runc, Runtime::Crun] {
        let Ok(program) = program(profile, runtime) else { continue };
        let (size, path) = (program.len(), longest_path(&program));
        prop_assert!(size <= bound.instructions, "{runtime:?}: {size} instructions, bound {bound:?}");
        prop_assert!(path <= bound.longest_path, "{runtime:?}: a path of {path}, bound {bound:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_program_is_larger_than_its_bound(profile in generate::profile()) {
        check(&profile)?;
    }
}

#[test]
fn the_runtime_default_is_within_and_near_its_bound() {
    check(&runtime_default(NATIVE).expect("it has one").profile).expect("it is within");
    // Several rules of a call are counted with more room than they take; only personality has some in this default.
    let containerd = Baseline::named("containerd@1.6").expect("a known one");
    let profile = containerd.on(NATIVE).expect("it has one");
    check(profile).expect("it is within");
    let program = program(profile, Runtime::Runc).expect("libseccomp takes it");
    let bound = bound(profile, &profile.architectures);
    assert!(bound.instructions < 2 * program.len() && bound.instructions < MAX_INSTRUCTIONS, "{bound:?}");
}

/// Every call of the table, allowed and denied in turn.
#[test]
fn a_profile_that_names_every_call_is_within_its_bound() {
    let names: Vec<String> = syscalls::names().map(str::to_owned).collect();
    let halves = [(Action::Allow, 0), (Action::Trap, 1)].map(|(action, odd)| Rule {
        names: names
            .iter()
            .enumerate()
            .filter(|(at, _)| at % 2 == odd)
            .map(|(_, name)| name.clone())
            .collect(),
        action,
        errno_ret: None,
        args: Vec::new(),
    });
    for architectures in [vec![NATIVE], vec![Arch::X86, Arch::X86_64, Arch::X32]] {
        let profile = Profile {
            default_action: Action::Errno,
            default_errno_ret: Some(38),
            architectures,
            flags: Vec::new(),
            listener_path: None,
            listener_metadata: None,
            syscalls: halves.to_vec(),
        };
        check(&profile).expect("it is within");
    }
}
