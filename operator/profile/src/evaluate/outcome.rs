//! What a filter does with one call.

use std::fmt;

use crate::{Action, Profile, Rule};

/// `EPERM`: the errno of an `ERRNO` or `TRACE` action that states none.
///
/// Source: runc's `actErrno` and `actTrace` (`libcontainer/seccomp/seccomp_linux.go`), crun's
/// `default_errno_value` (`src/libcrun/seccomp.c`).
const EPERM: u16 = 1;

/// An action as the kernel gets it, and its errno where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    action: Action,
    errno: Option<u16>,
}

/// Whether a call gets to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Passage {
    /// `ERRNO`, `TRAP` and the `KILL`s: the call is not made.
    Denied,
    /// `TRACE` and `NOTIFY`: another process decides, which may be one of the confined container's own (a tracer
    /// answers `SECCOMP_RET_TRACE`, and any process may trace its children).
    Delegated,
    /// `ALLOW` and `LOG`: the call is made.
    Permitted,
}

impl Outcome {
    /// An action with the errno that a rule states.
    ///
    /// `KILL` is an older name of `KILL_THREAD`; an action without an errno drops one; and 16 bits of an errno
    /// reach the kernel. Source: `SCMP_ACT_ERRNO` and `SCMP_ACT_KILL` in libseccomp's `seccomp.h`.
    #[must_use]
    pub const fn new(action: Action, errno_ret: Option<u32>) -> Self {
        let action = match action {
            Action::Kill => Action::KillThread,
            other => other,
        };
        let errno = match (action, errno_ret) {
            (Action::Errno | Action::Trace, Some(errno)) => Some((errno & 0xffff) as u16),
            (Action::Errno | Action::Trace, None) => Some(EPERM),
            _ => None,
        };
        Self { action, errno }
    }

    /// The outcome of a profile's default.
    #[must_use]
    pub const fn of_default(profile: &Profile) -> Self {
        Self::new(profile.default_action, profile.default_errno_ret)
    }

    /// The outcome of a rule.
    #[must_use]
    pub const fn of_rule(rule: &Rule) -> Self {
        Self::new(rule.action, rule.errno_ret)
    }

    /// The action; never [`Action::Kill`], for which [`Action::KillThread`] stands.
    #[must_use]
    pub const fn action(self) -> Action {
        self.action
    }

    /// The errno of `ERRNO`, or the message of `TRACE`.
    #[must_use]
    pub const fn errno(self) -> Option<u16> {
        self.errno
    }

    /// Whether the call is made.
    #[must_use]
    pub const fn passage(self) -> Passage {
        match self.action {
            Action::Allow | Action::Log => Passage::Permitted,
            Action::Trace | Action::Notify => Passage::Delegated,
            _ => Passage::Denied,
        }
    }

    /// The place in the order of strictness, 0 (`ALLOW`) to 7 (`KILL_PROCESS`).
    ///
    /// Source: KEP-6061 and runtime-spec#1317, which follow the kernel's precedence of return values
    /// (seccomp(2)) but for the place of `NOTIFY`, the kernel's own.
    #[must_use]
    pub const fn strictness(self) -> u8 {
        match self.action {
            Action::Allow => 0,
            Action::Log => 1,
            Action::Trace => 2,
            Action::Notify => 3,
            Action::Errno => 4,
            Action::Trap => 5,
            Action::Kill | Action::KillThread => 6,
            Action::KillProcess => 7,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "{}({errno})", self.action),
            None => write!(f, "{}", self.action),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_the_kernel_gets() {
        assert_eq!(Outcome::new(Action::Kill, None), Outcome::new(Action::KillThread, Some(3)));
        assert_eq!(Outcome::new(Action::Errno, None), Outcome::new(Action::Errno, Some(0x1_0001)));
        assert_ne!(Outcome::new(Action::Errno, None), Outcome::new(Action::Errno, Some(38)));
        assert_eq!(Outcome::new(Action::Trace, Some(7)).to_string(), "SCMP_ACT_TRACE(7)");
    }

    #[test]
    fn strictness_and_passage_agree() {
        for one in Action::ALL {
            for other in Action::ALL {
                let (one, other) = (Outcome::new(*one, None), Outcome::new(*other, None));
                if one.passage() > other.passage() {
                    assert!(one.strictness() < other.strictness(), "{one} {other}");
                }
            }
        }
    }
}
