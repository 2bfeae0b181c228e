//! Marks of a container's life, and signals by name.

use std::{collections::BTreeSet, fmt};

macro_rules! marks {
    ($($(#[$meta:meta])* $variant:ident),+ $(,)?) => {
        /// Something that was seen of a container's life.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Mark { $($(#[$meta])* $variant),+ }

        impl Mark {
            /// Every mark.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in a recording's part.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }
    };
}

marks! {
    /// Its cgroup was made while it was watched, so nothing of its start is missing.
    StartSeen,
    /// It ran before the recording began.
    StartMissed,
    /// It made no new call for [`super::STEADY_SECONDS`].
    Steady,
    /// It handled SIGHUP or SIGUSR1 that came from outside, and then opened a file again to append to it.
    LogReopened,
    /// The runtime ran a command in it while it ran: an exec probe's, a lifecycle hook's, `kubectl exec`'s.
    ExecSeen,
    /// Its pod has an exec probe, or a lifecycle hook that runs a command in it.
    ExecExpected,
    /// Its first process ended as it should after a signal that asked for it.
    GracefulStop,
    /// Its first process ended with status 0, unasked.
    Completed,
    /// Its first process ended with another status.
    NonZeroExit,
    /// A signal killed its first process.
    Killed,
    /// Its cgroup is deeper than the probe looks, so that nothing of it was counted.
    TooDeep,
    /// It had no filter, so it was recorded from the application's first execve on: what the runtime itself called is not in it.
    Unfiltered,
}

/// Names of the signals 1 to 31, which are the same on x86 and Arm: signal(7).
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// A signal's name: `SIGHUP`; `SIG34` for a real-time one, whose names differ between C libraries.
#[must_use]
pub fn signal_name(number: u8) -> String {
    let named = number.checked_sub(1).and_then(|index| NAMES.get(usize::from(index)));
    named.map_or_else(|| format!("SIG{number}"), |name| (*name).to_owned())
}

/// The signals that an operator, a script or the kubelet sends to tell a program something, so that a handler for one is a phase
/// worth recording. A C library or a language's runtime uses many others for itself (SIGCHLD, Go's SIGURG).
const CONTROL: [&str; 7] = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGWINCH"];

/// The signals that ask a container to stop: what runtimes send, and what images name as their `STOPSIGNAL`.
const STOPS: [&str; 3] = ["SIGTERM", "SIGQUIT", "SIGINT"];

/// The signals by which programs are asked to open their logs anew.
const REOPENS: [&str; 2] = ["SIGHUP", "SIGUSR1"];

/// A set of signals, 1 to 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signals(u64);

impl Signals {
    /// Bit `n - 1` is signal `n`, as in the kernel's `sigset_t`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Bit `n - 1` is signal `n`.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// These, by name. A name that is none counts for nothing.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        let wanted = |number: &u8| names.contains(&signal_name(*number).as_str());
        Self((1..=64).filter(wanted).fold(0, |bits, number| bits | 1 << (number - 1)))
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether one of these is in it.
    #[must_use]
    pub fn any_of(self, names: &[&str]) -> bool {
        self.0 & Self::of(names).0 != 0
    }

    /// Those that ask a container to stop.
    #[must_use]
    pub fn stops(self) -> Self {
        self.and(Self::of(&STOPS))
    }

    /// Those by which a program is asked to open its logs anew.
    #[must_use]
    pub fn reopens(self) -> Self {
        self.and(Self::of(&REOPENS))
    }

    /// Those by which programs are told something.
    #[must_use]
    pub fn control(self) -> Self {
        self.and(Self::of(&CONTROL))
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names, by number.
    pub fn names(self) -> impl Iterator<Item = String> {
        (1..=64_u8).filter(move |number| self.0 & 1 << (number - 1) != 0).map(signal_name)
    }
}

impl fmt::Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

impl Exit {
    /// Reads the kernel's exit code: wait(2), `WIFSIGNALED` and `WEXITSTATUS`.
    #[must_use]
    pub const fn from_wait_status(status: u32) -> Self {
        match status & 0x7f {
            0 => Self::Status((status >> 8 & 0xff) as u8),
            signal => Self::Signal(signal as u8),
        }
    }

    /// What a container runtime tells: a shell's status, in which 'ended by signal n' is 128 + n as well. Where no handler ran for n, the signal
    /// itself ended the process.
    #[must_use]
    pub fn as_told(self, handled: Signals) -> Self {
        match self {
            Self::Status(status @ 129..=192) if !handled.any_of(&[signal_name(status - 128).as_str()]) => {
                Self::Signal(status - 128)
            }
            seen => seen,
        }
    }

    /// What the end of a container's first process says, given the signals that it handled.
    ///
    /// A shell's status for 'ended by signal n' is 128 + n, and some runtimes (the JVM) end with it after they handled the signal.
    pub(super) fn marks(self, handled: Signals) -> BTreeSet<Mark> {
        let asked = handled.stops();
        let is_that = |signal: u8| asked.any_of(&[signal_name(signal).as_str()]);
        match self {
            Self::Status(0) if !asked.is_empty() => [Mark::GracefulStop].into(),
            Self::Status(0) => [Mark::Completed].into(),
            Self::Status(status) if status > 128 && is_that(status - 128) => [Mark::GracefulStop].into(),
            Self::Status(_) => [Mark::NonZeroExit].into(),
            // The handler did its work, put the default back and raised the signal again: signal(7), 'Execution of signal handlers'.
            Self::Signal(signal) if is_that(signal) => [Mark::GracefulStop].into(),
            Self::Signal(_) => [Mark::Killed].into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_names_of_signal_7() {
        for (number, name) in
            [(1, "SIGHUP"), (10, "SIGUSR1"), (15, "SIGTERM"), (17, "SIGCHLD"), (31, "SIGSYS"), (34, "SIG34")]
        {
            assert_eq!(signal_name(number), name);
        }
        let signals = Signals::of(&["SIGTERM", "SIGHUP", "SIGNONE"]);
        assert_eq!(signals.bits(), 1 | 1 << 14);
        assert_eq!(signals.to_string(), "SIGHUP, SIGTERM");
        assert_eq!(Signals::from_bits(u64::MAX).names().count(), 64);
        let noise = Signals::of(&["SIGCHLD", "SIGURG", "SIG34"]);
        assert!(noise.control().is_empty());
    }

    #[test]
    fn a_told_status_may_be_a_signal() {
        let marks = |status, handled: &[&str]| {
            let handled = Signals::of(handled);
            Exit::Status(status).as_told(handled).marks(handled).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(marks(137, &["SIGTERM"]), [Mark::Killed], "nobody handles SIGKILL");
        assert_eq!(marks(143, &[]), [Mark::Killed]);
        assert_eq!(marks(143, &["SIGTERM"]), [Mark::GracefulStop]);
        assert_eq!(marks(1, &[]), [Mark::NonZeroExit]);
        assert_eq!(marks(255, &[]), [Mark::NonZeroExit]);
        assert_eq!(marks(0, &[]), [Mark::Completed]);
    }

    #[test]
    fn the_end_of_a_container_is_told_apart() {
        let marks = |status, handled: &[&str]| {
            let marks = Exit::from_wait_status(status).marks(Signals::of(handled));
            marks.into_iter().map(Mark::as_str).collect::<Vec<_>>()
        };
        assert_eq!(marks(0, &["SIGQUIT"]), ["GracefulStop"]);
        assert_eq!(marks(0, &["SIGCHLD"]), ["Completed"]);
        assert_eq!(marks(143 << 8, &["SIGTERM"]), ["GracefulStop"], "as the JVM ends");
        assert_eq!(marks(143 << 8, &[]), ["NonZeroExit"]);
        assert_eq!(marks(1 << 8, &["SIGTERM"]), ["NonZeroExit"]);
        assert_eq!(marks(9, &["SIGTERM"]), ["Killed"]);
        assert_eq!(marks(15, &["SIGTERM"]), ["GracefulStop"], "the handler raised it again");
        assert_eq!(marks(15, &["SIGQUIT"]), ["Killed"]);
        assert_eq!(marks(10, &["SIGUSR1"]), ["Killed"], "no signal that asks for an end");
        assert_eq!(marks(0x80 | 11, &[]), ["Killed"], "with a core dump");
    }
}
