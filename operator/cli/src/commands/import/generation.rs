//! How a profile is made, and in which form it is written.

use std::io::Write;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use portcullis_api::{Mode, ProfileSpec, SeccompDocument, SeccompProfile, SeccompProfileSpec};
use portcullis_profile::{Action, Arch, Profile, errno, import::Generation, runtime_base};

use super::origin::Origin;
use crate::{
    console, manifest,
    platform::{self, RuntimeName},
};

/// What generated profiles have in common.
#[derive(Debug, Args)]
#[command(next_help_heading = "The profile")]
pub(crate) struct Options {
    /// What happens to calls that were not seen.
    #[arg(long, value_name = "ACTION", default_value = "SCMP_ACT_ERRNO", value_parser = parse_action)]
    default_action: Action,
    /// The errno of that, as a name or number; ENOSYS (38) where programs should fall back as on an older kernel, EPERM
    /// (1) where they should be told.
    #[arg(long, value_name = "ERRNO", value_parser = parse_errno)]
    errno: Option<u32>,
    /// An architecture to list beside those that were seen, such as arm64; may be repeated.
    #[arg(long = "arch", value_name = "ARCH", value_parser = platform::parse_arch)]
    architectures: Vec<Arch>,
    /// Allow besides what this container runtime calls itself between loading the filter and executing the program, with
    /// `allowPrivilegeEscalation: false`; see `runtime-base`.
    #[arg(long, value_name = "RUNTIME", value_enum)]
    with_runtime_base: Option<RuntimeName>,
    /// The name of the custom resource that `-o cr` writes; by default that of the first file.
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
}

/// The profile that a command makes.
#[derive(Debug, Args)]
pub(super) struct Made {
    /// The form of the profile.
    #[arg(long, short, value_name = "FORM", default_value = "oci")]
    pub(super) output: Form,
    #[command(flatten)]
    pub(super) options: Options,
}

/// The forms of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// An OCI seccomp document (JSON).
    Oci,
    /// A SeccompProfile of portcullis.dev/v1alpha1 (YAML) in Audit mode, which says in an annotation what it was made from.
    Cr,
}

/// The annotation that says what a profile was made from.
const MADE_FROM: &str = "portcullis.dev/made-from";

impl Options {
    /// What was asked for.
    pub(crate) fn generation(&self) -> Result<Generation> {
        const ENOSYS: u32 = 38;
        let takes_errno = matches!(self.default_action, Action::Errno | Action::Trace);
        if self.errno.is_some() && !takes_errno {
            bail!("--errno: {} has no errno: leave it out, or choose SCMP_ACT_ERRNO", self.default_action);
        }
        if matches!(self.default_action, Action::Allow | Action::Notify) {
            bail!(
                "--default-action: {} does not deny what was not seen: choose SCMP_ACT_ERRNO, SCMP_ACT_LOG or one that kills",
                self.default_action
            );
        }
        let usual = (self.default_action == Action::Errno).then_some(ENOSYS);
        Ok(Generation {
            default_action: self.default_action,
            default_errno: self.errno.or(usual),
            architectures: self.architectures.iter().copied().collect(),
            base: self
                .with_runtime_base
                .map(|runtime| runtime_base::names(runtime.into(), true).into_iter().collect())
                .unwrap_or_default(),
        })
    }

    /// Writes a profile, as a custom resource with the rest of its spec; what it was made from goes into it where there is a
    /// place, and is said besides where there is none.
    pub(crate) fn write(
        &self,
        profile: &Profile,
        form: Form,
        origin: &Origin,
        spec: ProfileSpec,
        out: &mut dyn Write,
    ) -> Result<()> {
        match form {
            Form::Oci => {
                console::note(&format!("made from {origin}"));
                out.write_all(&profile.render())?;
            }
            Form::Cr => {
                let name = self.name.clone().unwrap_or_else(|| origin.resource_name());
                let spec = SeccompProfileSpec {
                    profile: ProfileSpec {
                        profile: Some(SeccompDocument::from(&profile.canonical())),
                        ..spec
                    },
                };
                let mut resource = SeccompProfile::new(&name, spec);
                resource.metadata.annotations = Some([(MADE_FROM.to_owned(), origin.to_string())].into());
                let yaml = serde_saphyr::to_string(&resource).context("can't write the profile as YAML")?;
                out.write_all(yaml.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// The rest of a custom resource whose profile was made of what was seen: nothing is denied before somebody has looked at it.
pub(crate) fn to_look_at() -> ProfileSpec {
    ProfileSpec { mode: Mode::Audit, ..ProfileSpec::default() }
}

fn parse_action(text: &str) -> Result<Action, String> {
    let full = format!("SCMP_ACT_{text}");
    let is = |action: &&Action| {
        action.as_str().eq_ignore_ascii_case(text) || action.as_str().eq_ignore_ascii_case(&full)
    };
    Action::ALL.iter().find(is).copied().ok_or_else(|| {
        let names: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        format!("no action: choose of {}", names.join(", "))
    })
}

fn parse_errno(text: &str) -> Result<u32, String> {
    const MAX_ERRNO: u32 = 4095;
    let number = text.parse().ok().filter(|number| *number <= MAX_ERRNO);
    number.or_else(|| errno::number(text)).ok_or_else(|| "no errno: write for example EPERM or 1".to_owned())
}

fn parse_name(text: &str) -> Result<String, String> {
    manifest::is_name(text).then(|| text.to_owned()).ok_or_else(|| {
        "no name of a profile: use at most 63 lower-case letters, digits and dashes, the first and last no dash".to_owned()
    })
}
