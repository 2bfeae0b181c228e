//! Why a container does not run, by what its node says of it and by what its profile denies.

use portcullis_api::Mode;
use serde::Serialize;

use super::denied::{DeniedCall, Starts};
use crate::cluster::{
    paths::Hint,
    pod::{Confinement, Container},
};

/// How a container ends that a filter killed: 128 and SIGSYS.
///
/// Source: signal(7); `ContainerStateTerminated` of the Kubernetes API.
const KILLED_BY_SIGSYS: i32 = 128 + SIGSYS;
const SIGSYS: i32 = 31;

/// What keeps a container from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Cause {
    /// Nothing: it runs, or has ended well.
    Nothing,
    /// Something that no profile has to do with.
    Other,
    /// The file that it names is not on the node.
    NoFile,
    /// No runtime loads the profile.
    Refused,
    /// The profile denies the runtime's own calls.
    RuntimeDenied,
    /// The profile denies what nearly every program needs.
    ProgramDenied,
    /// The filter killed it.
    Killed,
    /// It runs, and nothing can be executed in it.
    ExecDenied,
    /// It ended by itself, and a denial may be why.
    Unclear,
}

impl Cause {
    /// Whether a profile is why.
    pub(super) const fn is_of_profile(self) -> bool {
        !matches!(self, Self::Nothing | Self::Other | Self::Unclear)
    }
}

/// The profile that a container names.
#[derive(Clone, Debug)]
pub(super) enum Named {
    /// No file of the node.
    Nothing,
    /// A path that no profile has.
    Nobodys(Hint),
    /// One that could not be read.
    Unread,
    /// A profile.
    Profile {
        /// As kubectl names it.
        reference: String,
        mode: Mode,
        /// Why it is not Ready, in the controller's words.
        not_ready: Option<String>,
        /// What its content does to a start; none where the content could not be read.
        starts: Option<Starts>,
    },
}

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnosis {
    pub(super) cause: Cause,
    /// In words.
    pub(super) because: String,
    /// Calls that the profile denies and that are needed.
    pub(super) denied: Vec<DeniedCall>,
    /// What to do, besides allowing these.
    pub(super) remedies: Vec<String>,
}

impl Diagnosis {
    fn new(cause: Cause, because: impl Into<String>) -> Self {
        Self { cause, because: because.into(), denied: Vec::new(), remedies: Vec::new() }
    }

    fn denied(self, denied: &[DeniedCall]) -> Self {
        Self { denied: denied.to_vec(), ..self }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(remedy.into());
        self
    }
}

/// How a container's last attempt to run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Killed,
    /// The runtime could not start it.
    NotStarted,
    With(i32),
}

/// Diagnoses a container. `events` are the messages of its pod's events about it, the last one first.
pub(super) fn diagnose(container: &Container<'_>, named: &Named, events: &[String]) -> Diagnosis {
    let words = words(container, events);
    if container.running.is_some() {
        // Between two crashes a container runs for a moment.
        let crashed = ended(container).filter(|_| container.restarts > 0);
        let crash = crashed.map(|ended| of_end(ended, container, named, &words));
        return crash.filter(|crash| crash.cause.is_of_profile()).unwrap_or_else(|| running(named, &words));
    }
    if words.iter().any(|words| lacks_file(words)) {
        return no_file(named);
    }
    match ended(container) {
        Some(ended) => of_end(ended, container, named, &words),
        None if is_unstarted(container) => not_started(named, &words),
        None => Diagnosis::new(Cause::Other, waits_for(container)),
    }
}

fn of_end(ended: Ended, container: &Container<'_>, named: &Named, words: &[String]) -> Diagnosis {
    match ended {
        Ended::Killed => killed(named),
        Ended::NotStarted => not_started(named, words),
        Ended::With(0) => Diagnosis::new(Cause::Nothing, "it ended with 0"),
        Ended::With(code) => ended_by_itself(container, named, code),
    }
}

/// Everything that is said of it, what is true now first.
fn words(container: &Container<'_>, events: &[String]) -> Vec<String> {
    let states = [container.state, container.last_state].into_iter().flatten();
    let mut words: Vec<String> = states
        .flat_map(|state| {
            let waiting = state.waiting.as_ref().map(|waiting| waiting.message.clone());
            let ended = state.terminated.as_ref().map(|ended| ended.message.clone());
            [waiting, ended]
        })
        .flatten()
        .filter(|words| !words.is_empty())
        .collect();
    words.extend(events.iter().cloned());
    words
}

/// As containerd, CRI-O and cri-dockerd word it.
fn lacks_file(words: &str) -> bool {
    words.contains("seccomp") && words.contains("no such file or directory")
}

/// Whether a runtime was refused a call.
fn is_refused(words: &str) -> bool {
    ["operation not permitted", "function not implemented", "permission denied", "bad system call"]
        .iter()
        .any(|errno| words.to_lowercase().contains(errno))
}

fn ended(container: &Container<'_>) -> Option<Ended> {
    let states = [container.state, container.last_state].into_iter().flatten();
    let ended = states.filter_map(|state| state.terminated.as_ref()).next()?;
    Some(match ended.reason.as_str() {
        _ if ended.exit_code == KILLED_BY_SIGSYS || ended.signal == Some(SIGSYS) => Ended::Killed,
        "StartError" | "ContainerCannotRun" => Ended::NotStarted,
        _ => Ended::With(ended.exit_code),
    })
}

fn is_unstarted(container: &Container<'_>) -> bool {
    let waiting = container.state.and_then(|state| state.waiting.as_ref());
    waiting.is_some_and(|waiting| {
        matches!(waiting.reason.as_str(), "CreateContainerError" | "RunContainerError" | "StartError")
    })
}

fn waits_for(container: &Container<'_>) -> String {
    match container.state.and_then(|state| state.waiting.as_ref()) {
        Some(waiting) if waiting.message.is_empty() => format!("it waits: {}", waiting.reason),
        Some(waiting) => format!("it waits: {}: {}", waiting.reason, waiting.message),
        None => "its node has not said anything of it yet".to_owned(),
    }
}

fn running(named: &Named, words: &[String]) -> Diagnosis {
    let exec_fails = words.iter().any(|words| {
        let at_exec = words.contains("exec failed") || words.contains("failed to exec");
        at_exec && is_refused(words)
    });
    let Named::Profile { starts: Some(starts), .. } = named else {
        return Diagnosis::new(Cause::Nothing, "it runs");
    };
    if exec_fails && !starts.at_exec.is_empty() {
        return Diagnosis::new(
            Cause::ExecDenied,
            "it runs, and its probes and `kubectl exec` fail: the profile denies calls that the runtime makes to execute in it",
        )
        .denied(&starts.at_exec);
    }
    Diagnosis::new(Cause::Nothing, "it runs")
}

fn no_file(named: &Named) -> Diagnosis {
    let starts_by_itself =
        "The kubelet tries again by itself, after a few minutes at most: nothing has to be restarted.";
    match named {
        Named::Nobodys(hint) => {
            let found = Diagnosis::new(Cause::NoFile, format!("its file is on no node: {}", hint.wrong));
            match &hint.meant {
                Some(path) => found.remedy(format!("Name {path} in localhostProfile.")),
                None => found
                    .remedy("`kubectl seccomp status` lists the profiles that there are, with their paths."),
            }
        }
        Named::Profile { reference, not_ready: Some(why), .. } => Diagnosis::new(
            Cause::NoFile,
            format!("its file is not on the node: {reference} is not Ready: {why}"),
        )
        .remedy(starts_by_itself),
        Named::Profile { reference, not_ready: None, .. } => Diagnosis::new(
            Cause::NoFile,
            format!("its file was not on the node when the kubelet looked; {reference} is Ready now"),
        )
        .remedy(starts_by_itself),
        Named::Nothing | Named::Unread => Diagnosis::new(Cause::NoFile, "its file is not on the node"),
    }
}

fn not_started(named: &Named, words: &[String]) -> Diagnosis {
    let telling = words.iter().find(|words| is_refused(words)).or(words.first());
    let said = telling.cloned().unwrap_or_default();
    let Named::Profile { starts: Some(starts), mode, .. } = named else {
        let cause = if matches!(named, Named::Nothing) { Cause::Other } else { Cause::Unclear };
        return Diagnosis::new(cause, format!("its runtime could not start it: {said}"));
    };
    if let Some(refusal) = &starts.refusal {
        return Diagnosis::new(Cause::Refused, format!("no runtime loads the profile: {refusal}"));
    }
    if !starts.by_runtime.is_empty() && *mode == Mode::Enforce {
        return Diagnosis::new(
            Cause::RuntimeDenied,
            format!("the profile denies calls that the runtime makes to start a container; it said: {said}"),
        )
        .denied(&starts.by_runtime);
    }
    let is_about_filter = words.iter().any(|words| words.to_lowercase().contains("seccomp"));
    let cause = if is_about_filter || words.iter().any(|words| is_refused(words)) {
        Cause::Unclear
    } else {
        Cause::Other
    };
    Diagnosis::new(cause, format!("its runtime could not start it: {said}"))
}

fn killed(named: &Named) -> Diagnosis {
    let killed = Diagnosis::new(
        Cause::Killed,
        "a filter killed it (SIGSYS): it made a call that is answered by a KILL action",
    );
    match named {
        Named::Profile { starts: Some(starts), .. } => {
            let needed = if starts.by_runtime.is_empty() { &starts.by_program } else { &starts.by_runtime };
            killed.denied(needed)
        }
        _ => killed,
    }
    .remedy("The node's kernel log names the call: `journalctl -k | kubectl seccomp import audit -`.")
}

fn ended_by_itself(container: &Container<'_>, named: &Named, code: i32) -> Diagnosis {
    let ended = format!("it ended with {code}, {} times so far", container.restarts.saturating_add(1));
    match named {
        Named::Profile { mode: Mode::Enforce, starts: Some(starts), reference, .. } => {
            // Where runc fails after the container counts as started, it ends like a program, and its words are in the container's log.
            if !starts.by_runtime.is_empty() {
                let because =
                    format!("{ended}: the profile denies calls that runc makes to start a container");
                return Diagnosis::new(Cause::RuntimeDenied, because).denied(&starts.by_runtime);
            }
            if !starts.by_program.is_empty() {
                let because =
                    format!("{ended}: the profile denies calls that nearly every program makes at its start");
                return Diagnosis::new(Cause::ProgramDenied, because).denied(&starts.by_program);
            }
            unclear(&ended, reference)
        }
        Named::Profile { mode: Mode::Enforce, starts: None, reference, .. } => unclear(&ended, reference),
        Named::Profile { mode: Mode::Audit, .. } => Diagnosis::new(
            Cause::Other,
            format!("{ended}; its profile is in Audit mode and denies nothing of it"),
        ),
        Named::Nothing if container.confinement == Confinement::RuntimeDefault => {
            unclear(&ended, "the runtime default")
        }
        Named::Nothing => Diagnosis::new(Cause::Other, format!("{ended}, and it has no profile")),
        Named::Nobodys(_) | Named::Unread => {
            Diagnosis::new(Cause::Unclear, format!("{ended}; what its profile denies is not known here"))
        }
    }
}

fn unclear(ended: &str, reference: &str) -> Diagnosis {
    Diagnosis::new(
        Cause::Unclear,
        format!("{ended}; whether {reference} denied it a call that it needs, its own words and the next run tell"),
    )
    .remedy("Read them: `kubectl logs --previous` with 'Operation not permitted' or 'Function not implemented' is a denial.")
    .remedy("Try it in Audit mode, in which calls are let through and logged: set `mode: Audit` in the profile.")
    .remedy("Record what it calls: `kubectl seccomp record` makes the profile that it needs.")
}
