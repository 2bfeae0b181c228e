//! Processes that outlive the command that started them, found again by their records.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

use crate::{
    command::{self, command},
    paths::{self, Paths},
};

/// Every process of the cluster, and what it starts, has this variable with the cluster's folder as its value.
pub(crate) const MARK: &str = "PORTCULLIS_CLUSTER_PROCESS";
/// The programs' search path: that of a login as root, whatever the caller's was.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run, enough to start it again.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Program {
    /// The name of the record and of the log file.
    pub(crate) name: String,
    /// The program and its arguments.
    pub(crate) arguments: Vec<String>,
    /// The record's name of the process whose mount namespace this one enters.
    pub(crate) mounts_of: Option<String>,
}

/// A program that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    program: Program,
    pid: i32,
    /// In clock ticks since boot, field 22 of proc_pid_stat(5): tells a process from a later one of the same number.
    start_time: u64,
    boot_id: String,
}

/// The processes of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    paths: Paths,
}

impl Supervisor {
    pub(crate) fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone() }
    }

    /// Starts a program in a session of its own and records it. Its output is appended to its log.
    pub(crate) fn start(&self, program: &Program) -> Result<()> {
        if self.is_alive(&program.name) {
            bail!("{} runs already", program.name);
        }
        let mut child = self
            .prepare(program)?
            .spawn()
            .with_context(|| format!("can't start {}; is util-linux's setsid installed?", program.name))?;
        let pid = i32::try_from(child.id()).context("a process number is out of range")?;
        let status = status(pid).with_context(|| format!("{} ended at once", program.name))?;
        // The caller may live on, as a test does: without a wait its dead children would stay as zombies.
        std::thread::spawn(move || child.wait());
        let boot_id = boot_id()?;
        let record = Record { program: program.clone(), pid, start_time: status.start_time, boot_id };
        paths::write_json(&self.record_file(&program.name), &record)
    }

    fn prepare(&self, program: &Program) -> Result<std::process::Command> {
        let log_file = self.log(&program.name);
        paths::create_dir(&self.paths.logs())?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log_file)
            .with_context(|| format!("can't write {}", log_file.display()))?;
        let errors = log.try_clone().with_context(|| format!("can't write {}", log_file.display()))?;
        // setsid(1) and nsenter(1) replace themselves, so the number of the child is the program's.
        let mut command = command("setsid", [] as [&str; 0]);
        if let Some(other) = &program.mounts_of {
            command.args(["nsenter", &format!("--mount={}", self.mount_namespace(other)?), "--"]);
        }
        command
            .args(&program.arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env(MARK, self.paths.dir())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        Ok(command)
    }

    /// Starts a recorded program again, after a stop.
    pub(crate) fn start_again(&self, name: &str) -> Result<()> {
        let program = self.record(name)?.program;
        self.start(&program)
    }

    /// Sends a signal and waits until the process is gone; one that ignores it for too long is killed.
    pub(crate) fn stop(&self, name: &str, signal: Signal, patience: Duration) -> Result<()> {
        let Some(process) = self.open(name) else { return Ok(()) };
        send(&process, signal).with_context(|| format!("can't stop {name}"))?;
        if wait_exit(&process, patience)? {
            return Ok(());
        }
        send(&process, Signal::KILL).with_context(|| format!("can't kill {name}"))?;
        if !wait_exit(&process, patience)? {
            bail!("{name} is killed but does not end");
        }
        Ok(())
    }

    /// Sends a signal to a process that runs, without waiting for what it does.
    pub(crate) fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let process = self.open(name).with_context(|| format!("{name} does not run"))?;
        send(&process, signal).with_context(|| format!("can't signal {name}"))
    }

    /// Whether the recorded process runs.
    pub(crate) fn is_alive(&self, name: &str) -> bool {
        self.open(name).is_some()
    }

    /// The number of the recorded process, if it runs.
    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        let record = self.record(name).ok()?;
        is_running(&record).then_some(record.pid)
    }

    /// Every recorded process and whether it runs.
    pub(crate) fn all(&self) -> Result<BTreeMap<String, bool>> {
        let folder = self.paths.processes();
        let mut all = BTreeMap::new();
        for entry in list(&folder)? {
            if let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".json")) {
                all.insert(name.to_owned(), self.is_alive(name));
            }
        }
        Ok(all)
    }

    /// Forgets a process that is gone for good.
    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        paths::remove(&self.record_file(name))
    }

    /// The mount namespace of a process that runs.
    pub(crate) fn mount_namespace(&self, name: &str) -> Result<String> {
        let pid = self.pid(name).with_context(|| format!("{name} does not run"))?;
        Ok(format!("/proc/{pid}/ns/mnt"))
    }

    /// The log of a process.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.paths.logs().join(format!("{name}.log"))
    }

    /// An error for a process that does not come up, with the end of its log.
    pub(crate) fn complaint(&self, name: &str, what: &str) -> anyhow::Error {
        let log = self.log(name);
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let end = command::last_lines(text.trim_end(), 15);
        anyhow::anyhow!("{name} {what}; the end of {}:\n{end}", log.display())
    }

    fn record_file(&self, name: &str) -> PathBuf {
        self.paths.processes().join(format!("{name}.json"))
    }

    fn record(&self, name: &str) -> Result<Record> {
        paths::read_json(&self.record_file(name)).with_context(|| format!("{name} was never started"))
    }

    /// A handle on the recorded process if it runs. The handle is taken first and the identity checked after, so that it
    /// can't be another process's.
    fn open(&self, name: &str) -> Option<OwnedFd> {
        let record = self.record(name).ok()?;
        let process = open_pid(record.pid)?;
        is_running(&record).then_some(process)
    }
}

fn is_running(record: &Record) -> bool {
    boot_id().is_ok_and(|boot_id| boot_id == record.boot_id)
        && status(record.pid).is_some_and(|now| now.start_time == record.start_time && !now.ended)
}

/// The entries of a folder; none where there is no folder.
pub(crate) fn list(folder: &std::path::Path) -> Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .collect::<std::io::Result<_>>()
            .with_context(|| format!("can't list {}", folder.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("can't list {}", folder.display())),
    }
}

pub(crate) fn open_pid(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Sends a signal; a process that has just ended has what it was to get.
pub(crate) fn send(process: &OwnedFd, signal: Signal) -> Result<()> {
    match pidfd_send_signal(process, signal) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits for a process to end; false when the time is over.
pub(crate) fn wait_exit(process: &OwnedFd, patience: Duration) -> Result<bool> {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).context("a patience is out of range")?;
        match rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("can't wait for a process"),
        }
    }
}

/// The number that the kernel gave to this boot, see random(4).
pub(crate) fn boot_id() -> Result<String> {
    Ok(paths::read(std::path::Path::new("/proc/sys/kernel/random/boot_id"))?.trim().to_owned())
}

struct Status {
    start_time: u64,
    ended: bool,
}

fn status(pid: i32) -> Option<Status> {
    parse_status(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads proc_pid_stat(5). The second field is the program's name in parentheses, which may hold anything.
fn parse_status(text: &str) -> Option<Status> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // The state is field 3, so the start time, field 22, is 18 fields after the one behind it.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Status { start_time, ended: matches!(state, "Z" | "X" | "x") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_read_behind_any_name() {
        let text =
            "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2 18446744073709551615";
        let status = parse_status(text).unwrap();
        assert_eq!(status.start_time, 98765);
        assert!(!status.ended);
        assert!(parse_status(&text.replace(" S ", " Z ")).unwrap().ended);
    }

    #[test]
    fn a_started_program_is_found_again_and_stopped() {
        let folder = std::env::temp_dir().join(format!("portcullis-process-{}", std::process::id()));
        let supervisor = Supervisor::new(&Paths::new(&folder));
        let arguments = vec!["sleep".to_owned(), "1000".to_owned()];
        let program = Program { name: "sleeper".to_owned(), arguments, mounts_of: None };
        supervisor.start(&program).unwrap();
        let again = Supervisor::new(&Paths::new(&folder));
        assert!(again.is_alive("sleeper"));
        assert!(again.start(&program).is_err(), "started twice");
        again.stop("sleeper", Signal::TERM, Duration::from_secs(10)).unwrap();
        assert!(!again.is_alive("sleeper"));
        again.start_again("sleeper").unwrap();
        assert_eq!(again.all().unwrap(), BTreeMap::from([("sleeper".to_owned(), true)]));
        again.stop("sleeper", Signal::KILL, Duration::from_secs(10)).unwrap();
        paths::remove(&folder).unwrap();
    }

    #[test]
    fn another_process_of_the_same_number_is_not_ours() {
        let own = i32::try_from(std::process::id()).unwrap();
        let start_time = status(own).unwrap().start_time;
        let program = Program { name: "x".to_owned(), arguments: Vec::new(), mounts_of: None };
        let record = Record { program, pid: own, start_time, boot_id: boot_id().unwrap() };
        assert!(is_running(&record));
        assert!(!is_running(&Record { start_time: start_time + 1, ..record.clone() }));
        assert!(!is_running(&Record { boot_id: "another".to_owned(), ..record }));
    }
}
