//! What was seen of a command, in the words of the model.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis_profile::{
    Arch,
    recording::{
        Argument, Call, Exit, MAX_VALUES, Mark, Observation, RECORDED_ARGUMENTS, Seen, Signals, Values,
    },
    syscalls,
};
use rustix::process::Pid;

use crate::request::CallInfo;

/// The architecture that this program was compiled for.
const NATIVE: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

/// Most files that are remembered: logs are few.
const MAX_LOGS: usize = 256;

/// Counts.
#[derive(Debug)]
pub(crate) struct Record {
    seen: Observation,
    /// How often a handler took a signal from outside that asks for a log to be opened anew.
    told: u64,
    /// The files that were opened to append to them, and how often that had been so by then.
    logs: HashMap<PathBuf, u64>,
    /// The tasks that are about to open such a file, or may be.
    opening: HashSet<Pid>,
    /// The arguments that are kept, by the call's number: some programs make little but calls.
    kept: Vec<(u32, u8)>,
}

impl Record {
    pub(crate) fn new() -> Self {
        let kept = RECORDED_ARGUMENTS
            .iter()
            .filter_map(|argument| Some((syscalls::number(NATIVE, argument.call)?, argument.index)));
        Self {
            seen: Observation::default(),
            told: 0,
            logs: HashMap::new(),
            opening: HashSet::new(),
            kept: kept.collect(),
        }
    }

    /// The command began, by an execve(2) of which only the exit is still to come.
    pub(crate) fn started(&mut self) {
        self.seen.containers = 1;
        self.seen.marks.insert(Mark::StartSeen);
        if let Some(number) = syscalls::number(NATIVE, "execve") {
            self.count(Call { arch: NATIVE, number });
        }
    }

    pub(crate) fn call(&mut self, pid: Pid, info: &CallInfo) {
        // The kernel keeps 32 bits of a number, and so does a filter.
        let [number, _] = halves(info.number);
        let Some(arch) = arch(info.arch, number) else {
            self.seen.losses.calls += 1;
            return;
        };
        let call = Call { arch, number };
        self.count(call);
        if arch == NATIVE {
            self.keep_arguments(call, info);
            if may_append(call, info) {
                self.opening.insert(pid);
            }
        }
    }

    fn count(&mut self, call: Call) {
        if let Some(seen) = self.seen.calls.get_mut(&call) {
            seen.count = seen.count.saturating_add(1);
            return;
        }
        let now = now();
        self.seen.observed_at(now);
        self.seen.call(call, Seen { count: 1, first_at: now });
    }

    fn keep_arguments(&mut self, call: Call, info: &CallInfo) {
        for (_, index) in self.kept.iter().filter(|(number, _)| *number == call.number) {
            let Some(value) = info.arguments.get(usize::from(*index)) else { continue };
            let argument = Argument { call, index: *index };
            let values = self.seen.values.entry(argument).or_insert_with(|| Values::These(BTreeSet::new()));
            if let Values::These(these) = values {
                these.insert(*value);
                if these.len() > MAX_VALUES {
                    *values = Values::TooMany;
                }
            }
        }
    }

    /// A call has returned.
    pub(crate) fn returned(&mut self, pid: Pid, info: &CallInfo) {
        if !self.opening.remove(&pid) {
            return;
        }
        let opened = i32::try_from(info.number.cast_signed()).ok().filter(|descriptor| *descriptor >= 0);
        let Some(log) = opened.and_then(|descriptor| appended(pid, descriptor)) else { return };
        if self.logs.get(&log).is_some_and(|told| *told < self.told) {
            self.seen.marks.insert(Mark::LogReopened);
        }
        if self.logs.len() < MAX_LOGS || self.logs.contains_key(&log) {
            self.logs.insert(log, self.told);
        }
    }

    /// A task has ended.
    pub(crate) fn gone(&mut self, pid: Pid) {
        self.opening.remove(&pid);
    }

    /// A signal is about to be delivered to a task; whether it came from outside of what is traced.
    pub(crate) fn signal(&mut self, pid: Pid, signal: i32, outside: bool) {
        let Some(bit) = u32::try_from(signal - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)) else {
            return;
        };
        let signal = Signals::from_bits(bit);
        if outside {
            self.seen.outside = self.seen.outside.with(signal);
        }
        if !signal.without(self.seen.handled).is_empty() {
            if !handles(pid, bit) {
                return;
            }
            self.seen.handled = self.seen.handled.with(signal);
        }
        if outside && !signal.reopens().is_empty() {
            self.told += 1;
        }
    }

    pub(crate) fn ended(&mut self, exit: Exit) {
        self.seen.ended(exit);
    }

    pub(crate) fn observation(&self) -> Observation {
        let mut seen = self.seen.clone();
        seen.observed_at(now());
        seen
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// From an `AUDIT_ARCH_*` of include/uapi/linux/audit.h; x32 is told apart by bit 30 of the number.
fn arch(audit: u32, number: u32) -> Option<Arch> {
    match audit {
        0xc000_003e if number & 0x4000_0000 != 0 && number != u32::MAX => Some(Arch::X32),
        0xc000_003e => Some(Arch::X86_64),
        0x4000_0003 => Some(Arch::X86),
        0xc000_00b7 => Some(Arch::Aarch64),
        0x4000_0028 => Some(Arch::Arm),
        _ => None,
    }
}

/// Whether a call may open a file to append to it. What openat2 does stands in memory.
fn may_append(call: Call, info: &CallInfo) -> bool {
    let flags = match call.name() {
        Some("open") => info.arguments[1],
        Some("openat") => info.arguments[2],
        name => return name == Some("openat2"),
    };
    i32::try_from(flags & 0xffff_ffff).is_ok_and(appends)
}

const fn appends(flags: i32) -> bool {
    flags & libc::O_APPEND != 0 && flags & libc::O_ACCMODE != libc::O_RDONLY
}

/// The file of a descriptor, if that appends to it: proc_pid_fdinfo(5).
fn appended(pid: Pid, descriptor: i32) -> Option<PathBuf> {
    let of = |what: &str| format!("/proc/{}/{what}/{descriptor}", pid.as_raw_pid());
    let info = fs::read_to_string(of("fdinfo")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    i32::from_str_radix(flags.trim(), 8).is_ok_and(appends).then(|| fs::read_link(of("fd")).ok())?
}

/// Whether a task has a handler for a signal: `SigCgt` of proc_pid_status(5).
fn handles(pid: Pid, bit: u64) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & bit != 0)
}
