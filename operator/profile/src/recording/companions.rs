//! Calls that a program makes beside those that were recorded, depending on time and size alone.
//!
//! A recording over a whole suite shows that a program takes memory, and not that it gives some back when it has more; that it waits for a
//! lock, and not that it yields when there is contention. What is harmless of that, and close to what was recorded, may be allowed with it.

use std::collections::BTreeSet;

use super::bounds::Bounds;
use crate::{Arch, explain::GROUPS, syscalls};

/// Calls that go with others.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// What they are about.
    pub name: &'static str,
    /// One of these was recorded.
    pub of: &'static [&'static str],
    /// The calls.
    pub calls: &'static [&'static str],
    /// On what it depends which of them are made.
    pub depends_on: &'static str,
    /// Who says so.
    pub source: &'static str,
}

/// Every kind. What the runtime default denies, or a reviewer looks for, is never taken from it.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "memory",
        of: &["mmap"],
        calls: &["madvise", "mremap", "munmap"],
        depends_on: "how much memory is used",
        source: "mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD; mremap(2), on realloc; madvise(2)",
    },
    Kind {
        name: "locks",
        of: &["futex"],
        calls: &["futex_waitv", "sched_yield"],
        depends_on: "how many threads want one lock",
        source: "futex(2); sched_yield(2); Go src/runtime/lock_futex.go, osyield",
    },
    Kind {
        name: "waiting",
        of: &["epoll_pwait", "epoll_wait", "poll", "ppoll"],
        calls: &["epoll_pwait", "epoll_wait", "poll", "ppoll"],
        depends_on: "what is waited for, and how long",
        source: "epoll_wait(2); poll(2)",
    },
    Kind {
        name: "vectors",
        of: &["read"],
        calls: &["readv"],
        depends_on: "how much is read at once",
        source: "readv(2)",
    },
    Kind {
        name: "vectors",
        of: &["write"],
        calls: &["writev"],
        depends_on: "how much is written at once",
        source: "readv(2)",
    },
    Kind {
        name: "threads",
        of: &["clone", "clone3"],
        calls: &["membarrier", "rseq", "set_robust_list"],
        depends_on: "whether a thread was started meanwhile",
        source: "glibc nptl/pthread_create.c, start_thread; membarrier(2)",
    },
];

/// Companions of what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companions {
    /// What they are about.
    pub kind: &'static str,
    /// The calls, by name.
    pub calls: Vec<&'static str>,
    /// The recorded calls that they go with.
    pub with: Vec<&'static str>,
    /// On what it depends which of them are made.
    pub depends_on: &'static str,
}

/// The companions of some calls, without those calls: those alone that the default allows whatever their arguments and that `explain` has
/// in no group.
pub(super) fn companions(
    names: &BTreeSet<&str>,
    bounds: &Bounds<'_>,
    arches: &BTreeSet<Arch>,
) -> Vec<Companions> {
    let is_risky = |name: &str| GROUPS.iter().any(|group| group.calls.contains(&name));
    let exists = |name: &str| arches.iter().any(|arch| syscalls::number(*arch, name).is_some());
    let fits = |name: &&'static str| {
        !names.contains(*name) && !is_risky(name) && exists(name) && bounds.lets_through(name)
    };
    let of = |kind: &'static Kind| {
        let with: Vec<&str> = kind.of.iter().copied().filter(|name| names.contains(name)).collect();
        let calls: Vec<&str> = kind.calls.iter().copied().filter(fits).collect();
        (!with.is_empty() && !calls.is_empty()).then_some(Companions {
            kind: kind.name,
            calls,
            with,
            depends_on: kind.depends_on,
        })
    };
    KINDS.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Baseline;

    fn of(names: &[&str]) -> Vec<(&'static str, Vec<&'static str>)> {
        let arches = [Arch::X86_64].into();
        let baseline = Baseline::strictest();
        let names = names.iter().copied().collect();
        let found = companions(&names, &Bounds::new(&baseline, &arches), &arches);
        found.into_iter().map(|one| (one.kind, one.calls)).collect()
    }

    #[test]
    fn what_depends_on_time_and_size_goes_with_what_was_recorded() {
        assert_eq!(of(&["mmap", "munmap"]), [("memory", vec!["madvise", "mremap"])]);
        assert_eq!(of(&["futex"]), [("locks", vec!["sched_yield"])], "a default denies futex_waitv");
        assert_eq!(of(&["epoll_wait"]), [("waiting", vec!["epoll_pwait", "poll", "ppoll"])]);
        assert_eq!(of(&["clone3"]), [("threads", vec!["membarrier", "rseq", "set_robust_list"])]);
        assert_eq!(of(&["read", "readv"]), []);
        assert_eq!(of(&["getpid"]), []);
    }

    #[test]
    fn no_companion_is_one_that_a_reviewer_looks_for_or_that_has_no_number() {
        for call in KINDS.iter().flat_map(|kind| kind.calls) {
            assert!(GROUPS.iter().all(|group| !group.calls.contains(call)), "{call}");
            assert!(syscalls::number(Arch::X86_64, call).is_some(), "{call}");
        }
    }
}
