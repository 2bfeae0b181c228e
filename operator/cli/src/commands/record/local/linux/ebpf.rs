//! Recording by the probe: what it needs of the machine, and a command in a cgroup of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Child},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_probe::{
    Attachment, Capacity, Error, Hierarchy, Losses, Probe, Recorded, Settings, Start, Target, Watch,
    observation, seconds, uninstall,
};
use portcullis_profile::recording::{Exit, Mark, Observation};
use portcullis_trace::Progress;
use rustix::{mount::MountFlags, thread::CapabilitySet};

use super::{
    cgroups::{self, Mounted},
    command::Launch,
    follow::Recording,
    plain,
};
use crate::console;

/// What the recorder's node names, and the cgroups that it makes, begin with; the process's id follows.
const NODE: &str = "record-";
const CGROUP: &str = "portcullis-record-";
/// A recorder watches one command or container, which may have been started anew a few times.
const CAPACITY: Capacity = Capacity { containers: 32, others: 128, values: 128 };

/// A probe of this process's own. All of it goes with this value.
#[derive(Debug)]
pub(super) struct OwnProbe {
    probe: Option<Probe>,
    settings: Settings,
}

impl OwnProbe {
    /// Loads the programs, under a name that no other recorder has, and removes what recorders left that were killed.
    pub(super) fn open(hierarchy: Hierarchy) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut settings =
            Settings::of_node(format!("{NODE}{}-{:x}", process::id(), now.as_nanos())).map_err(plain)?;
        settings.hierarchy = hierarchy;
        settings.capacity = CAPACITY;
        let probe = match Probe::open(&settings) {
            Err(Error::NoBpffs { path, .. }) => {
                mount(&path)?;
                Probe::open(&settings).map_err(plain)?
            }
            other => other.map_err(plain)?,
        };
        sweep(&settings.pins);
        Ok(Self { probe: Some(probe), settings })
    }

    /// Watches a target.
    pub(super) fn watch(&mut self, target: &Target, start: Start) -> Result<()> {
        let probe = self.probe.as_mut().context("the probe is closed")?;
        // By the same program logs are seen to be opened anew.
        let denials = probe.sees_denials();
        probe.watch(target, Watch { tag: 1, start, group: 0, denials }).map_err(plain)?;
        if let Attachment::Raw { reason } = probe.attachment() {
            console::note(&format!(
                "this kernel has no typed tracepoints, so recording costs more: {reason}"
            ));
        }
        Ok(())
    }

    /// What was counted, and how many calls, or tasks with all of theirs, can't be told of any container.
    pub(super) fn snapshot(&self) -> Result<(Vec<Recorded>, u64)> {
        let snapshot = self.probe.as_ref().context("the probe is closed")?.snapshot().map_err(plain)?;
        let Losses { no_room, unmarked, .. } = snapshot.losses;
        Ok((snapshot.containers, no_room.saturating_add(unmarked)))
    }
}

impl Drop for OwnProbe {
    fn drop(&mut self) {
        // It holds the lock that uninstalling takes.
        self.probe = None;
        if let Err(error) = uninstall(&self.settings.pins, &self.settings.node) {
            console::note(&format!(
                "the probe's programs may still be loaded: {error}; the next recording removes them"
            ));
        }
    }
}

/// Mounts the BPF file system where it belongs, and as systemd does when a machine starts; others leave it out.
///
/// It stays: another program may pin something in it meanwhile, that an unmount would take away with it.
///
/// Source: `mount_table` of systemd's src/shared/mount-setup.c.
fn mount(path: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("bpf", path, "bpf", flags, c"mode=0700").with_context(|| {
        format!("there is no BPF file system at {}, and none can be mounted", path.display())
    })?;
    console::note(&format!("mounted a BPF file system at {}, which stays", path.display()));
    Ok(())
}

/// Removes the pins of recorders that are gone.
fn sweep(pins: &Path) {
    for entry in fs::read_dir(pins).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_left(&name, NODE) {
            // Where this fails another recorder does it at the same time, or the next one will.
            let _ = uninstall(pins, &name);
        }
    }
}

/// Whether a name is a recorder's that has ended.
fn is_left(name: &str, prefix: &str) -> bool {
    let id = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    id.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists())
}

/// Where a command will be recorded.
#[derive(Debug)]
pub(super) struct Place {
    probe: OwnProbe,
    mounted: Mounted,
    cgroup: OwnCgroup,
}

/// A cgroup that goes with this value.
#[derive(Debug)]
struct OwnCgroup(PathBuf);

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if let Err(error) = cgroups::remove(&self.0) {
            console::note(&format!("{error:#}"));
        }
    }
}

/// Whether this process may load programs that trace: capabilities(7).
pub(super) fn may_load() -> Result<()> {
    let own = rustix::thread::capabilities(None).context("can't read this process's capabilities")?.effective;
    let may =
        own.contains(CapabilitySet::SYS_ADMIN) || own.contains(CapabilitySet::BPF | CapabilitySet::PERFMON);
    ensure!(may, "this process has not the capabilities CAP_BPF and CAP_PERFMON, as root has");
    Ok(())
}

impl Place {
    /// Sets up all that is needed before the command starts.
    pub(super) fn set_up() -> Result<Self> {
        may_load()?;
        ensure!(
            cgroups::sees_all(),
            "this process is in a cgroup namespace, where the kernel's names of cgroups can't be seen"
        );
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        ensure!(
            !status.lines().any(|line| line == "Seccomp:\t2"),
            "this process runs under a seccomp filter, so that its own calls could not be told from the command's"
        );
        let hierarchy = Hierarchy::of_this_machine().map_err(plain)?;
        let mounted = Mounted::find(hierarchy)?;
        mounted.sweep(|name| is_left(name, CGROUP));
        let (path, directory) = mounted.below_own(&format!("{CGROUP}{}", process::id()))?;
        let mut probe = OwnProbe::open(hierarchy)?;
        probe.watch(&Target::Cgroup(path), Start::Exec)?;
        fs::create_dir(&directory)
            .with_context(|| format!("can't make the cgroup {}", directory.display()))?;
        Ok(Self { probe, mounted, cgroup: OwnCgroup(directory) })
    }
}

/// A command in a cgroup that is watched.
#[derive(Debug)]
pub(super) struct Counted {
    place: Place,
    child: Child,
    exit: Option<Exit>,
    steady: bool,
}

impl Counted {
    pub(super) fn start(place: Place, launch: &Launch<'_>) -> Result<Self> {
        let child = launch.in_cgroup(&place.cgroup.0.join("cgroup.procs"))?;
        Ok(Self { place, child, exit: None, steady: false })
    }

    fn observation(&self) -> Result<Option<Observation>> {
        let (recorded, lost) = self.place.probe.snapshot()?;
        let Some(recorded) = recorded.iter().find(|recorded| recorded.container.exec.is_some()) else {
            return Ok(None);
        };
        let mut observation = observation(recorded, None);
        observation.observed_at(seconds(SystemTime::now()));
        observation.losses.calls += lost;
        // A command has no filter because nobody gave it one; that says nothing of a container's.
        observation.marks.remove(&Mark::Unfiltered);
        Ok(Some(observation))
    }

    /// Remembers what the marks of a longer life are found by.
    fn look(&mut self) -> Result<()> {
        if let Some(now) = self.observation()? {
            self.steady |= now.marks.contains(&Mark::Steady);
        }
        Ok(())
    }
}

impl Recording for Counted {
    fn id(&self) -> u32 {
        self.child.id()
    }

    fn advance(&mut self) -> Result<Progress> {
        self.look()?;
        if self.exit.is_none() {
            use std::os::unix::process::ExitStatusExt as _;
            let status = self.child.try_wait().context("can't wait for the command")?;
            self.exit = status.map(|status| Exit::from_wait_status(status.into_raw().cast_unsigned()));
        }
        Ok(match self.exit {
            None => Progress::Running,
            Some(_) if self.left().is_empty() => Progress::Done,
            Some(exit) => Progress::Ended(exit),
        })
    }

    fn left(&self) -> Vec<i32> {
        cgroups::processes(&self.place.cgroup.0)
    }

    /// Moves what runs on to where it would be without the recorder.
    fn release(&mut self) -> Result<()> {
        let own = self.place.mounted.own_procs();
        loop {
            let left = self.left();
            if left.is_empty() {
                return Ok(());
            }
            for id in left {
                match fs::write(&own, id.to_string()) {
                    Err(error) if error.raw_os_error() != Some(nix::libc::ESRCH) => {
                        return Err(error)
                            .with_context(|| format!("can't move process {id} to {}", own.display()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn seen(&self) -> Result<Option<Observation>> {
        let Some(mut observation) = self.observation()? else { return Ok(None) };
        if self.steady {
            observation.marks.insert(Mark::Steady);
        }
        Ok(Some(observation))
    }

    fn exit(&self) -> Option<Exit> {
        self.exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_ended_recorder_left_is_left() {
        let own = process::id();
        assert!(!is_left(&format!("{NODE}{own}-1f"), NODE));
        // No process has so high an id: PID_MAX_LIMIT is 4 million.
        assert!(is_left(&format!("{NODE}4294967295-1f"), NODE));
        assert!(is_left(&format!("{CGROUP}4294967295"), CGROUP));
        for name in ["node-1", "record-", "record-x-1"] {
            assert!(!is_left(name, NODE), "{name}");
        }
    }
}
