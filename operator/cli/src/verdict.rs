//! What a command answered, as an exit code that a script can use.

use std::process::ExitCode;

/// There is no answer: bad input, an unreachable registry.
pub(crate) const ERROR: u8 = 2;

/// A command's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well, or the profiles are equal: 0.
    Yes,
    /// There are findings, or differences: 1.
    No,
    /// There is an answer as far as it goes, and why it isn't whole was said: 2.
    Incomplete,
    /// What a command that was run exited with.
    #[cfg_attr(
        not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))),
        expect(dead_code, reason = "`record` alone runs commands, on Linux")
    )]
    Exited(u8),
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Yes => Self::SUCCESS,
            Verdict::No => Self::FAILURE,
            Verdict::Incomplete => Self::from(ERROR),
            Verdict::Exited(code) => Self::from(code),
        }
    }
}
