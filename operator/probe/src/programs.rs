//! Loads the programs, attaches and detaches them.

use std::{fs, path::Path};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Map, MapData, MapError},
    programs::{Program, ProgramError, links::FdLink},
};

use crate::{
    Error, Hierarchy, Settings, Tracing,
    arguments::{ARGUMENTS, mask},
    layout::{Config, ConfigWords, HeldArray, Maps},
    pins::{Pins, pin},
};

static TYPED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe.o"));
static RAW: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/raw.o"));

/// Each container's share of the files that it opened to append to them: logs are few.
const LOGS: u32 = 32;
/// The program that sees denied calls, and files opened anew; it costs something at the end of every call, so it is attached only where they are wanted.
const LEAVE: &str = "leave";
/// Each program and its tracepoint; those that learn of containers come first.
const PROGRAMS: &[(&str, &str)] = &[
    ("made", "cgroup_mkdir"),
    ("removed", "cgroup_rmdir"),
    ("forked", "sched_process_fork"),
    ("executed", "sched_process_exec"),
    ("exited", "sched_process_exit"),
    ("generated", "signal_generate"),
    ("delivered", "signal_deliver"),
    ("enter", "sys_enter"),
    (LEAVE, "sys_exit"),
];
/// The maps in `bpf/maps.h` that outlive a process.
const PINNED: &[&str] = &[
    "config",
    "targets",
    "cgroups",
    "slots",
    "calls",
    "compat",
    "denied",
    "others",
    "arg_values",
    "arg_counts",
    "groups",
    "losses",
    "logs",
    "strangers",
    "alive",
    "pairings",
    "applications",
];

/// Programs that the kernel has accepted.
#[derive(Debug)]
pub(crate) struct Programs {
    ebpf: Ebpf,
    epoch: u32,
    /// Why the programs are raw ones, if they are.
    pub(crate) raw: Option<String>,
}

impl Programs {
    /// Loads the programs, on maps that are pinned already or from now on. Nothing is attached yet.
    pub(crate) fn load(settings: &Settings, pins: &Pins, config: &Config) -> Result<(Self, Maps), Error> {
        let epoch = config.epoch;
        let btf = Btf::from_sys_fs().map_err(Error::Btf)?;
        let typed = match settings.tracing {
            Tracing::Raw => Err("the settings ask for raw tracepoints".to_owned()),
            Tracing::Best => {
                let mut ebpf = place(TYPED, settings, pins, config, &btf)?;
                match load_all(&mut ebpf, &btf) {
                    Ok(()) => Ok(ebpf),
                    // A missing capability is no property of the kernel: raw tracepoints would fail as well.
                    Err(error @ Error::Program { .. }) if !denied(&error) => Err(error.to_string()),
                    Err(error) => return Err(error),
                }
            }
        };
        let (mut ebpf, raw) = match typed {
            Ok(ebpf) => (ebpf, None),
            Err(reason) => {
                let mut ebpf = place(RAW, settings, pins, config, &btf)?;
                load_all(&mut ebpf, &btf)?;
                (ebpf, Some(reason))
            }
        };
        let maps = take_maps(&mut ebpf)?;
        Ok((Self { ebpf, epoch, raw }, maps))
    }

    /// Attaches all programs but the one for denied calls, and pins the links.
    pub(crate) fn attach(&mut self, pins: &Pins) -> Result<(), Error> {
        let links = pins.links(self.epoch);
        fs::create_dir_all(&links).map_err(pin("make", &links))?;
        PROGRAMS
            .iter()
            .filter(|(name, _)| *name != LEAVE)
            .try_for_each(|(name, tracepoint)| self.attach_one(name, tracepoint, &links))
    }

    /// Attaches the program that sees denied calls.
    pub(crate) fn attach_leave(&mut self, pins: &Pins) -> Result<(), Error> {
        self.attach_one(LEAVE, "sys_exit", &pins.links(self.epoch))
    }

    /// Detaches it.
    pub(crate) fn detach_leave(&self, pins: &Pins) -> Result<(), Error> {
        let link = pins.links(self.epoch).join(LEAVE);
        fs::remove_file(&link).map_err(pin("remove", &link))
    }

    /// Detaches all.
    pub(crate) fn detach(&self, pins: &Pins) -> Result<(), Error> {
        pins.remove_links(self.epoch)
    }

    fn attach_one(&mut self, name: &str, tracepoint: &'static str, links: &Path) -> Result<(), Error> {
        let failed = |refusal: ProgramError| Error::Program { tracepoint, refusal: Box::new(refusal) };
        let Some(program) = self.ebpf.program_mut(name) else { return Ok(()) };
        let link: FdLink = match program {
            Program::BtfTracePoint(program) => {
                let id = program.attach().map_err(failed)?;
                program.take_link(id).map_err(failed)?.into()
            }
            Program::RawTracePoint(program) => {
                let id = program.attach(tracepoint).map_err(failed)?;
                program.take_link(id).map_err(failed)?.into()
            }
            _ => return Err(failed(ProgramError::UnexpectedProgramType)),
        };
        let path = links.join(name);
        link.pin(&path).map_err(|error| pin("make", &path)(std::io::Error::other(error)))?;
        Ok(())
    }
}

/// Whether programs that see denied calls were attached in an epoch.
pub(crate) fn had_leave(pins: &Pins, epoch: u32) -> bool {
    pins.links(epoch).join(LEAVE).exists()
}

/// The configuration that an earlier process left, if one did.
pub(crate) fn earlier_config(pins: &Pins) -> Result<Option<Config>, Error> {
    let path = pins.map("config");
    if !path.exists() {
        return Ok(None);
    }
    let failed = |source| Error::Map { what: "read", map: "config", source: Box::new(source) };
    let data = MapData::from_pin(&path).map_err(failed)?;
    let map = Map::from_map_data(data).map_err(failed)?;
    let array: aya::maps::Array<MapData, ConfigWords> = map.try_into().map_err(failed)?;
    array.get(&0, 0).map(|words| Some(words.into())).map_err(failed)
}

fn place(object: &[u8], settings: &Settings, pins: &Pins, config: &Config, btf: &Btf) -> Result<Ebpf, Error> {
    let Config { epoch, path_key, .. } = config;
    let capacity = settings.capacity;
    let unified = u32::from(settings.hierarchy == Hierarchy::Unified);
    let scope = settings.scope.as_ref().map_or(0, |path| path.hash(*path_key));
    let kept = mask();
    // So a container that has its share takes nothing from another.
    let of_all = |share: u32| capacity.containers.saturating_mul(share.max(1));
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        .allow_unsupported_maps()
        .override_global("epoch", epoch, true)
        .override_global("path_key", path_key, true)
        .override_global("slot_count", &capacity.containers, true)
        .override_global("share_of_others", &capacity.others, true)
        .override_global("share_of_values", &capacity.values, true)
        .override_global("share_of_logs", &LOGS, true)
        .override_global("default_hierarchy", &unified, true)
        .override_global("scope", &scope, true)
        .override_global("kept_arguments", &kept, true)
        .map_max_entries("slots", capacity.containers)
        .map_max_entries("calls", capacity.containers)
        .map_max_entries("compat", capacity.containers)
        .map_max_entries("denied", capacity.containers)
        .map_max_entries("others", of_all(capacity.others))
        .map_max_entries("arg_values", of_all(capacity.values))
        .map_max_entries("arg_counts", of_all(ARGUMENTS))
        .map_max_entries("logs", of_all(LOGS));
    for name in PINNED {
        loader.map_pin_path(name, pins.map(name));
    }
    loader.load(object).map_err(|error| Error::Load(Box::new(error)))
}

fn load_all(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), Error> {
    for (name, tracepoint) in PROGRAMS {
        let loaded = match ebpf.program_mut(name) {
            Some(Program::BtfTracePoint(program)) => program.load(tracepoint, btf),
            Some(Program::RawTracePoint(program)) => program.load(),
            // The raw object has no programs that need task storage.
            _ => Ok(()),
        };
        loaded.map_err(|refusal| Error::Program { tracepoint, refusal: Box::new(refusal) })?;
    }
    Ok(())
}

/// Whether the kernel refused for want of a capability (EPERM, EACCES without a word of the verifier).
fn denied(error: &Error) -> bool {
    match error {
        Error::Program { refusal, .. } => match refusal.as_ref() {
            ProgramError::LoadError { io_error, .. } => {
                io_error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error())
            }
            _ => false,
        },
        _ => false,
    }
}

fn take_maps(ebpf: &mut Ebpf) -> Result<Maps, Error> {
    Ok(Maps {
        config: HeldArray(take(ebpf, "config")?),
        targets: take(ebpf, "targets")?,
        cgroups: take(ebpf, "cgroups")?,
        slots: HeldArray(take(ebpf, "slots")?),
        calls: HeldArray(take(ebpf, "calls")?),
        compat: HeldArray(take(ebpf, "compat")?),
        denied: HeldArray(take(ebpf, "denied")?),
        others: take(ebpf, "others")?,
        arg_values: take(ebpf, "arg_values")?,
        arg_counts: take(ebpf, "arg_counts")?,
        groups: take(ebpf, "groups")?,
        losses: HeldArray(take(ebpf, "losses")?),
        logs: take(ebpf, "logs")?,
        strangers: take(ebpf, "strangers")?,
        alive: HeldArray(take(ebpf, "alive")?),
    })
}

fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, map: &'static str) -> Result<M, Error> {
    let failed = |source| Error::Map { what: "open", map, source: Box::new(source) };
    let found = ebpf.take_map(map).ok_or_else(|| failed(MapError::InvalidName { name: map.to_owned() }))?;
    found.try_into().map_err(failed)
}
