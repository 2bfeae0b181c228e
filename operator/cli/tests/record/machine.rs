//! The recorder at work.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use portcullis_profile::Profile;

pub(crate) const METHODS: [&str; 2] = ["ebpf", "ptrace"];

/// What a recording said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) said: String,
}

/// A recorder that runs.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

fn recorder(folder: &Path, arguments: &[&str]) -> Command {
    assert!(rustix::process::geteuid().is_root(), "recording by eBPF needs root: run these tests as root");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"));
    command
        .arg("record")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Records from beginning to end.
pub(crate) fn record(folder: &Path, arguments: &[&str]) -> Ran {
    start(folder, arguments).end()
}

/// The same with more in the environment.
pub(crate) fn record_with(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    start_as(recorder(folder, arguments).envs(environment.iter().copied())).end()
}

pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Running {
    start_as(&mut recorder(folder, arguments))
}

/// The same for a user without rights, from a copy of the program that this user may run.
pub(crate) fn record_as_nobody(folder: &Path, arguments: &[&str]) -> Ran {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};
    const NOBODY: u32 = 65534;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("a folder for all");
    let copy = folder.join("kubectl-seccomp");
    fs::copy(env!("CARGO_BIN_EXE_kubectl-seccomp"), &copy).expect("a copy");
    let mut command = Command::new(copy);
    command.arg("record").args(arguments).current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin");
    command.uid(NOBODY).gid(NOBODY);
    start_as(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())).end()
}

fn start_as(command: &mut Command) -> Running {
    let mut child = command.spawn().expect("the binary can be run");
    let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    Running { child, stderr, said: String::new() }
}

impl Running {
    /// Waits until it, or the command, says something on standard error.
    pub(crate) fn until_it_says(&mut self, words: &str) {
        while !self.said.contains(words) {
            let read = self.stderr.read_line(&mut self.said).expect("it says something");
            assert!(read > 0, "it ended without saying {words:?}: {}", self.said);
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it is there");
    }

    pub(crate) fn end(mut self) -> Ran {
        let mut out = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
        self.stderr.read_to_string(&mut self.said).expect("text");
        let code = self.child.wait().expect("it ends").code();
        Ran { code, out, said: self.said }
    }
}

/// The profile in a file.
pub(crate) fn profile(folder: &Path, name: &str) -> Profile {
    let text = fs::read(folder.join(name)).expect("a profile was written");
    Profile::parse(&text).expect("an OCI document")
}

pub(crate) fn allowed(profile: &Profile) -> Vec<&str> {
    profile.syscalls.iter().flat_map(|rule| rule.names.iter().map(String::as_str)).collect()
}

/// Where the cgroups are that tell containers apart.
pub(crate) fn cgroups() -> PathBuf {
    let v1 = PathBuf::from("/sys/fs/cgroup/pids");
    if v1.is_dir() { v1 } else { PathBuf::from("/sys/fs/cgroup") }
}

/// A container's id that nothing else on the machine has.
pub(crate) fn container_id() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    // The number first, so that ids differ in what a short one shows.
    format!("{:08x}{:056x}", NUMBER.fetch_add(1, Ordering::Relaxed), std::process::id())
}
