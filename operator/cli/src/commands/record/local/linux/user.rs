//! Whose the command and the profile are, where root records.

use std::{
    env,
    ffi::{CString, OsStr},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::{self, Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// What sudo sets besides: a command that runs without it has none of them.
const SUDOS: [&str; 5] = ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND", "SUDO_HOME"];

/// A user whose rights are fewer than this process's.
#[derive(Debug)]
pub(in crate::commands::record::local) struct User {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    /// What the user database says, where it knows the user.
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    name: String,
    home: PathBuf,
    shell: PathBuf,
}

impl User {
    /// Who is meant: whom `--user` names, or else who ran sudo. `None` is whoever this process is.
    pub(super) fn find(asked: Option<&str>) -> Result<Option<Self>> {
        let own = unistd::geteuid();
        let found = match asked {
            Some(name) => Self::named(name).with_context(|| format!("--user {name}"))?,
            None if own.is_root() => match variable("SUDO_UID")? {
                Some(uid) => Self::who_ran_sudo(Uid::from_raw(uid))?,
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        if found.uid == own {
            return Ok(None);
        }
        ensure!(own.is_root(), "--user {}: only root can be another user", asked.unwrap_or_default());
        Ok(Some(found))
    }

    fn named(name: &str) -> Result<Self> {
        if let Some(user) = unistd::User::from_name(name).context("the user database can't be read")? {
            return Self::known(user);
        }
        let Ok(uid) = name.parse().map(Uid::from_raw) else { bail!("there is no such user") };
        if variable("SUDO_UID")? == Some(uid.as_raw()) {
            return Self::who_ran_sudo(uid);
        }
        let user = unistd::User::from_uid(uid).context("the user database can't be read")?;
        Self::known(user.context("there is no such user")?)
    }

    /// Who ran sudo, whom a user database that this program can't read may know.
    fn who_ran_sudo(uid: Uid) -> Result<Self> {
        if let Some(user) = unistd::User::from_uid(uid).ok().flatten() {
            return Self::known(user);
        }
        let gid = variable("SUDO_GID")?.with_context(|| {
            format!("SUDO_UID is {uid}, whom no user database knows, and SUDO_GID is not set: say --user")
        })?;
        let gid = Gid::from_raw(gid);
        Ok(Self { uid, gid, groups: vec![gid], known: None })
    }

    fn known(user: unistd::User) -> Result<Self> {
        let unistd::User { name, uid, gid, dir, shell, .. } = user;
        let groups = unistd::getgrouplist(&CString::new(name.as_str())?, gid)
            .with_context(|| format!("the groups of {name} can't be read"))?;
        Ok(Self { uid, gid, groups, known: Some(Known { name, home: dir, shell }) })
    }

    /// The name, with the number.
    pub(super) fn describe(&self) -> String {
        match &self.known {
            Some(Known { name, .. }) => format!("{name} (uid {})", self.uid),
            None => format!("uid {}", self.uid),
        }
    }

    /// Does something with this user's rights alone, by this thread: files are found, refused and owned as the user's.
    pub(in crate::commands::record::local) fn act<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = unistd::getgroups().context("can't read this process's groups")?;
        let (uid, gid) = (unistd::geteuid(), unistd::getegid());
        let become_user = || {
            set_thread_groups(&groups(&self.groups))?;
            set_thread_res_gid(None, thread_gid(self.gid), None)?;
            set_thread_res_uid(None, thread_uid(self.uid), None)
        };
        let become_self = || {
            set_thread_res_uid(None, thread_uid(uid), None)?;
            set_thread_res_gid(None, thread_gid(gid), None)?;
            set_thread_groups(&groups(&before))
        };
        let acted = become_user()
            .with_context(|| format!("can't act as {}", self.describe()))
            .and_then(|()| action());
        become_self().context("can't become root again")?;
        acted
    }

    /// Becomes this user for good, without a way back.
    pub(super) fn become_it(&self) -> Result<()> {
        let become_user = || {
            unistd::setgroups(&self.groups)?;
            unistd::setresgid(self.gid, self.gid, self.gid)?;
            unistd::setresuid(self.uid, self.uid, self.uid)
        };
        become_user().with_context(|| {
            format!("can't become {}: --user root records the command as root", self.describe())
        })?;
        // The kernel takes them away unless somebody asked it not to: capabilities(7), 'The securebits flags'.
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .context("can't give up capabilities")
    }

    /// Says in a command's environment whose it is, as a login does.
    pub(super) fn set_environment(&self, command: &mut Command) {
        for name in SUDOS {
            command.env_remove(name);
        }
        match &self.known {
            Some(Known { name, home, shell }) => {
                command.env("HOME", home).env("USER", name).env("LOGNAME", name).env("SHELL", shell);
            }
            None => {
                // Root's are none of this user's.
                for name in ["HOME", "USER", "LOGNAME", "SHELL"] {
                    command.env_remove(name);
                }
            }
        }
    }
}

/// A number in an environment variable of sudo's.
fn variable(name: &str) -> Result<Option<u32>> {
    let Some(value) = env::var_os(name) else { return Ok(None) };
    let number = value.to_str().and_then(|value| value.parse().ok());
    let number = number.with_context(|| {
        format!("{name} is {}, which is no number: say --user", OsStr::new(&value).display())
    })?;
    Ok(Some(number))
}

fn groups(groups: &[Gid]) -> Vec<rustix::thread::Gid> {
    groups.iter().map(|group| thread_gid(*group)).collect()
}

fn thread_gid(gid: Gid) -> rustix::thread::Gid {
    rustix::thread::Gid::from_raw(gid.as_raw())
}

fn thread_uid(uid: Uid) -> rustix::thread::Uid {
    rustix::thread::Uid::from_raw(uid.as_raw())
}
