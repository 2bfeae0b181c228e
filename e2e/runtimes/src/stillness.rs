//! Whether what was started hangs: nothing runs, and nothing has run for a while.
//!
//! A deadline alone must be long, for a busy machine is slow; most runtimes that a filter stops wait for good within milliseconds. A
//! task that waits for a processor is runnable, so however slow the machine, it is no hang.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// How long nothing has to run.
const LONG: Duration = Duration::from_secs(1);

/// Looks at processes again and again.
#[derive(Debug, Default)]
pub(crate) struct Stillness {
    /// What they had used, and since when they have used no more.
    since: Option<(u64, Instant)>,
}

impl Stillness {
    /// Whether these processes hang at this time, as far as the earlier looks tell.
    pub(crate) fn is_hang(&mut self, processes: &[i32], now: Instant) -> bool {
        let used = processes.iter().map(|pid| used(*pid)).sum::<Option<u64>>();
        self.note(used, now)
    }

    /// Takes the processor time of all, or none if a task is runnable.
    fn note(&mut self, used: Option<u64>, now: Instant) -> bool {
        match (used, self.since) {
            (None, _) => self.since = None,
            (Some(used), Some((before, since))) if used == before => return now - since >= LONG,
            (Some(used), _) => self.since = Some((used, now)),
        }
        false
    }
}

/// The processor time that a process has used, in ticks; none if one of its tasks is runnable or waits for a disk. One that has just
/// ended has used nothing.
fn used(pid: i32) -> Option<u64> {
    let tasks = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    let of_task = |task: fs::DirEntry| {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { return Some(0) };
        used_by_task(&stat).unwrap_or_default()
    };
    tasks.into_iter().flatten().filter_map(Result::ok).map(of_task).sum()
}

/// Reads a line of `/proc/PID/task/TID/stat` (proc(5)): state, and time in user and kernel mode.
fn used_by_task(stat: &str) -> Result<Option<u64>> {
    // The program's name may hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [state, .., user, system] = fields.get(..13).context("too few fields")? else { return Ok(None) };
    Ok(if matches!(*state, "R" | "D") { None } else { Some(user.parse::<u64>()? + system.parse::<u64>()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "812 (runc:[2:INIT) x) S 811 812 811 0 -1 4194304 99 0 0 0 7 5 0 0 20 0 6 0 24 1 2";

    #[test]
    fn a_line_is_read_behind_the_name() {
        assert_eq!(used_by_task(STAT).unwrap(), Some(12));
        assert_eq!(used_by_task(&STAT.replace(") S ", ") R ")).unwrap(), None);
        assert!(used_by_task("812 (x) S 1").is_err());
    }

    #[test]
    fn it_hangs_only_if_nothing_ran_all_the_while() {
        let mut still = Stillness::default();
        let begun = Instant::now();
        let mut note = |used, tenths: u64| still.note(used, begun + Duration::from_millis(100 * tenths));
        assert!(!note(Some(7), 0));
        assert!(!note(Some(7), 9));
        assert!(!note(Some(8), 10), "it has run meanwhile");
        assert!(!note(None, 15), "it is runnable");
        assert!(!note(Some(8), 19));
        assert!(!note(Some(8), 28));
        assert!(note(Some(8), 29));
    }

    #[test]
    fn a_process_that_waits_for_its_input_hangs() {
        let mut cat = std::process::Command::new("cat");
        let mut waiting =
            cat.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
        let pids = [i32::try_from(waiting.id()).unwrap()];
        let mut still = Stillness::default();
        let begun = Instant::now();
        let mut hangs = false;
        while !hangs && begun.elapsed() < 20 * LONG {
            hangs = still.is_hang(&pids, Instant::now());
            std::thread::yield_now();
        }
        drop(waiting.stdin.take());
        waiting.wait().unwrap();
        assert!(hangs && begun.elapsed() >= LONG);
    }
}
