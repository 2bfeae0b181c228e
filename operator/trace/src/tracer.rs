//! Follows a command and all that it starts.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use portcullis_profile::recording::{Exit, Observation};
use rustix::{
    io::{Errno, retry_on_intr},
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait, waitpid},
    thread::sched_yield,
};

use crate::{
    Error,
    error::remedy,
    request::{self, ENTRY, EXIT, Resume},
    rights,
    seen::Record,
};

type Result<T> = std::result::Result<T, Error>;

/// `__WALL` and `__WNOTHREAD` of include/uapi/linux/wait.h: threads as well as processes, of this thread alone.
const OWN_TASKS: WaitOptions = WaitOptions::from_bits_retain(0x6000_0000);
/// How often the processor is left to others before nothing more is expected. A task that goes on mostly stops again at once, and to
/// look again costs a third less than to sleep until a signal says so.
const YIELDS: u32 = 4;
/// What marks a stop at a call: `PTRACE_O_TRACESYSGOOD` of ptrace(2).
const CALL_STOP: i32 = libc::SIGTRAP | 0x80;

/// How far the command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It runs.
    Running,
    /// It ended so; what it started runs on.
    Ended(Exit),
    /// Everything ended.
    Done,
}

/// Traces a command. It belongs to one thread, as the kernel has it: ptrace(2).
///
/// All children of that thread are waited for, so while it traces there may be no others. When the process dies, what is traced is
/// killed.
#[derive(Debug)]
pub struct Tracer {
    main: Pid,
    tasks: HashSet<Pid>,
    /// Everything that was traced, by its id: who sends a signal may have ended.
    own: HashSet<i32>,
    record: Record,
    started: bool,
    exit: Option<Exit>,
    done: bool,
    /// Programs whose files have rights, and which; at most [`MAX_PROGRAMS`].
    with_rights: BTreeMap<PathBuf, &'static str>,
    one_thread: PhantomData<*const ()>,
}

/// How many programs with rights are remembered: a machine has some dozens, and people read a few.
const MAX_PROGRAMS: usize = 8;

impl Tracer {
    /// Takes over a child that stops itself by SIGSTOP and, once it goes on, will execute the command. Waits until it has stopped.
    ///
    /// # Errors
    /// When the kernel does not allow it, or the child ends instead.
    pub fn seize(child: u32) -> Result<Self> {
        let main = i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(Error::Gone)?;
        match retry_on_intr(|| waitpid(Some(main), WaitOptions::UNTRACED)) {
            Ok(Some((_, status))) if status.stopped() => {}
            Ok(_) => return Err(Error::Gone),
            Err(error) => return Err(Error::Wait(error.into())),
        }
        request::seize(main).map_err(|source| Error::Refused { remedy: remedy(), source })?;
        kill_process(main, Signal::CONT).map_err(|error| Error::Request {
            what: "continue",
            pid: main.as_raw_pid(),
            source: error.into(),
        })?;
        Ok(Self {
            main,
            tasks: HashSet::from([main]),
            own: HashSet::from([main.as_raw_pid()]),
            record: Record::new(),
            started: false,
            exit: None,
            done: false,
            with_rights: BTreeMap::new(),
            one_thread: PhantomData,
        })
    }

    /// Handles everything that has happened, without waiting for more.
    ///
    /// # Errors
    /// When a task can't be handled.
    pub fn advance(&mut self) -> Result<Progress> {
        let mut yields = 0;
        while !self.done && yields < YIELDS {
            match self.next(WaitOptions::NOHANG)? {
                Some((pid, status)) => {
                    yields = 0;
                    self.handle(pid, status)?;
                }
                None => {
                    yields += 1;
                    sched_yield();
                }
            }
        }
        Ok(match self.exit {
            _ if self.done => Progress::Done,
            Some(exit) => Progress::Ended(exit),
            None => Progress::Running,
        })
    }

    /// The programs that were executed whose files give rights to whoever executes them, with what does: they are missing where the
    /// tracer has not the capability CAP_SYS_PTRACE. At most 8.
    pub fn programs_with_rights(&self) -> impl Iterator<Item = (&Path, &'static str)> {
        self.with_rights.iter().map(|(program, rights)| (program.as_path(), *rights))
    }

    /// Whether the command itself was executed.
    #[must_use]
    pub const fn has_started(&self) -> bool {
        self.started
    }

    /// The tasks that are traced now: processes and their threads.
    #[must_use]
    pub fn tasks(&self) -> Vec<i32> {
        self.tasks.iter().map(|pid| pid.as_raw_pid()).collect()
    }

    /// Lets everything that still runs go on without being traced.
    ///
    /// # Errors
    /// When a task can't be handled.
    pub fn release(&mut self) -> Result<()> {
        let mut released = HashSet::new();
        for pid in self.tasks.clone() {
            match request::interrupt(pid) {
                // It is gone, or about to be.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => drop(self.tasks.remove(&pid)),
                other => tolerate("interrupt", pid, other)?,
            }
        }
        while !self.done && !self.tasks.is_empty() {
            let Some((pid, status)) = self.next(WaitOptions::empty())? else { break };
            if !status.stopped() {
                self.gone(pid, status);
                continue;
            }
            let (event, signal) = parts(status);
            if is_birth(event)
                && let Some(child) = message(pid)?
                && !released.contains(&child)
            {
                self.tasks.insert(child);
            }
            // What was about to be delivered still is.
            let signal = if event == 0 && signal != CALL_STOP { signal } else { 0 };
            tolerate("release", pid, request::resume(pid, Resume::Detach(signal)))?;
            self.tasks.remove(&pid);
            released.insert(pid);
        }
        Ok(())
    }

    /// How the command ended, if it has.
    #[must_use]
    pub const fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// What was seen until now.
    #[must_use]
    pub fn observation(&self) -> Observation {
        self.record.observation()
    }

    fn next(&mut self, options: WaitOptions) -> Result<Option<(Pid, WaitStatus)>> {
        match retry_on_intr(|| wait(options | OWN_TASKS)) {
            // No child is left, traced or not: only then is everything over. A new one may be known by nothing else yet.
            Err(Errno::CHILD) => {
                self.done = true;
                Ok(None)
            }
            other => other.map_err(|error| Error::Wait(error.into())),
        }
    }

    fn handle(&mut self, pid: Pid, status: WaitStatus) -> Result<()> {
        if !status.stopped() {
            self.gone(pid, status);
            return Ok(());
        }
        self.tasks.insert(pid);
        self.own.insert(pid.as_raw_pid());
        let how = match parts(status) {
            (0, CALL_STOP) => {
                self.at_call(pid)?;
                Resume::Run(0)
            }
            (0, signal) => {
                if self.started {
                    let sender = request::sender(pid).unwrap_or_default();
                    let outside = sender.is_some_and(|sender| !self.own.contains(&sender));
                    self.record.signal(pid, signal, outside);
                }
                Resume::Run(signal)
            }
            (libc::PTRACE_EVENT_EXEC, _) => {
                self.executed(pid)?;
                Resume::Run(0)
            }
            (event, _) if is_birth(event) => {
                self.tasks.extend(message(pid)?);
                Resume::Run(0)
            }
            // A stop of the whole process. SIGTRAP instead says that a new task is traced, or that SIGCONT came.
            (libc::PTRACE_EVENT_STOP, signal) if signal != libc::SIGTRAP => Resume::Listen,
            _ => Resume::Run(0),
        };
        tolerate("continue", pid, request::resume(pid, how))
    }

    fn at_call(&mut self, pid: Pid) -> Result<()> {
        if !self.started {
            return Ok(());
        }
        match request::call_info(pid) {
            Ok(info) if info.op == ENTRY => self.record.call(pid, &info),
            Ok(info) if info.op == EXIT => self.record.returned(pid, &info),
            Ok(_) => {}
            Err(error) => tolerate("ask after a call of", pid, Err(error))?,
        }
        Ok(())
    }

    /// A thread that executes a program takes its process's id, and all others end without a word: ptrace(2), 'execve(2) under
    /// ptrace'.
    fn executed(&mut self, pid: Pid) -> Result<()> {
        if let Some(former) = message(pid)?.filter(|former| *former != pid) {
            self.tasks.remove(&former);
        }
        if !self.started && pid == self.main {
            self.started = true;
            self.record.started();
        }
        if self.with_rights.len() < MAX_PROGRAMS
            && let Some((program, rights)) = rights::of_program(pid)
        {
            self.with_rights.insert(program, rights);
        }
        Ok(())
    }

    fn gone(&mut self, pid: Pid, status: WaitStatus) {
        self.tasks.remove(&pid);
        self.record.gone(pid);
        if pid == self.main && self.exit.is_none() {
            let exit = Exit::from_wait_status(status.as_raw().cast_unsigned());
            self.exit = Some(exit);
            self.record.ended(exit);
        }
    }
}

/// Whether an event says that a task was made; its message is which.
const fn is_birth(event: i32) -> bool {
    matches!(event, libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE)
}

/// The task that an event speaks of.
fn message(pid: Pid) -> Result<Option<Pid>> {
    match request::event_message(pid) {
        Ok(id) => Ok(i32::try_from(id).ok().and_then(Pid::from_raw)),
        Err(error) => tolerate("ask after", pid, Err(error)).map(|()| None),
    }
}

/// The event and the signal of a stop: ptrace(2).
fn parts(status: WaitStatus) -> (i32, i32) {
    let raw = status.as_raw();
    (raw >> 16, raw >> 8 & 0xff)
}

/// A task may be killed at any moment; that it was is the next thing to be heard of it.
fn tolerate(what: &'static str, pid: Pid, result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map_err(|source| Error::Request { what, pid: pid.as_raw_pid(), source }),
    }
}
