//! A process that runs containers one after another, in namespaces of its own: whatever a runtime leaves behind ends with it.

use std::{
    fs,
    io::{BufRead as _, Write as _, stdin, stdout},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_profile::{Arch, runtime_default};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    mount::{UnmountFlags, unmount},
    process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, wait},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{answer::Filter, observed::Observed, setting::Setting, stillness::Stillness};

/// How long a runtime may take until its container runs, if it doesn't hang before.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a process is looked at whose next step nothing tells of.
const LOOK: Duration = Duration::from_millis(1);
/// How often it is looked whether a runtime hangs.
const LOOK_FOR_HANG: Duration = Duration::from_millis(100);
/// From which number on there is a descriptor that a runtime has to close.
const INHERITED: i32 = 20;

/// A container to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Experiment {
    pub(crate) setting: Setting,
    pub(crate) filter: Filter,
}

/// What processes the container had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Its first one, where it started.
    pub(crate) start: Option<Observed>,
    /// One that was executed in it, where that started.
    pub(crate) exec: Option<Observed>,
    /// What the runtime said.
    pub(crate) said: String,
}

/// Runs the containers that standard input names, and tells what they got.
///
/// # Errors
/// Where this is not the first process of its own namespace, or a container can't be tried.
pub fn serve(folder: &Path) -> Result<()> {
    ensure!(std::process::id() == 1, "a job runs in a namespace of its own: `unshare --pid --fork`");
    // crun takes the presence of this one for the whole of cgroup v2. It may not be there.
    let _ = unmount("/sys/fs/cgroup/unified", UnmountFlags::DETACH);
    let job = Job::new(folder)?;
    for line in stdin().lock().lines() {
        let experiment: Experiment = serde_json::from_str(&line.context("no experiment can be read")?)?;
        let outcome = job.run(&experiment).map_err(|error| format!("{error:#}"));
        let mut answer = serde_json::to_vec(&outcome)?;
        answer.push(b'\n');
        stdout().lock().write_all(&answer).context("the outcome can't be told")?;
    }
    Ok(())
}

struct Job {
    bundle: PathBuf,
    state: PathBuf,
    /// Of the container, and of its cgroup.
    id: String,
    probe: (u64, u64),
    _inherited: fs::File,
}

impl Job {
    fn new(folder: &Path) -> Result<Self> {
        let bundle = folder.join("bundle");
        for made in ["rootfs/dev", "rootfs/proc", "rootfs/work"] {
            fs::create_dir_all(bundle.join(made))?;
        }
        let probe = bundle.join("rootfs/probe");
        fs::copy(folder.with_file_name("probe"), &probe).context("there is no probe")?;
        let number = folder.file_name().context("a job's folder has a name")?.display();
        let parent = folder.parent().and_then(Path::file_name).context("a job's folder has a parent")?;
        let id = format!("portcullis-{}-{number}", parent.display());
        let probe = identity(&probe)?;
        Ok(Self { bundle, state: folder.join("state"), id, probe, _inherited: inherited()? })
    }

    fn run(&self, experiment: &Experiment) -> Result<Outcome> {
        let outcome = self.observe(experiment);
        self.clear()?;
        outcome
    }

    fn observe(&self, Experiment { setting, filter }: &Experiment) -> Result<Outcome> {
        self.configure(setting, filter)?;
        let pid_file = self.bundle.join("pid");
        let mut run = self.detached(setting, "run", &pid_file)?;
        run.arg("--bundle").arg(&self.bundle).arg(&self.id);
        let start = self.started(run, &pid_file)?;
        let mut exec = None;
        if start.is_some() {
            let mut command = self.detached(setting, "exec", &pid_file)?;
            command.arg("--process").arg(self.bundle.join("process.json")).arg(&self.id);
            exec = self.started(command, &pid_file)?;
        }
        let said = fs::read(self.bundle.join("said")).unwrap_or_default();
        Ok(Outcome { start, exec, said: String::from_utf8_lossy(&said).into_owned() })
    }

    fn configure(&self, setting: &Setting, filter: &Filter) -> Result<()> {
        let arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };
        let default = runtime_default(arch).context("this architecture has no runtime default")?;
        let profile = filter.profile(&default.profile)?;
        let process = setting.request.process(setting.no_new_privs);
        let namespaces = ["pid", "mount"].map(|kind| json!({"type": kind}));
        let config = json!({
            "ociVersion": "1.0.2",
            "process": process,
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": {
                "namespaces": namespaces,
                "cgroupsPath": format!("/{}", self.id),
                "seccomp": profile,
            },
        });
        fs::write(self.bundle.join("config.json"), config.to_string())?;
        fs::write(self.bundle.join("process.json"), process.to_string())
            .context("the bundle can't be written")
    }

    fn detached(&self, setting: &Setting, action: &str, pid_file: &Path) -> Result<Command> {
        let _ = fs::remove_file(pid_file);
        let mut command = setting.runtime.command(&self.state);
        command.args([action, "--detach", "--pid-file"]).arg(pid_file);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.bundle.join("said"))?);
        Ok(command)
    }

    /// The process that a runtime started; none where it failed, or the process ended before it was the container's program.
    fn started(&self, mut command: Command, pid_file: &Path) -> Result<Option<Observed>> {
        let deadline = Instant::now() + PATIENCE;
        let mut child = command.spawn().with_context(|| format!("{command:?} can't be started"))?;
        let status = finished(&mut child, deadline)?;
        if !status.is_some_and(|status| status.success()) {
            return Ok(None);
        }
        let pid = fs::read_to_string(pid_file).context("the runtime wrote no pid")?;
        let pid: i32 = pid.trim().parse().with_context(|| format!("{pid:?} is no pid"))?;
        let mut still = Stillness::default();
        // Nothing tells of an execve that succeeded.
        while Instant::now() < deadline && !still.is_hang(&[pid], Instant::now()) {
            match identity(&Path::new("/proc").join(pid.to_string()).join("exe")) {
                Ok(program) if program == self.probe => return Observed::of(pid).map(Some),
                // One whose first thread is dead shows no program, and may still execute one by another thread.
                _ if ended(pid, LOOK)? => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Ends whatever the runtime left, so that the next one finds nothing.
    fn clear(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            // All processes of this namespace are the runtime's, and its containers'.
            let others = others()?;
            if others.is_empty() {
                break;
            }
            for &pid in &others {
                if let Some(pid) = Pid::from_raw(pid) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            ensure!(Instant::now() < deadline, "the processes {others:?} are killed and don't end");
            ended(others[0], LOOK)?;
        }
        // The whole of it: crun keeps filters there, and 1.28 takes one for another that differs in errnos alone.
        let _ = fs::remove_dir_all(&self.state);
        self.clear_cgroups(deadline)
    }

    fn clear_cgroups(&self, deadline: Instant) -> Result<()> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
        for hierarchy in hierarchies.map(|entry| entry.path()).chain([root.to_owned()]) {
            let group = hierarchy.join(&self.id);
            while group.exists() && fs::remove_dir(&group).is_err() {
                ensure!(Instant::now() < deadline, "{} can't be removed", group.display());
                std::thread::yield_now();
            }
        }
        Ok(())
    }
}

/// A descriptor of a folder of the machine that whoever is started inherits: to close it is the runtime's duty.
fn inherited() -> Result<fs::File> {
    let folder = fs::File::open("/etc").context("there is no /etc")?;
    let high = fcntl_dupfd_cloexec(&folder, INHERITED)?;
    fcntl_setfd(&high, FdFlags::empty())?;
    Ok(high.into())
}

/// What tells a file from every other one.
fn identity(path: &Path) -> Result<(u64, u64)> {
    let metadata = fs::metadata(path).with_context(|| format!("no {}", path.display()))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Waits for a runtime's end; none where it hangs, and is killed.
fn finished(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).context("a pid is an i32")?;
    let mut still = Stillness::default();
    while Instant::now() < deadline {
        if ended(pid, LOOK_FOR_HANG)? {
            return child.wait().map(Some).context("the runtime was lost");
        }
        if still.is_hang(&others()?, Instant::now()) {
            break;
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Whether a process ends within some time.
fn ended(pid: i32, time: Duration) -> Result<bool> {
    let Some(pid) = Pid::from_raw(pid) else { bail!("{pid} is no pid") };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(true) };
    let time = Timespec::try_from(time).context("a duration is no time")?;
    Ok(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&time))? > 0)
}

/// The processes of this namespace but this one.
fn others() -> Result<Vec<i32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid: Option<i32> = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        all.extend(pid.filter(|&pid| pid != 1));
    }
    Ok(all)
}
