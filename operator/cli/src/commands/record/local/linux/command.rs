//! Starts the command, by a copy of this program that first takes its place and then becomes the command.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Error, Result};
use nix::sys::signal::{Signal, raise};

use super::{signals, user::User};

/// What stands for 'stop, and go on once somebody traces'; anything else is a `cgroup.procs` to write to.
const TRACED: &str = "ptrace";

/// What to start.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    /// The command with its arguments.
    pub(super) command: &'a [OsString],
    /// Whether its standard output is this process's, and not the profile's.
    pub(super) own_output: bool,
    /// What `--user` says.
    pub(super) user: Option<&'a str>,
}

/// What to call a command: its program's file name.
pub(super) fn name(command: &[OsString]) -> Option<String> {
    let program = Path::new(command.first()?);
    Some(program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned())
}

impl Launch<'_> {
    /// Starts a copy that stops until it is traced.
    pub(super) fn traced(&self) -> Result<Child> {
        self.start(OsStr::new(TRACED))
    }

    /// Starts a copy that moves itself into a cgroup.
    pub(super) fn in_cgroup(&self, procs: &Path) -> Result<Child> {
        self.start(procs.as_os_str())
    }

    fn start(&self, how: &OsStr) -> Result<Child> {
        let mut copy = Command::new("/proc/self/exe");
        copy.args(["record", "--become-by"]).arg(how);
        if let Some(user) = self.user {
            copy.args(["--user", user]);
        }
        copy.arg("--").args(self.command);
        if !self.own_output {
            let errors = io::stderr().as_fd().try_clone_to_owned();
            copy.stdout(Stdio::from(errors.context("can't copy the descriptor of standard error")?));
        }
        copy.spawn().context("can't start a copy of this program: is /proc mounted?")
    }
}

/// What the copy does. It returns only where the command can't be executed.
///
/// It takes its place with the recorder's rights, and gives them up before the command has any.
pub(super) fn become_it(how: &OsStr, command: &[OsString], user: Option<&User>) -> Error {
    let Some((program, arguments)) = command.split_first() else {
        return anyhow::anyhow!("there is no command after --");
    };
    let mut next = Command::new(program);
    next.args(arguments);
    if let Err(error) = take_place(how).and_then(|()| user.map_or(Ok(()), User::become_it)) {
        return error;
    }
    if let Some(user) = user {
        user.set_environment(&mut next);
    }
    let error = next.exec();
    Error::new(error).context(format!("can't run {}", program.display()))
}

fn take_place(how: &OsStr) -> Result<()> {
    signals::unblock()?;
    if how == TRACED {
        raise(Signal::SIGSTOP).context("can't stop to be traced")
    } else {
        // 0 is the process that writes: cgroups(7).
        fs::write(how, "0")
            .with_context(|| format!("can't move into the cgroup of {}", Path::new(how).display()))
    }
}
