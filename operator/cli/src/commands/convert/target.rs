//! What is written, and what can't be.

use anyhow::{Context as _, Result, bail};
use portcullis_api::BaseReference;
use portcullis_profile::printable;

use super::{Arguments, Format, Loaded, Mode, ModeName, ProfileKind, manifest};
use crate::console::{self, Console};

/// Writes an OCI document.
pub(super) fn oci(arguments: &Arguments, loaded: &Loaded, console: &mut Console) -> Result<()> {
    let bases = bases_of(loaded);
    if !bases.is_empty() && !arguments.without_bases {
        bail!(
            "{}: it is only whole with its bases ({}), which an OCI document has no place for: `kubectl seccomp merge` them, or say \
             --without-bases",
            loaded.name,
            bases.join(", ")
        );
    }
    if matches!(loaded.source.format, Format::Portcullis { mode: Mode::Audit, .. }) {
        console::note(&format!(
            "{}: its mode is Audit, which an OCI document can't say: this is what it would enforce",
            loaded.name
        ));
    }
    console.document().write_all(&loaded.profile.render())?;
    Ok(())
}

/// A manifest's text.
pub(super) fn manifest(arguments: &Arguments, loaded: &Loaded) -> Result<String> {
    let source = &loaded.source;
    let name = arguments.name.clone().or_else(|| source.object.clone());
    let Some(name) = name else {
        bail!("{}: a custom resource needs a name: write --name", loaded.name);
    };
    let (kind, mode) = match &source.format {
        Format::Portcullis { kind, mode, .. } if !arguments.cluster => (*kind, *mode),
        Format::Portcullis { mode, .. } => (ProfileKind::ClusterSeccompProfile, *mode),
        _ if arguments.cluster => (ProfileKind::ClusterSeccompProfile, Mode::Enforce),
        _ => (ProfileKind::SeccompProfile, Mode::Enforce),
    };
    let namespace = match kind {
        ProfileKind::SeccompProfile => arguments.namespace.clone().or_else(|| source.namespace.clone()),
        ProfileKind::ClusterSeccompProfile => arguments.namespace.clone(),
    };
    let mode = match arguments.mode {
        Some(ModeName::Enforce) => Mode::Enforce,
        Some(ModeName::Audit) => Mode::Audit,
        None => mode,
    };
    if !source.besides.is_empty() {
        console::note(&format!("{}: not carried over: {}", loaded.name, source.besides.join(", ")));
    }
    let bases = bases(arguments, loaded)?;
    let object = manifest::Object { kind, name, namespace, mode, bases, recorded_from: None };
    let text = manifest::render(&loaded.profile, &object).with_context(|| loaded.name.clone())?;
    Ok(format!("# From {}.\n{text}", origin(loaded)))
}

/// Where a profile came from, in one line whatever the file's name.
fn origin(loaded: &Loaded) -> String {
    let mut origin = loaded.name.clone();
    if loaded.source.format == Format::Docker {
        origin += &loaded.notes.iter().map(|note| format!("; {note}")).collect::<String>();
    }
    printable(&origin)
}

fn bases(arguments: &Arguments, loaded: &Loaded) -> Result<Vec<BaseReference>> {
    if arguments.without_bases {
        return Ok(Vec::new());
    }
    let stated = arguments
        .base
        .iter()
        .map(|name| BaseReference { kind: ProfileKind::ClusterSeccompProfile, name: name.clone() });
    match &loaded.source.format {
        Format::Portcullis { bases, .. } => Ok(bases.iter().cloned().chain(stated).collect()),
        Format::SecurityProfilesOperator { base: Some(base) } if arguments.base.is_empty() => bail!(
            "{}: spec.baseProfileName: it is only whole with {base}, a profile of the Security Profiles Operator: convert that one too \
             and name it with --base, or say --without-bases",
            loaded.name
        ),
        _ => Ok(stated.collect()),
    }
}

/// The names of the profiles that a profile is only whole with.
fn bases_of(loaded: &Loaded) -> Vec<&str> {
    match &loaded.source.format {
        Format::Portcullis { bases, .. } => bases.iter().map(|base| base.name.as_str()).collect(),
        Format::SecurityProfilesOperator { base } => base.as_deref().into_iter().collect(),
        Format::Oci | Format::Docker => Vec::new(),
    }
}
