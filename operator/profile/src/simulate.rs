//! What a profile would have done to an application: every call of a trace, evaluated and summed up.
//!
//! Memory is bounded whatever the trace holds: distinct calls are counted up to [`MAX_DISTINCT`].

use std::{cell::OnceCell, collections::BTreeMap};

use crate::{
    Arch,
    evaluate::{ARGUMENTS, Decision, Evaluator, Outcome, Passage},
    import::{CallName, strace},
    syscalls,
};

/// So many distinct calls that don't pass are kept apart; the tables of all architectures have fewer calls.
pub const MAX_DISTINCT: usize = 4096;

/// A call of a trace; an argument that the trace doesn't tell is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The line, from 1.
    pub line: u64,
    /// The architecture.
    pub arch: Arch,
    /// The number there.
    pub number: u32,
    /// The arguments.
    pub arguments: [Option<u64>; ARGUMENTS],
}

/// A distinct call that doesn't pass, or may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Made,
    /// What happens then; `None` where it depends on arguments that the trace doesn't tell.
    pub decision: Option<Decision>,
}

/// What a profile would have done to a whole trace.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many calls the trace has.
    pub calls: u64,
    /// How many calls get each outcome; contested ones the strictest.
    pub outcomes: BTreeMap<u8, (Option<Outcome>, u64)>,
    /// How many calls depend on arguments that the trace doesn't tell.
    pub untold: u64,
    /// The first call that doesn't pass.
    pub first: Option<Made>,
    /// Calls that don't pass, by architecture and number.
    pub stopped: BTreeMap<(Arch, u32), Stopped>,
    /// Calls that don't pass and are not kept apart any more.
    pub more: u64,
}

/// A call of a trace of strace's, whose arguments are read once however many profiles it is held against.
#[derive(Debug)]
pub struct Written<'c> {
    call: strace::Call<'c>,
    values: OnceCell<[Option<u64>; ARGUMENTS]>,
}

impl<'c> From<strace::Call<'c>> for Written<'c> {
    fn from(call: strace::Call<'c>) -> Self {
        Self { call, values: OnceCell::new() }
    }
}

/// What there is to say of a call before its arguments are looked at.
#[derive(Clone, Copy, Debug)]
struct Known {
    number: u32,
    /// The first argument of `socketcall` or `ipc`, where the call is made through it alone: what goes with it lies in memory.
    argument: Option<u32>,
    /// What happens to it whatever its arguments are, if that is so.
    decision: Option<Decision>,
}

/// What is known of each call by name: `None` where nobody has asked yet, and within it of a call that the architecture has not.
type ByName = Box<[Option<Option<Known>>]>;

/// Evaluates a trace, call by call.
#[derive(Debug)]
pub struct Simulation<'e> {
    evaluator: &'e Evaluator,
    /// Calls by [`Outcome::strictness`].
    counts: [u64; 8],
    kinds: [Option<Outcome>; 8],
    summary: Summary,
    /// By architecture: a trace of a gigabyte has ten million calls, and taking one's arguments apart costs more than reading it.
    known: [Option<ByName>; Arch::ALL.len()],
}

impl<'e> Simulation<'e> {
    /// Nothing so far.
    #[must_use]
    pub fn new(evaluator: &'e Evaluator) -> Self {
        let known = [const { None }; Arch::ALL.len()];
        Self { evaluator, counts: [0; 8], kinds: [None; 8], summary: Summary::default(), known }
    }

    /// The next call, of which everything is known.
    #[inline]
    pub fn call(&mut self, line: u64, arch: Arch, number: u32, arguments: [u64; ARGUMENTS]) {
        let decision = self.evaluator.evaluate(arch, number, arguments);
        if !self.count(decision.strictest()) {
            let made = Made { line, arch, number, arguments: arguments.map(Some) };
            self.stop(made, Some(decision));
        }
    }

    /// The next call, of which some arguments may not be known.
    pub fn partly(&mut self, made: Made) {
        match self.evaluator.evaluate_partly(made.arch, made.number, made.arguments) {
            Some(decision) => {
                if !self.count(decision.strictest()) {
                    self.stop(made, Some(decision));
                }
            }
            None => {
                self.summary.calls += 1;
                self.summary.untold += 1;
                self.keep(made, None);
            }
        }
    }

    /// The next call of a trace of strace's. Its arguments are read only where something depends on them.
    pub fn written(&mut self, written: &Written<'_>) {
        let Written { call, values } = written;
        let Some(Known { number, argument, decision }) = self.known(call.arch, call.name) else { return };
        if let Some(decision) = decision {
            if decision.strictest().passage() == Passage::Permitted {
                self.count(decision.strictest());
                return;
            }
            let stopped = self.summary.stopped.get_mut(&(call.arch, number));
            if let Some(stopped) = stopped.filter(|stopped| stopped.decision.is_some()) {
                stopped.count += 1;
                self.count(decision.strictest());
                return;
            }
        }
        let arguments = match argument {
            Some(argument) => std::array::from_fn(|index| (index == 0).then_some(u64::from(argument))),
            None => *values.get_or_init(|| call.values()),
        };
        self.partly(Made { line: call.line, arch: call.arch, number, arguments });
    }

    fn known(&mut self, arch: Arch, name: CallName) -> Option<Known> {
        let names =
            self.known[arch as usize].get_or_insert_with(|| vec![None; CallName::count()].into_boxed_slice());
        let place = &mut names[name.index()];
        *place.get_or_insert_with(|| {
            let (number, argument) = match syscalls::number(arch, name.as_str()) {
                Some(number) => (number, None),
                None => {
                    let way = syscalls::multiplexed(arch, name.as_str())?;
                    (syscalls::number(arch, way.through)?, Some(way.argument))
                }
            };
            let mut arguments = [None; ARGUMENTS];
            arguments[0] = argument.map(u64::from);
            Some(Known {
                number,
                argument,
                decision: self.evaluator.evaluate_partly(arch, number, arguments),
            })
        })
    }

    /// Counts a call, and tells whether it passes.
    #[inline]
    fn count(&mut self, outcome: Outcome) -> bool {
        self.summary.calls += 1;
        let place = usize::from(outcome.strictness()) & 7;
        self.counts[place] += 1;
        self.kinds[place] = Some(outcome);
        outcome.passage() == Passage::Permitted
    }

    #[cold]
    fn stop(&mut self, made: Made, decision: Option<Decision>) {
        self.summary.first.get_or_insert(made);
        self.keep(made, decision);
    }

    fn keep(&mut self, made: Made, decision: Option<Decision>) {
        let stopped = &mut self.summary.stopped;
        let key = (made.arch, made.number);
        if let Some(known) = stopped.get_mut(&key) {
            known.count += 1;
            // A call that is stopped for sure says more than one that may be.
            if known.decision.is_none() && decision.is_some() {
                (known.first, known.decision) = (made, decision);
            }
        } else if stopped.len() < MAX_DISTINCT {
            stopped.insert(key, Stopped { count: 1, first: made, decision });
        } else {
            self.summary.more += 1;
        }
    }

    /// The sum of all.
    #[must_use]
    pub fn finish(self) -> Summary {
        let mut summary = self.summary;
        for (strictness, (count, kind)) in (0..).zip(self.counts.into_iter().zip(self.kinds)) {
            if count > 0 {
                summary.outcomes.insert(strictness, (kind, count));
            }
        }
        summary
    }
}

impl Summary {
    /// Whether every call passes, as far as the trace tells.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.first.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Profile,
        evaluate::{Reason, Runtime},
    };

    fn evaluator() -> Evaluator {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],"syscalls":[
            {"names":["read","exit_group","openat2"],"action":"SCMP_ACT_ALLOW"},
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#;
        let profile = Profile::parse(text.as_bytes()).expect("a profile");
        Evaluator::new(&profile, Runtime::Runc, Arch::X86_64).expect("runc takes it")
    }

    #[test]
    fn sums_up_what_passes_and_what_does_not() {
        let evaluator = evaluator();
        let mut simulation = Simulation::new(&evaluator);
        simulation.call(1, Arch::X86_64, 0, [0; 6]);
        for line in 2..=4 {
            simulation.call(line, Arch::X86_64, 41, [line, 0, 0, 0, 0, 0]);
        }
        let made = |line, domain| Made {
            line,
            arch: Arch::X86_64,
            number: 41,
            arguments: [domain, None, None, None, None, None],
        };
        simulation.partly(made(5, Some(2)));
        simulation.partly(made(6, None));
        let summary = simulation.finish();
        assert_eq!((summary.calls, summary.untold, summary.more), (6, 1, 0));
        let counts: Vec<(u8, u64)> = summary.outcomes.iter().map(|(at, (_, count))| (*at, *count)).collect();
        assert_eq!(counts, [(0, 3), (4, 2)]);
        let socket = &summary.stopped[&(Arch::X86_64, 41)];
        assert_eq!((socket.count, socket.first.line, socket.first.arguments[0]), (3, 3, Some(3)));
        assert_eq!(socket.decision.map(|decision| decision.reason), Some(Reason::Default));
        assert_eq!(summary.first.map(|made| made.line), Some(3));
        assert!(!summary.lives());
    }

    /// Arguments that nothing depends on are not read, and the answer is as if they were.
    #[test]
    fn a_trace_of_straces_is_judged_as_its_calls_are() {
        let evaluator = evaluator();
        let trace = "read(0, \"x\", 1) = 1\nsocket(AF_INET, SOCK_STREAM, 0) = 3\nsocket(AF_UNIX, 5, 0) = 3\nsocket(0x10 <unfinished ...>\n\
                     bpf(BPF_PROG_LOAD, 0x7ffe, 16) = 3\nbpf(1, 0x7ffe, 16) = 3\nsocket(AF_UNIX, 1, 0) = 3\nexit_group(0) = ?\n\
                     getpid() = 7\n[ Process PID=7 runs in 32 bit mode. ]\nrecv(3, 0x1, 2, 0) = 2\n";
        let (mut quick, mut thorough) = (Simulation::new(&evaluator), Simulation::new(&evaluator));
        let mut strace = strace::Strace::new(Arch::X86_64);
        let mut each = |event: strace::Event<'_>| {
            let strace::Event::Call(call) = event else { return };
            quick.written(&call.into());
            let (number, arguments) = match call.number() {
                Some(number) => (number, call.values()),
                None => {
                    let way = syscalls::multiplexed(call.arch, call.name.as_str()).expect("a way");
                    let mut arguments = [None; ARGUMENTS];
                    arguments[0] = Some(u64::from(way.argument));
                    (syscalls::number(call.arch, way.through).expect("a number"), arguments)
                }
            };
            thorough.partly(Made { line: call.line, arch: call.arch, number, arguments });
        };
        strace.feed(trace.as_bytes(), &mut each);
        let _ = strace.finish(&mut each);
        let [quick, thorough] = [quick, thorough].map(Simulation::finish);
        assert_eq!(quick.calls, 10);
        assert_eq!(
            (quick.calls, quick.untold, &quick.first),
            (thorough.calls, thorough.untold, &thorough.first)
        );
        assert_eq!((quick.outcomes, quick.stopped), (thorough.outcomes, thorough.stopped));
    }

    #[test]
    fn memory_is_bounded() {
        let evaluator = evaluator();
        let mut simulation = Simulation::new(&evaluator);
        for number in 1000..10_000 {
            simulation.call(1, Arch::X86_64, number, [0; 6]);
        }
        let summary = simulation.finish();
        assert_eq!((summary.stopped.len(), summary.more), (MAX_DISTINCT, 9000 - MAX_DISTINCT as u64));
    }
}
