//! Recording on Linux.

mod cgroups;
mod command;
mod container;
mod ebpf;
mod follow;
mod names;
mod ptrace;
mod signals;
mod summary;
pub(super) mod user;

use anyhow::{Context as _, Result};
use portcullis_profile::{
    Profile,
    recording::{Observation, Platform, Subject, Tally},
};

pub(in crate::commands) use self::container::processes as processes_of_container;
use self::{
    container::MORE_CALLS, ebpf::Counted, follow::Followed, ptrace::Traced, signals::Signals, user::User,
};
use super::{LocalArguments, Method, product::Order};
use crate::{
    cluster::connection::Limit,
    commands::{import::origin::Origin, why::denied::Starts},
    console::{self, Console},
    platform,
    verdict::Verdict,
};

pub(super) fn run(arguments: &LocalArguments, console: &mut Console) -> Result<Verdict> {
    let LocalArguments { command, container, become_by, .. } = arguments;
    let user = User::find(arguments.user.as_deref())?;
    if let Some(how) = become_by {
        return Err(command::become_it(how, command, user.as_ref()));
    }
    if let Some(user) = &user {
        let what = if container.is_some() { "the profile is" } else { "the command and the profile are" };
        console::note(&format!("{what} {}'s: --user root makes it root's", user.describe()));
    }
    let order = Order::new(arguments, user)?;
    match container {
        Some(id) => container::run(id, arguments.duration, &order, console),
        None => run_command(arguments, &order, console),
    }
}

fn run_command(arguments: &LocalArguments, order: &Order<'_>, console: &mut Console) -> Result<Verdict> {
    let name = command::name(&arguments.command).context("there is no command after --")?;
    let signals = Signals::new()?;
    let launch = command::Launch {
        command: &arguments.command,
        own_output: arguments.file.is_some(),
        user: arguments.user.as_deref(),
    };
    let limit = arguments.duration.and_then(|Limit(time)| time);
    let (followed, means) = match place(arguments.method)? {
        Some(place) => {
            let mut counted = Counted::start(place, &launch)?;
            (follow::until_the_end(&mut counted, &signals, limit)?, "eBPF")
        }
        None => {
            let mut traced = Traced::start(&launch)?;
            let followed = follow::until_the_end(&mut traced, &signals, limit)?;
            traced.say_without_rights();
            (followed, "ptrace")
        }
    };
    let Followed { observation, exit, started, took, time_is_over } = followed;
    if !started {
        // What should have become the command said why it did not.
        return Ok(Verdict::Incomplete);
    }
    let subject = Subject { container: name.clone(), ..Subject::default() };
    let tally = tally(subject, &observation, String::new());
    let origin =
        Origin { kind: means, files: vec![name.clone().into()], found: summary::found(&observation) };
    let profile = order.deliver(&tally, &origin, console)?;
    if let Some(said) = of_starts(&profile) {
        console::note(&said);
    }
    summary::say(&summary::Told { what: &name, means, took, tally: &tally, exit }, console);
    Ok(match exit.map(summary::code) {
        // Of a command that was asked to end, how it did so says nothing.
        Some(code) if code != 0 && !time_is_over => Verdict::Exited(code),
        _ if observation.losses.is_none() => Verdict::Yes,
        _ => Verdict::Incomplete,
    })
}

/// What keeps a container from being started under a profile that was made of a command, where something does.
fn of_starts(profile: &Profile) -> Option<String> {
    let starts = |no_new_privs| {
        let starts = Starts::under(profile, platform::host_arch(), no_new_privs);
        starts.refusal.is_none() && starts.by_runtime.is_empty()
    };
    if !starts(true) {
        let said = "runc starts no container under this profile, because it makes calls of its own there that the command did not: add those with \
                    --with-runtime-base runc";
        return Some(said.to_owned());
    }
    (!starts(false)).then(|| {
        format!(
            "runc starts a container under this profile with no_new_privs (allowPrivilegeEscalation: false) alone: {MORE_CALLS}"
        )
    })
}

/// What eBPF needs, set up, where it was asked for or this process may use it; else ptrace is what is left.
fn place(asked: Option<Method>) -> Result<Option<ebpf::Place>> {
    match (asked, ebpf::Place::set_up) {
        (Some(Method::Ptrace), _) => Ok(None),
        (Some(Method::Ebpf), set_up) => set_up().context("can't record by eBPF").map(Some),
        (None, set_up) => Ok(set_up()
            .inspect_err(|error| {
                console::note(&format!(
                    "recording by ptrace, which makes system calls slow: no eBPF, because {error:#}"
                ));
            })
            .ok()),
    }
}

/// An error of the probe's or the tracer's, whose text says its cause already.
fn plain(error: impl std::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// What was seen, with where.
fn tally(subject: Subject, observation: &Observation, runtime: String) -> Tally {
    let mut tally = Tally::default();
    tally.add_one(subject, observation);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    tally.platforms.insert(Platform { kernel, runtime });
    tally
}
