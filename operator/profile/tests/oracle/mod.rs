//! What the real thing does: profiles loaded with libseccomp as runc and crun load them, and the program it makes.

pub(crate) mod bpf;
pub(crate) mod generate;
pub(crate) mod stub;

use std::io::{Read, Seek};

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, error::SeccompError,
};
use portcullis_profile::{
    Action, Arch, Arg, Operator, Profile,
    evaluate::{Outcome, Runtime},
};

use self::bpf::Instruction;

/// The architecture that these tests run on.
pub(crate) const NATIVE: Arch = Arch::X86_64;

/// The program that a runtime loads.
pub(crate) fn program(profile: &Profile, runtime: Runtime) -> Result<Vec<Instruction>, SeccompError> {
    let filter = filter(profile, runtime)?;
    let mut file = tempfile::tempfile().expect("a temporary file");
    filter.export_bpf(&file)?;
    let mut bytes = Vec::new();
    file.rewind().expect("a file can be rewound");
    file.read_to_end(&mut bytes).expect("a file can be read");
    let program = bpf::parse(&bytes);
    Ok(match runtime {
        Runtime::Runc => [stub::generate(profile), program].concat(),
        Runtime::Crun => program,
    })
}

/// `InitSeccomp` and `matchCall` of runc's `libcontainer/seccomp/seccomp_linux.go`, and
/// `libcrun_generate_seccomp` of crun's `src/libcrun/seccomp.c`.
pub(crate) fn filter(profile: &Profile, runtime: Runtime) -> Result<ScmpFilterContext, SeccompError> {
    let default = action(profile.default_action, profile.default_errno_ret);
    let mut filter = ScmpFilterContext::new(default)?;
    for &arch in &profile.architectures {
        filter.add_arch(scmp_arch(arch))?;
    }
    let calls: usize = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
    if runtime == Runtime::Runc && calls > 32 {
        filter.set_ctl_optimize(2)?;
    }
    filter.set_ctl_nnp(false)?;
    for rule in &profile.syscalls {
        let action = action(rule.action, rule.errno_ret);
        if action == default {
            continue;
        }
        for name in &rule.names {
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            let args: Vec<ScmpArgCompare> = rule.args.iter().map(compare).collect();
            let args = match runtime {
                Runtime::Runc => &args[..],
                Runtime::Crun => &args[..args.len().min(6)],
            };
            let repeats = (0..6)
                .any(|index| rule.args[..args.len()].iter().filter(|arg| arg.index == index).count() > 1);
            if args.is_empty() {
                filter.add_rule(action, call)?;
            } else if repeats {
                for arg in args {
                    filter.add_rule_conditional(action, call, &[*arg])?;
                }
            } else {
                filter.add_rule_conditional(action, call, args)?;
            }
        }
    }
    Ok(filter)
}

fn compare(arg: &Arg) -> ScmpArgCompare {
    let (op, datum) = match arg.op {
        Operator::NotEqual => (ScmpCompareOp::NotEqual, arg.value),
        Operator::LessThan => (ScmpCompareOp::Less, arg.value),
        Operator::LessOrEqual => (ScmpCompareOp::LessOrEqual, arg.value),
        Operator::Equal => (ScmpCompareOp::Equal, arg.value),
        Operator::GreaterOrEqual => (ScmpCompareOp::GreaterEqual, arg.value),
        Operator::GreaterThan => (ScmpCompareOp::Greater, arg.value),
        Operator::MaskedEq => (ScmpCompareOp::MaskedEqual(arg.value), arg.value_two),
    };
    ScmpArgCompare::new(u32::from(arg.index), op, datum)
}

fn action(action: Action, errno_ret: Option<u32>) -> ScmpAction {
    let errno = errno_ret.unwrap_or(1) as u16;
    match action {
        Action::Allow => ScmpAction::Allow,
        Action::Log => ScmpAction::Log,
        Action::Errno => ScmpAction::Errno(i32::from(errno)),
        Action::Trap => ScmpAction::Trap,
        Action::Trace => ScmpAction::Trace(errno),
        Action::Notify => ScmpAction::Notify,
        Action::Kill | Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
    }
}

pub(crate) fn scmp_arch(arch: Arch) -> ScmpArch {
    match arch {
        Arch::X86 => ScmpArch::X86,
        Arch::X86_64 => ScmpArch::X8664,
        Arch::X32 => ScmpArch::X32,
        Arch::Arm => ScmpArch::Arm,
        Arch::Aarch64 => ScmpArch::Aarch64,
        Arch::Riscv64 => ScmpArch::Riscv64,
        Arch::S390x => ScmpArch::S390X,
        other => panic!("no test uses {other}"),
    }
}

/// `AUDIT_ARCH_*` of linux/audit.h.
pub(crate) fn audit_arch(arch: Arch) -> u32 {
    match arch {
        Arch::X86 => 0x4000_0003,
        Arch::X86_64 | Arch::X32 => 0xc000_003e,
        Arch::Arm => 0x4000_0028,
        Arch::Aarch64 => 0xc000_00b7,
        Arch::Riscv64 => 0xc000_00f3,
        other => panic!("no test uses {other}"),
    }
}

/// The outcome of a filter's return value: `SECCOMP_RET_*` of linux/seccomp.h.
pub(crate) fn outcome(value: u32) -> Outcome {
    let data = Some(value & 0xffff);
    match value & 0xffff_0000 {
        0x8000_0000 => Outcome::new(Action::KillProcess, None),
        0x0000_0000 => Outcome::new(Action::KillThread, None),
        0x0003_0000 => Outcome::new(Action::Trap, None),
        0x0005_0000 => Outcome::new(Action::Errno, data),
        0x7fc0_0000 => Outcome::new(Action::Notify, None),
        0x7ff0_0000 => Outcome::new(Action::Trace, data),
        0x7ffc_0000 => Outcome::new(Action::Log, None),
        0x7fff_0000 => Outcome::new(Action::Allow, None),
        other => panic!("{other:#x} is no return value"),
    }
}
