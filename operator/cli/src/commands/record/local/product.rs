//! The profile of a recording: made, merged with an earlier one, written.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_api::{ProfileSpec, RecordedFrom};
use portcullis_profile::{
    Action, Baseline, Profile, Rule,
    compose::NamedProfile,
    docker::Context,
    evaluate::{Outcome, Passage},
    import::Generation,
    merge,
    recording::{Tally, Wishes, make},
};

use super::{LocalArguments, linux::user::User};
use crate::{
    commands::{
        combine,
        import::{generation::to_look_at, origin::Origin},
    },
    console::{self, Console},
    input::{self, Loaded},
    platform,
    registry::write_document,
    replace,
};

/// What was asked for, checked before anything is recorded.
#[derive(Debug)]
pub(super) struct Order<'a> {
    arguments: &'a LocalArguments,
    generation: Generation,
    earlier: Vec<Loaded>,
    /// Whose the files are, where it is not this process's user.
    user: Option<User>,
    baseline: Baseline,
}

impl<'a> Order<'a> {
    /// Reads what is needed besides the recording.
    pub(super) fn new(arguments: &'a LocalArguments, user: Option<User>) -> Result<Self> {
        let generation = arguments.options.generation()?;
        let container = arguments.format.on(platform::host_arch());
        let earlier = act(user.as_ref(), || earlier(arguments, &container))?;
        let baseline =
            act(user.as_ref(), || arguments.baseline.read(arguments.merge.as_deref(), &container))?;
        Ok(Self { arguments, generation, earlier, user, baseline })
    }

    /// Whether a runtime's own calls are added.
    pub(super) fn has_runtime_base(&self) -> bool {
        !self.generation.base.is_empty()
    }

    /// Makes the profile and writes it. Gives it too.
    pub(super) fn deliver(&self, tally: &Tally, origin: &Origin, console: &mut Console) -> Result<Profile> {
        let made = self.make(tally)?;
        let profile = self.merge(&made)?;
        let spec = ProfileSpec { recorded_from: Some(RecordedFrom::of(None, tally)), ..to_look_at() };
        let LocalArguments { options, output, file, .. } = self.arguments;
        let mut document = Vec::new();
        options.write(&profile, *output, origin, spec, &mut document)?;
        match file {
            Some(file) => {
                let written = act(self.user.as_ref(), || write_document(&document, file, console));
                if let Err(error) = written {
                    // What was recorded may have taken hours.
                    console.document().write_all(&document)?;
                    return Err(error.context("the profile is standard output"));
                }
                console.note(format_args!("the profile is in {}", file.display()));
            }
            None => console.document().write_all(&document)?,
        }
        Ok(profile)
    }

    fn make(&self, tally: &Tally) -> Result<Profile> {
        let Generation { default_action, default_errno, architectures, base } = &self.generation;
        let denies = Outcome::new(*default_action, *default_errno).passage() == Passage::Denied;
        let wishes = Wishes {
            default_action: if denies { *default_action } else { Action::Errno },
            default_errno_ret: *default_errno,
            argument_rules: self.arguments.arguments.iter().cloned().collect::<BTreeSet<_>>(),
            bases: Vec::new(),
            baseline: &self.baseline,
        };
        let made = make(tally, &wishes).context("no profile can be made")?;
        for note in &made.notes {
            console::note(&note.to_string());
        }
        let mut profile = made.profile;
        profile.default_action = *default_action;
        profile.default_errno_ret = *default_errno;
        profile.architectures.extend(architectures);
        profile.architectures.sort_unstable();
        profile.architectures.dedup();
        if base.is_empty() {
            return Ok(profile);
        }
        let names = base.iter().map(|name| (*name).to_owned()).collect();
        let rule = Rule { names, action: Action::Allow, errno_ret: None, args: Vec::new() };
        let base = Profile { syscalls: vec![rule], ..profile.clone() };
        let both = [("the recording", &profile), ("the runtime's calls", &base)];
        Ok(merge::merge(&both.map(|(name, profile)| NamedProfile { name, profile }))?.profile)
    }

    /// Unites it with the earlier ones, and says what that added.
    fn merge(&self, made: &Profile) -> Result<Profile> {
        if self.earlier.is_empty() {
            return Ok(made.clone());
        }
        let mut named: Vec<NamedProfile<'_>> =
            self.earlier.iter().map(|one| NamedProfile { name: &one.name, profile: &one.profile }).collect();
        named.push(NamedProfile { name: "this recording", profile: made });
        let combined = merge::merge(&named)?;
        for (at, contribution) in combined.contributions.iter().enumerate() {
            console::note(&combine::provenance(contribution, at == 0, "added", usize::MAX));
        }
        for note in &combined.notes {
            console::note(&note.to_string());
        }
        Ok(combined.profile)
    }
}

/// What is added to; and whether there is a place for the profile.
fn earlier(arguments: &LocalArguments, container: &Context) -> Result<Vec<Loaded>> {
    if let Some(file) = &arguments.file {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        ensure!(folder.is_dir(), "--file {}: there is no folder {}", file.display(), folder.display());
        replace::check(file).with_context(|| format!("--file {}: it can't be written", file.display()))?;
    }
    match &arguments.merge {
        // The first of several runs that add to one file has nothing to add to.
        Some(file) if arguments.file.as_ref() == Some(file) && is_missing(file) => {
            console::note(&format!("{} is not there yet: this run makes it", file.display()));
            Ok(Vec::new())
        }
        Some(file) => input::profiles_for(file, container),
        None => Ok(Vec::new()),
    }
}

/// Does something as a user, or as this process.
fn act<T>(user: Option<&User>, action: impl FnOnce() -> Result<T>) -> Result<T> {
    match user {
        Some(user) => user.act(action),
        None => action(),
    }
}

fn is_missing(file: &PathBuf) -> bool {
    fs::metadata(file).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
