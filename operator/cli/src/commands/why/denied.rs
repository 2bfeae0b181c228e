//! Which calls that a start needs a profile denies.

use portcullis_profile::{
    Arch, Profile,
    evaluate::{ARGUMENTS, Evaluator, Passage, Reason, Runtime},
    runtime_base::{self, ALWAYS, Denied},
};

/// What the C library's loader and start-up code call before a program's own code runs, besides [`ALWAYS`].
///
/// Source: glibc's elf/rtld.c, elf/dl-load.c and csu/libc-start.c; musl's ldso/dynlink.c. Calls that these go on without are left out.
const PROGRAM_START: &[&str] = &["brk", "mmap", "mprotect", "openat", "read", "close", "set_tid_address"];

/// A call that is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) struct DeniedCall {
    pub(super) name: &'static str,
    /// Whether a rule names it, so that another rule that allows it would not help.
    pub(super) by_rule: bool,
}

/// What a profile does to a start on one architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::commands) struct Starts {
    /// Why no runtime loads the profile, where none does.
    pub(in crate::commands) refusal: Option<String>,
    /// Calls of the runtime without which no container starts.
    pub(in crate::commands) by_runtime: Vec<DeniedCall>,
    /// Calls that nearly every program makes before its own code.
    pub(super) by_program: Vec<DeniedCall>,
    /// Calls of the runtime without which nothing can be executed in the container.
    pub(super) at_exec: Vec<DeniedCall>,
}

impl Starts {
    pub(in crate::commands) fn under(profile: &Profile, arch: Arch, no_new_privs: bool) -> Self {
        let evaluator = match Evaluator::new(profile, Runtime::Runc, arch) {
            Ok(evaluator) => evaluator,
            Err(refusal) => return Self { refusal: Some(refusal.to_string()), ..Self::default() },
        };
        let denied = |names: Vec<&'static str>| -> Vec<DeniedCall> {
            names.into_iter().filter_map(|name| denied(&evaluator, arch, name)).collect()
        };
        let of_runc = |fates: &[Denied]| -> Vec<&'static str> {
            let calls = runtime_base::calls(Runtime::Runc).iter();
            let calls =
                calls.filter(|call| fates.contains(&call.denied) && !(call.escalation && no_new_privs));
            calls.map(|call| call.name).collect()
        };
        let of_crun =
            runtime_base::calls(Runtime::Crun).iter().filter(|call| call.denied == Denied::ExecFails);
        let mut at_exec = of_runc(&[Denied::Fails, Denied::ExecFails]);
        at_exec.extend(of_crun.map(|call| call.name));
        at_exec.sort_unstable();
        at_exec.dedup();
        Self {
            refusal: None,
            by_runtime: denied(of_runc(&[Denied::Fails])),
            by_program: denied([PROGRAM_START, ALWAYS].concat()),
            at_exec: denied(at_exec),
        }
    }
}

/// A call that is denied whatever its arguments are.
fn denied(evaluator: &Evaluator, arch: Arch, name: &'static str) -> Option<DeniedCall> {
    let number = portcullis_profile::syscalls::number(arch, name)?;
    let decision = evaluator.evaluate_partly(arch, number, [None; ARGUMENTS])?;
    (decision.strictest().passage() != Passage::Permitted).then_some(DeniedCall {
        name,
        by_rule: !matches!(decision.reason, Reason::Default | Reason::EnosysStub),
    })
}
