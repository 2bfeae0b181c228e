//! The probe: targets in, snapshots out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant, SystemTime},
};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::{
    Error, PodUid, Settings, Start, Target, Watch, clock,
    layout::{Config, ConfigWords, MAX_SLOTS, Maps, TargetKey, Wanted, WantedWords, mode},
    pins::Pins,
    programs::{Programs, earlier_config, had_leave},
    slots::{Resting, failed, target_key},
    snapshot::{ContainerKey, Losses, Snapshot},
};

type Result<T> = std::result::Result<T, Error>;

/// How long a freed slot rests: far longer than any program runs.
const REST: Duration = Duration::from_secs(1);
/// As many strangers are surely all that there were: their map holds 1024 and lets go of some shortly before it is full.
const SURELY_NOTED: usize = 512;
/// A [`Wanted::since`] that is not known yet: later than any task's start.
const UNSETTLED: u64 = u64::MAX;

/// How the programs are attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Nothing is watched, so nothing is attached and nothing costs anything.
    None,
    /// Typed tracepoints.
    Typed,
    /// Raw tracepoints, which cost more and see no denied calls.
    Raw {
        /// Why, for the log.
        reason: String,
    },
}

/// Counts the system calls of containers on one node.
///
/// What it counts outlives it: another one for the same node goes on where it ended, with its targets, and the programs stay attached
/// meanwhile. [`uninstall`](crate::uninstall) ends that.
#[derive(Debug)]
pub struct Probe {
    pins: Pins,
    programs: Programs,
    maps: Maps,
    config: Config,
    attached: bool,
    leave_attached: bool,
    resting: Resting,
    /// When an earlier process last said that it was there, until this one has.
    absent_since: Option<u64>,
    /// Whether an earlier process had left its programs attached.
    was_attached: bool,
}

/// A time in which programs went on counting and nobody was there to name new pods to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// When an earlier process was last there.
    pub since: SystemTime,
    /// The pods that nobody had asked for and of which a container came meanwhile, and when, at most 1024 of them. Static pods, whose
    /// cgroups have no UID, are not among them.
    pub strangers: BTreeMap<PodUid, SystemTime>,
    /// Whether those are all: programs were attached, and there was room for each. While nothing was watched, nobody took note of pods.
    pub noted: bool,
}

impl Probe {
    /// Opens the node's probe: the one that an earlier process left, or a new one.
    ///
    /// # Errors
    ///
    /// When the BPF file system is missing, another process has the node's probe, a capability is missing, or the kernel refuses
    /// the programs.
    pub fn open(settings: &Settings) -> Result<Self> {
        let containers = settings.capacity.containers;
        if containers == 0 || containers > MAX_SLOTS {
            return Err(Error::Containers(containers));
        }
        let pins = Pins::open(settings)?;
        let earlier = earlier_config(&pins)?.unwrap_or_default();
        let others = pins.epochs()?;
        let epoch = others.iter().copied().chain([earlier.epoch]).max().unwrap_or(0) + 1;
        let path_key = match earlier.path_key {
            // Nothing was ever watched.
            [0, 0] => path_key()?,
            kept => kept,
        };
        let (programs, maps) = Programs::load(settings, &pins, &Config { epoch, path_key, ..earlier })?;
        let resting = maps.resting()?.into_iter().map(|index| (index, Instant::now())).collect();
        let mut probe = Self {
            programs,
            maps,
            config: Config { path_key, ..earlier },
            attached: false,
            leave_attached: had_leave(&pins, earlier.epoch),
            resting: Resting(resting),
            absent_since: None,
            was_attached: !others.is_empty(),
            pins,
        };
        probe.absent_since = Some(probe.maps.alive_at()?).filter(|alive_at| *alive_at != 0);
        probe.take_over(epoch, !others.is_empty())?;
        for other in others {
            probe.pins.remove_links(other)?;
        }
        Ok(probe)
    }

    /// Makes this process's programs the ones at work. The earlier ones are still attached and fall silent by the same store that
    /// wakes these, so no call is missed; a call during the store may count twice.
    fn take_over(&mut self, epoch: u32, running: bool) -> Result<()> {
        let wanted = self.wanted()?;
        let paired = self.leave_attached && running;
        self.leave_attached = false;
        self.config.epoch = epoch;
        if wanted.is_empty() {
            return Ok(());
        }
        if !running {
            self.maps.forget_cgroups()?;
        }
        self.programs.attach(&self.pins)?;
        self.attached = true;
        if wanted.values().any(|wanted| wanted.has(mode::DENIALS)) && self.programs.raw.is_none() {
            self.programs.attach_leave(&self.pins)?;
            self.leave_attached = true;
            self.config.pairing += u32::from(!paired);
        }
        self.write_config(&wanted)?;
        self.settle(wanted)
    }

    /// The time in which no process had this node's probe, until this one says that it is there.
    ///
    /// # Errors
    ///
    /// When a map can't be read.
    pub fn absence(&self) -> Result<Option<Absence>> {
        let Some(since) = self.absent_since else { return Ok(None) };
        let clock = clock::Clock::read();
        let strangers = self.maps.strangers()?.into_iter().map(|(uid, at)| (uid, clock.at(at)));
        let strangers: BTreeMap<_, _> = strangers.collect();
        let noted = self.was_attached && strangers.len() < SURELY_NOTED;
        Ok(Some(Absence { since: clock.at(since), strangers, noted }))
    }

    /// Says that this process is there, and knows which pods there are: what comes from now on without being asked for is nobody's.
    ///
    /// # Errors
    ///
    /// When a map can't be changed.
    pub fn stay(&mut self) -> Result<()> {
        self.absent_since = None;
        self.maps.forget_strangers()?;
        self.maps.alive.0.set(0, clock::nanoseconds(), 0).map_err(failed("change", "alive"))
    }

    /// Watches a target from now on, or changes how it is watched.
    ///
    /// # Errors
    ///
    /// When the kernel's map of targets is full, or a program can't be attached.
    pub fn watch(&mut self, target: &Target, watch: Watch) -> Result<()> {
        self.check(target, watch)?;
        let earlier = self.wanted()?;
        self.want(target, watch, &earlier)?;
        self.targets_changed()
    }

    /// Watches a target no longer. What was counted stays until it is [forgotten](Self::forget).
    ///
    /// # Errors
    ///
    /// When a map can't be changed.
    pub fn unwatch(&mut self, target: &Target) -> Result<()> {
        let key = self.key(target);
        if self.wanted()?.contains_key(&key) {
            self.maps.targets.remove(&key).map_err(failed("change", "targets"))?;
        }
        self.targets_changed()
    }

    /// Watches exactly these targets: what a process does first that took over an earlier one's probe.
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch).
    pub fn watch_only(&mut self, targets: &BTreeMap<Target, Watch>) -> Result<()> {
        for (target, watch) in targets {
            self.check(target, *watch)?;
        }
        let earlier = self.wanted()?;
        for (target, watch) in targets {
            self.want(target, *watch, &earlier)?;
        }
        let keep: BTreeSet<_> = targets.keys().map(|target| self.key(target)).collect();
        for key in earlier.into_keys().filter(|key| !keep.contains(key)) {
            self.maps.targets.remove(&key).map_err(failed("change", "targets"))?;
        }
        self.targets_changed()
    }

    /// How many targets are watched.
    ///
    /// # Errors
    ///
    /// When the map of targets can't be read.
    pub fn targets(&self) -> Result<usize> {
        self.wanted().map(|wanted| wanted.len())
    }

    /// Everything counted until now.
    ///
    /// # Errors
    ///
    /// When a map can't be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.maps.snapshot()
    }

    /// What was lost so far, without reading everything.
    ///
    /// # Errors
    ///
    /// When a map can't be read.
    pub fn losses(&self) -> Result<Losses> {
        self.maps.losses()
    }

    /// Makes room: forgets a container whose cgroup is gone, or that is no longer watched. The room is there a second later, from
    /// the next call of [`forget`](Self::forget) or [`sweep`](Self::sweep) on.
    ///
    /// # Errors
    ///
    /// [`Error::StillWatched`] for a container that still counts.
    pub fn forget(&mut self, container: ContainerKey) -> Result<()> {
        self.sweep()?;
        let found = self.maps.taken()?.into_iter().find(|(_, slot)| slot.owner == container.owner());
        let Some((index, slot)) = found else { return Ok(()) };
        let wanted = self.wanted()?;
        if slot.removed_at == 0 && wanted.values().any(|wanted| wanted.tag == slot.tag) {
            return Err(Error::StillWatched);
        }
        self.maps.rest(index)?;
        self.write_config(&wanted)?;
        self.resting.0.push((index, Instant::now()));
        Ok(())
    }

    /// Gives the room of forgotten containers back.
    ///
    /// # Errors
    ///
    /// When a map can't be changed.
    pub fn sweep(&mut self) -> Result<()> {
        let (rested, resting) = self.resting.0.drain(..).partition(|(_, since)| since.elapsed() >= REST);
        self.resting.0 = resting;
        let rested: Vec<(u32, Instant)> = rested;
        rested.into_iter().try_for_each(|(index, _)| self.maps.clear(index))
    }

    /// How the programs are attached now.
    #[must_use]
    pub fn attachment(&self) -> Attachment {
        match &self.programs.raw {
            _ if !self.attached => Attachment::None,
            Some(reason) => Attachment::Raw { reason: reason.clone() },
            None => Attachment::Typed,
        }
    }

    /// Whether calls that a filter denies can be seen on this kernel.
    #[must_use]
    pub fn sees_denials(&self) -> bool {
        self.programs.raw.is_none()
    }

    fn key(&self, target: &Target) -> TargetKey {
        target_key(target, self.config.path_key)
    }

    fn check(&self, target: &Target, watch: Watch) -> Result<()> {
        if watch.denials && self.programs.raw.is_some() {
            return Err(Error::NoDenials(target.clone()));
        }
        Ok(())
    }

    fn wanted(&self) -> Result<BTreeMap<TargetKey, Wanted>> {
        let targets = self.maps.targets.iter().map(|entry| entry.map(|(key, words)| (key, words.into())));
        targets.collect::<std::result::Result<_, _>>().map_err(failed("read", "targets"))
    }

    fn want(&mut self, target: &Target, watch: Watch, earlier: &BTreeMap<TargetKey, Wanted>) -> Result<()> {
        let key = self.key(target);
        let mode = modes(target, watch);
        let running = earlier.get(&key).filter(|earlier| earlier.has(mode::NOW));
        let since = match running {
            _ if mode & mode::NOW == 0 => 0,
            Some(earlier) => earlier.since,
            None => UNSETTLED,
        };
        let wanted = Wanted { tag: watch.tag, mode, since, group: watch.group };
        self.maps.know_group(watch.group)?;
        self.maps.targets.insert(key, <WantedWords>::from(wanted), 0).map_err(failed("change", "targets"))
    }

    /// Says of each target that is watched as it runs since when that is so. Only now, when the programs see each new task: until
    /// then every task is one that was there before, because nobody would see it being started.
    fn settle(&mut self, mut wanted: BTreeMap<TargetKey, Wanted>) -> Result<()> {
        let since = clock::nanoseconds();
        let mut settled = false;
        for (key, wanted) in wanted.iter_mut().filter(|(_, wanted)| wanted.since == UNSETTLED) {
            wanted.since = since;
            self.maps
                .targets
                .insert(key, <WantedWords>::from(*wanted), 0)
                .map_err(failed("change", "targets"))?;
            settled = true;
        }
        if settled { self.write_config(&wanted) } else { Ok(()) }
    }

    /// Attaches what the targets need and detaches what they don't, then tells the kernel that they have changed.
    fn targets_changed(&mut self) -> Result<()> {
        let wanted = self.wanted()?;
        let denials = wanted.values().any(|wanted| wanted.has(mode::DENIALS));
        if !wanted.is_empty() && !self.attached {
            self.maps.forget_cgroups()?;
            self.programs.attach(&self.pins)?;
            self.attached = true;
        }
        if denials && !self.leave_attached {
            self.config.pairing += 1;
            self.programs.attach_leave(&self.pins)?;
            self.leave_attached = true;
        }
        self.write_config(&wanted)?;
        if self.attached && wanted.is_empty() {
            self.programs.detach(&self.pins)?;
            (self.attached, self.leave_attached) = (false, false);
        } else if self.leave_attached && !denials {
            self.programs.detach_leave(&self.pins)?;
            self.leave_attached = false;
        }
        self.settle(wanted)
    }

    fn write_config(&mut self, wanted: &BTreeMap<TargetKey, Wanted>) -> Result<()> {
        let unfiltered = wanted.values().filter(|wanted| wanted.has(mode::FROM_EXEC)).count();
        self.config.unfiltered = u32::try_from(unfiltered).unwrap_or(u32::MAX);
        self.config.generation = self.config.generation.wrapping_add(1);
        self.maps.config.0.set(0, ConfigWords::from(self.config), 0).map_err(failed("change", "config"))
    }
}

/// A key that nobody knows who may choose the names of cgroups: paths are compared by their hashes under it.
fn path_key() -> Result<[u64; 2]> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty()).map_err(|error| Error::Random(error.into()))?;
    }
    let [low, high] =
        [0, 8].map(|at| bytes.iter().skip(at).take(8).fold(0, |word, byte| word << 8 | u64::from(*byte)));
    Ok([low, high])
}

/// `MODE_*`
fn modes(target: &Target, watch: Watch) -> u64 {
    let start = match (watch.start, target) {
        (Start::Filter, _) => 0,
        (Start::Exec, _) => mode::FROM_EXEC,
        (Start::ContainerExec, _) => mode::FROM_EXEC | mode::OWN_MOUNTS,
        (Start::Now, Target::Cgroup(_)) => mode::FROM_EXEC | mode::NOW,
        (Start::Now, _) => mode::FROM_EXEC | mode::OWN_MOUNTS | mode::NOW,
    };
    start | if watch.denials { mode::DENIALS } else { 0 }
}
