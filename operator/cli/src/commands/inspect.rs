//! `inspect`: what a reference names.

use anyhow::Result;
use clap::{Args, ValueEnum};
use portcullis_artifact::{Inspection, Reference};

use crate::{
    console::Console,
    example::{self, Example},
    output,
    platform::Node,
    registry::{ImageArguments, RegistryArguments, wait_for},
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "Look before pulling",
        command: "kubectl seccomp inspect registry.example.com/team/web:1.4",
    },
    Example {
        about: "Pin a tag to what it means today",
        command: "kubectl seccomp inspect registry.example.com/team/web:1.4 -o json | grep digest",
    },
];

/// What.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// What to look at: REGISTRY/REPOSITORY:TAG, or REGISTRY/REPOSITORY@sha256:DIGEST
    #[arg(value_name = "REF")]
    reference: Reference,
    /// How to say it
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    image: ImageArguments,
    #[command(flatten)]
    registry: RegistryArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// Lines for people
    Text,
    /// A JSON object
    Json,
    /// A YAML document
    Yaml,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let access = arguments.registry.access(&arguments.reference)?;
    let wanted = arguments.image.wanted(&arguments.node);
    let seen = wait_for(portcullis_artifact::inspect(&arguments.reference, &wanted, &access))?;
    let out = console.out();
    match arguments.output {
        Output::Text => {
            for (label, value) in lines(&seen) {
                writeln!(out, "{label:<13}  {value}")?;
            }
        }
        Output::Json => output::json(&seen, out)?,
        Output::Yaml => output::yaml(&seen, out)?,
    }
    Ok(Verdict::Yes)
}

fn lines(seen: &Inspection) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("reference", seen.reference.clone()),
        ("digest", seen.digest.to_string()),
        ("kind", seen.kind.as_str().to_owned()),
        ("media type", seen.media_type.to_owned()),
    ];
    lines.extend(seen.artifact_type.iter().map(|kind| ("artifact type", kind.clone())));
    if seen.platforms.is_empty() {
        lines.push(("size", format!("{} bytes", seen.size)));
    } else {
        lines.push(("platforms", seen.platforms.join(", ")));
    }
    for layer in &seen.layers {
        let title = layer.title.as_ref().map(|title| format!(", {title}")).unwrap_or_default();
        let text = format!("{}, {} bytes, {}{title}", layer.digest, layer.size, layer.media_type);
        lines.push(("layer", text));
    }
    lines.extend(seen.annotations.iter().map(|(key, value)| ("annotation", format!("{key}={value}"))));
    if let Some(profile) = &seen.profile {
        let architectures: Vec<_> = profile.architectures.iter().map(|arch| arch.as_str()).collect();
        let architectures =
            if architectures.is_empty() { "the node's own".to_owned() } else { architectures.join(", ") };
        lines.push(("profile", profile.digest.to_string()));
        lines.push(("default", profile.default_action.clone()));
        lines.push(("architectures", architectures));
        let conditional = match profile.conditional_calls {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        let calls = format!("{}, {conditional} of them under conditions on arguments", profile.calls);
        lines.push(("calls", calls));
    }
    lines
}
