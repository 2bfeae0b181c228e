//! `import hook`: what oci-seccomp-bpf-hook wrote.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use portcullis_profile::{MAX_DOCUMENT_BYTES, import::hook::Hook};

use super::{
    generation::{Made, to_look_at},
    origin::{Origin, counted},
    source,
};
use crate::{
    console::{self, Console},
    example::{self, Example},
    platform,
    verdict::Verdict,
};

pub(super) const LONG: &str = "\
Make a profile of what oci-seccomp-bpf-hook wrote (podman's annotation io.containers.trace-syscall=of:/FILE).

The hook lists no architecture, gives denied calls EPERM, from which runc and glibc do not fall back, and loses events without \
saying so. This adds the architecture, ENOSYS, and the calls that a run may not show. To go on from an earlier profile, as \
the hook's `if:` does, merge the two.";

const EXAMPLES: &[Example] = &[Example {
    about: "For nodes of two kinds",
    command: "kubectl seccomp import hook --arch amd64 --arch arm64 hook.json > app.json",
}];

/// Which file.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(super) struct Arguments {
    /// What the hook wrote; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    made: Made,
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { file, made } = arguments;
    let mut generation = made.options.generation()?;
    let name = source::name(file);
    let mut document = Vec::new();
    source::read(file, |piece| {
        // One byte more than may be, so that a longer document is seen to be one.
        let room = (MAX_DOCUMENT_BYTES + 1).saturating_sub(document.len());
        document.extend_from_slice(&piece[..piece.len().min(room)]);
        Ok(())
    })?;
    let hook = Hook::parse(&document).with_context(|| name.clone())?;
    if hook.nameless > 0 {
        console::note(&format!(
            "{name}: the hook saw a call that it could not name, and wrote \"\": the profile lacks it"
        ));
    }
    if hook.profile.architectures.is_empty() && generation.architectures.is_empty() {
        let arch = platform::host_arch();
        console::note(&format!("{name} lists no architecture: {arch}, this machine's, is taken; see --arch"));
        generation.architectures.insert(arch);
    }
    let profile = hook.complete(&generation);
    let names: usize = hook.profile.syscalls.iter().map(|rule| rule.names.len()).sum();
    let origin = Origin {
        kind: "oci-seccomp-bpf-hook",
        files: vec![file.clone()],
        found: counted(names as u64, "call"),
    };
    made.options.write(&profile, made.output, &origin, to_look_at(), console.document())?;
    Ok(Verdict::Yes)
}
