//! A container of this machine, known by its id alone.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_probe::{ContainerId, Hierarchy, Recorded, Start, Target, observation, seconds};
use portcullis_profile::recording::{Mark, Observation, Subject};

use super::{
    cgroups::{self, Mounted},
    ebpf::{self, OwnProbe},
    names, plain,
    signals::Signals,
    summary, tally,
};
use crate::{
    cluster::connection::Limit,
    commands::{import::origin::Origin, record::local::product::Order},
    console::{self, Console},
    verdict::Verdict,
};

/// How often a look is taken.
const TICK: Duration = Duration::from_millis(200);
/// After how long a wait somebody may think that nothing happens.
const LONG: Duration = Duration::from_secs(10);
/// How many digits of an id people read.
const SHORT: usize = 12;

/// Why a profile that a runtime starts under with no_new_privs may not do without it, and the remedy.
pub(super) const MORE_CALLS: &str = "without, the runtime loads the filter earlier and needs more calls; add those with `kubectl seccomp \
                                     runtime-base --runtime runc | kubectl seccomp merge FILE -`";

/// A container that is recorded.
struct Watched {
    id: ContainerId,
    probe: OwnProbe,
    mounted: Mounted,
    /// Its cgroup, once it is known.
    cgroup: Option<PathBuf>,
    /// How it was last asked for.
    start: Start,
    /// Whether its program may gain no privileges, once that was seen.
    no_new_privs: Option<bool>,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Ended,
    TimeIsOver,
    Asked,
}

pub(super) fn run(
    text: &str,
    limit: Option<Limit>,
    order: &Order<'_>,
    console: &mut Console,
) -> Result<Verdict> {
    ebpf::may_load().context("a container can be recorded by root alone")?;
    let hierarchy = Hierarchy::of_this_machine().map_err(plain)?;
    let mounted = Mounted::find(hierarchy)?;
    let (id, cgroup) = resolve(text, &mounted)?;
    let signals = Signals::new()?;
    let mut watched = Watched::begin(id, cgroup, mounted, OwnProbe::open(hierarchy)?)?;
    let since = Instant::now();
    let end = watched.until_the_end(limit.and_then(|Limit(time)| time), &signals)?;
    let never_started = watched.cgroup.is_none();
    let (no_new_privs, was_missed) = (watched.no_new_privs, watched.start != Start::ContainerExec);
    let (observation, runtime) = watched.finish()?;
    let short = id.to_string().chars().take(SHORT).collect::<String>();
    match end {
        End::Ended => {}
        _ if never_started => {}
        End::Asked => console::note("the recording ends; the container goes on"),
        End::TimeIsOver => console::note("the time is over; the container goes on"),
    }
    if observation.containers == 0 && never_started {
        bail!(
            "container {short}: it was not started in the {:.0} s that this waited, so there is nothing to make a profile of: is {id} \
             its id (`podman ps -a --no-trunc`, `docker ps -a --no-trunc`, `crictl ps -a --no-trunc`)? Start it while the recording waits",
            since.elapsed().as_secs_f64()
        );
    }
    if observation.containers == 0 {
        bail!(
            "container {short}: it made no call while it was recorded: record it for longer, or from its start on"
        );
    }
    if observation.calls.is_empty() && !was_missed {
        bail!(
            "container {short}: its runtime made it, and its program did not start, so there is nothing to make a profile of: see what the \
             runtime says (`podman logs`, `docker inspect`, `crictl inspect`), and start it again while this waits"
        );
    }
    let subject = Subject { container: short.clone(), ..Subject::default() };
    let tally = tally(subject, &observation, runtime);
    let origin =
        Origin { kind: "eBPF", files: vec![short.clone().into()], found: summary::found(&observation) };
    let has_runtimes_calls =
        observation.marks.contains(&Mark::StartSeen) && !observation.marks.contains(&Mark::Unfiltered);
    if has_runtimes_calls && !order.has_runtime_base() {
        console::note(
            "the container runtime's own calls are among them, and runc's differ from run to run: record several, or say \
             --with-runtime-base",
        );
    }
    let needs_it = match (has_runtimes_calls, no_new_privs) {
        (true, Some(false)) => None,
        (true, Some(true)) => Some("the container ran with no_new_privs"),
        (true, None) => Some("it was not seen whether the container ran with no_new_privs, and if it did"),
        // Those of a container without a filter are added for either.
        (false, _) => (order.has_runtime_base() && was_missed)
            .then_some("the runtime's calls are those that it makes with no_new_privs"),
    };
    if let Some(why) = needs_it {
        console::note(&format!(
            "{why} (allowPrivilegeEscalation: false), a container starts with this profile only so: {MORE_CALLS}"
        ));
    }
    order.deliver(&tally, &origin, console)?;
    let what = format!("container {short}");
    summary::say(
        &summary::Told { what: &what, means: "eBPF", took: since.elapsed(), tally: &tally, exit: None },
        console,
    );
    Ok(if observation.losses.is_none() { Verdict::Yes } else { Verdict::Incomplete })
}

/// A container's short id, and the processes that run in it.
pub(in crate::commands) fn processes(text: &str) -> Result<(String, Vec<i32>)> {
    let mounted = Mounted::find(Hierarchy::of_this_machine().map_err(plain)?)?;
    let (id, cgroup) = resolve(text, &mounted)?;
    let short = id.to_string().chars().take(SHORT).collect();
    Ok((short, cgroup.map_or_else(Vec::new, |cgroup| cgroups::processes(&cgroup))))
}

/// The container that is meant, and its cgroup where it runs. A whole id, or a name, may be of one that is still to start.
fn resolve(text: &str, mounted: &Mounted) -> Result<(ContainerId, Option<PathBuf>)> {
    let text = text.split_once("://").map_or(text, |(_, id)| id);
    let is_digits = !text.is_empty()
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    // `cafe` may be both.
    let is_id = is_digits && (text.parse::<ContainerId>().is_ok() || !mounted.containers(text).is_empty());
    if !is_id && let Some(id) = names::find(text, &names::Roots::of_this_machine())? {
        let cgroup = mounted.containers(&id.to_string()).pop().map(|(_, cgroup)| cgroup);
        return Ok((id, cgroup));
    }
    ensure!(
        is_digits,
        "--container {text}: no container of podman, docker or nerdctl has this name where they keep names here. Give its id, 64 \
         hexadecimal digits, which `podman inspect --format '{{{{.Id}}}}' {text}`, `docker inspect --format '{{{{.Id}}}}' {text}`, \
         `nerdctl inspect --format '{{{{.ID}}}}' {text}` or `crictl ps -a --no-trunc --name {text}` print"
    );
    let mut found = mounted.containers(text);
    match (found.pop(), text.parse()) {
        (Some((id, cgroup)), _) if found.is_empty() => Ok((id, Some(cgroup))),
        (Some((id, cgroup)), _) if found.iter().all(|(other, _)| *other == id) => {
            let paths: Vec<String> = found
                .iter()
                .map(|(_, path)| path)
                .chain([&cgroup])
                .map(|path| path.display().to_string())
                .collect();
            bail!(
                "--container {text}: several cgroups have this id, so one of them pretends: {}; stop what made the wrong one",
                paths.join(", ")
            )
        }
        (Some((last, _)), _) => {
            let ids: Vec<String> =
                found.iter().map(|(id, _)| *id).chain([last]).map(|id| id.to_string()).collect();
            bail!("--container {text}: several containers run whose ids begin so: {}", ids.join(", "))
        }
        (None, Ok(id)) => Ok((id, None)),
        (None, Err(_)) => bail!(
            "--container {text}: no container runs whose id begins so: give all 64 digits of one that is still to start"
        ),
    }
}

impl Watched {
    fn begin(
        id: ContainerId,
        cgroup: Option<PathBuf>,
        mounted: Mounted,
        mut probe: OwnProbe,
    ) -> Result<Self> {
        let start = match cgroup.as_deref().map(has_filter) {
            // Its filter decides, as soon as it is seen whether it has one.
            None => Start::ContainerExec,
            Some(Some(false)) => Start::Now,
            Some(Some(true) | None) => Start::Filter,
        };
        probe.watch(&Target::Container(id), start)?;
        match start {
            Start::ContainerExec | Start::Exec => console::note("waiting for the container to start"),
            Start::Filter => console::note("the container runs already, so its start is missed"),
            Start::Now => {
                console::note("the container runs already, without a seccomp filter: its start is missed")
            }
        }
        Ok(Self { id, probe, mounted, cgroup, start, no_new_privs: None })
    }

    fn until_the_end(&mut self, limit: Option<Duration>, signals: &Signals) -> Result<End> {
        let since = Instant::now();
        let deadline = limit.map(|limit| since + limit);
        let mut ran = self.cgroup.is_some();
        let mut told = false;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(End::TimeIsOver);
            }
            if !signals.wait(left.map_or(TICK, |left| left.min(TICK)))?.is_empty() {
                return Ok(End::Asked);
            }
            let recorded = self.look()?;
            if self.cgroup.is_none() {
                self.cgroup = self.mounted.containers(&self.id.to_string()).pop().map(|(_, cgroup)| cgroup);
            }
            if !told && self.cgroup.is_none() && since.elapsed() >= LONG {
                told = true;
                console::note("still waiting: no container of this id was started yet; Ctrl-C ends this");
            }
            let runs = self.cgroup.as_deref().is_some_and(|cgroup| !cgroups::processes(cgroup).is_empty());
            ran |= runs;
            // A container that was there for a moment only is known to the kernel's programs alone.
            let came_and_went =
                !recorded.is_empty() && recorded.iter().all(|one| one.container.removed.is_some());
            if !runs && (ran || came_and_went) && self.has_ended(&recorded) {
                return Ok(End::Ended);
            }
        }
    }

    /// Whether it is over: a runtime moves its own processes in and out before the container's program runs.
    fn has_ended(&self, recorded: &[Recorded]) -> bool {
        let gone = self.cgroup.as_deref().is_none_or(|cgroup| !cgroup.exists());
        let exited = recorded.iter().any(|one| one.container.exit.is_some());
        let missed = self.start != Start::ContainerExec;
        gone || exited || missed
    }

    /// Takes a look: asks for its filter's calls alone once it has one.
    fn look(&mut self) -> Result<Vec<Recorded>> {
        let (recorded, _) = self.probe.snapshot()?;
        let begun = recorded.iter().any(|one| one.container.exec.is_some());
        if begun && let Some(cgroup) = &self.cgroup {
            self.no_new_privs = has_no_new_privs(cgroup).or(self.no_new_privs);
        }
        if begun && self.start == Start::ContainerExec && !recorded.iter().any(|one| one.container.unfiltered)
        {
            self.start = Start::Filter;
            self.probe.watch(&Target::Container(self.id), self.start)?;
        }
        Ok(recorded)
    }

    fn finish(&mut self) -> Result<(Observation, String)> {
        let (recorded, lost) = self.probe.snapshot()?;
        let mut observation = together(&recorded);
        observation.losses.calls += lost;
        Ok((observation, self.cgroup.as_deref().map(runtime).unwrap_or_default().to_owned()))
    }
}

/// A container that was started anew has several cgroups, one after the other.
fn together(recorded: &[Recorded]) -> Observation {
    let now = seconds(SystemTime::now());
    recorded.iter().fold(Observation::default(), |mut all, one| {
        let mut seen = observation(one, None);
        seen.observed_at(now);
        all.add(&seen);
        all
    })
}

/// Whether the container of a cgroup has a seccomp filter. `None` where that can't be seen.
fn has_filter(cgroup: &Path) -> Option<bool> {
    is_filtered(statuses(cgroup))
}

/// Whether all of a container's processes run under no_new_privs, which they inherit. `None` where that can't be seen.
fn has_no_new_privs(cgroup: &Path) -> Option<bool> {
    let set = statuses(cgroup).filter_map(|status| {
        status.lines().find_map(|line| line.strip_prefix("NoNewPrivs:\t").map(|value| value == "1"))
    });
    set.reduce(|one, other| one && other)
}

/// What proc_pid_status(5) says of each process in a cgroup.
fn statuses(cgroup: &Path) -> impl Iterator<Item = String> {
    let processes = cgroups::processes(cgroup).into_iter();
    processes.filter_map(|id| fs::read_to_string(format!("/proc/{id}/status")).ok())
}

/// Whether a filter is the container's own, by the `Seccomp` of its processes' proc_pid_status(5): every process inherits that one, while
/// services and renderers in a container without one may have filters of their own.
fn is_filtered(statuses: impl Iterator<Item = String>) -> Option<bool> {
    let modes = statuses.filter_map(|status| {
        status.lines().find_map(|line| line.strip_prefix("Seccomp:\t").map(|mode| mode == "2"))
    });
    modes.reduce(|one, other| one && other)
}

/// The runtime that gave a cgroup its name, where the name says so.
fn runtime(cgroup: &Path) -> &'static str {
    const NAMES: [(&str, &str); 4] =
        [("libpod-", "podman"), ("docker", "docker"), ("cri-containerd-", "containerd"), ("crio-", "cri-o")];
    let parts: Vec<_> = cgroup.iter().rev().take(2).filter_map(|part| part.to_str()).collect();
    let named = NAMES.iter().find(|(prefix, _)| parts.iter().any(|part| part.starts_with(prefix)));
    named.map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_some_processes_have_is_not_the_containers() {
        let of = |modes: &[u8]| {
            is_filtered(modes.iter().map(|mode| format!("Name:\tx\nSeccomp:\t{mode}\nSeccomp_filters:\t1\n")))
        };
        assert_eq!(of(&[2, 2]), Some(true));
        assert_eq!(of(&[0, 2]), Some(false));
        assert_eq!(of(&[2, 0, 2]), Some(false));
        assert_eq!(of(&[0]), Some(false));
        assert_eq!(of(&[]), None);
        assert_eq!(is_filtered(std::iter::once("Name:\tx\n".to_owned())), None);
    }
}
