//! `pin` and `unpin`: holding a profile at a revision, and letting it go.

use std::io::Write;

use anyhow::{Result, bail};
use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use crate::{
    cluster::{
        Cluster,
        profiles::{self, One, Profile},
        revisions,
    },
    console::Console,
    example::{self, Example},
    verdict::Verdict,
};

const PIN_EXAMPLES: &[Example] = &[
    Example { about: "How to go back to the revision before", command: "kubectl seccomp pin web previous" },
    Example { about: "Go back now", command: "kubectl seccomp pin web previous --apply" },
];
const UNPIN_EXAMPLES: &[Example] = &[Example {
    about: "Let the profile follow its document again",
    command: "kubectl seccomp unpin web --apply",
}];

/// Which profile and revision.
#[derive(Debug, Args)]
#[command(after_help = example::help(PIN_EXAMPLES))]
pub(crate) struct Arguments {
    /// The revision: its digest, the first digits of it, or 'previous'; `history` lists them.
    #[arg(index = 2, value_name = "DIGEST")]
    digest: String,
    #[command(flatten)]
    target: Target,
}

/// Which profile.
#[derive(Debug, Args)]
#[command(after_help = example::help(UNPIN_EXAMPLES))]
pub(crate) struct UnpinArguments {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// Change the profile now; without it the change is printed.
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    profile: One,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    arguments.target.profile.with(async |cluster, profile| {
        let digest = revisions::choose(&profile.kept(), &arguments.digest)?;
        let patch = json!({ "spec": { "pin": digest.to_string() } });
        if arguments.target.apply {
            change(&cluster, &profile, &patch).await?;
            writeln!(console.out(), "{} is pinned to {}", profile.reference(), digest.short())?;
        } else {
            let what = format!("Holds {} at the revision {}", profile.reference(), digest.short());
            print(&profile, &what, &patch, console.out())?;
            writeln!(
                console.out(),
                "\n# or in the manifest, where Git or Helm keeps it:\nspec:\n  pin: {digest}"
            )?;
        }
        Ok(Verdict::Yes)
    })
}

pub(crate) fn run_unpin(arguments: &UnpinArguments, console: &mut Console) -> Result<Verdict> {
    arguments.target.profile.with(async |cluster, profile| {
        if profile.pin.is_none() {
            bail!("{} is not pinned", profile.reference());
        }
        let patch = json!({ "spec": { "pin": null } });
        if arguments.target.apply {
            change(&cluster, &profile, &patch).await?;
            writeln!(console.out(), "{} is not pinned any more", profile.reference())?;
        } else {
            let what = format!("Lets {} follow its document again", profile.reference());
            print(&profile, &what, &patch, console.out())?;
            writeln!(console.out(), "\n# or take spec.pin out of the manifest, where Git or Helm keeps it")?;
        }
        Ok(Verdict::Yes)
    })
}

fn print(profile: &Profile, what: &str, patch: &Value, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "# {what}:")?;
    writeln!(out, "kubectl patch {} --type merge -p '{patch}'", profile.for_kubectl())?;
    Ok(())
}

async fn change(cluster: &Cluster, profile: &Profile, patch: &Value) -> Result<()> {
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api = profiles::objects(cluster, &profile.owner);
    let patched = api.patch(profile.owner.name(), &parameters, &Patch::Merge(patch)).await;
    patched.map(drop).map_err(|error| profiles::attempt("patch", &profile.owner).failed(&error))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::cluster::fake;

    fn profile() -> Value {
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
            "metadata": {"namespace": "shop", "name": "web"}, "spec": {},
        })
    }

    #[tokio::test]
    async fn a_change_is_a_merge_patch_by_this_programs_field_manager() {
        let cluster = fake::cluster(|asked| {
            if asked.method == "PATCH" {
                assert_eq!(asked.path, "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccompprofiles/web");
                assert!(asked.query.contains("fieldManager=kubectl-seccomp"), "{}", asked.query);
                assert_eq!(asked.body, json!({"spec": {"pin": null}}));
            }
            (StatusCode::OK, profile())
        });
        let profile = profiles::find(&cluster, &"sp/web".parse().unwrap()).await.unwrap();
        change(&cluster, &profile, &json!({"spec": {"pin": null}})).await.unwrap();
    }

    #[tokio::test]
    async fn a_change_that_is_not_allowed_names_the_right() {
        let cluster = fake::cluster(|asked| match asked.method.as_str() {
            "PATCH" => fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "it is forbidden"),
            _ => (StatusCode::OK, profile()),
        });
        let profile = profiles::find(&cluster, &"sp/web".parse().unwrap()).await.unwrap();
        let error = change(&cluster, &profile, &json!({})).await.unwrap_err().to_string();
        assert!(error.contains("Role with the verb patch on the resource seccompprofiles"), "{error}");
    }
}
