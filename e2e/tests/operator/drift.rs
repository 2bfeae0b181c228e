//! Files that somebody else changes: put right at once, and said so. Files that are somebody else's: left alone, and said so.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use portcullis_api::{ConditionType, Reason, SeccompNode, SeccompProfile};
use portcullis_e2e::{
    Operator, progress,
    testing::{
        Seen, await_object, eventually,
        profiles::{
            PATIENCE, PROFILES, await_ready, await_reason, current_content, ensure_served, local_operator,
            numbered, profile,
        },
        with_namespace,
    },
};
use serde_json::json;

use crate::support::owner;

const NODE: &str = "node1";

/// A way to spoil a file, and the label under which its repair is counted.
struct Drift {
    name: &'static str,
    cause: &'static str,
    spoil: fn(&Path) -> Result<()>,
}

const DRIFTS: [Drift; 11] = [
    Drift { name: "changed in place", cause: "changed", spoil: |file| Ok(fs::write(file, "{}")?) },
    Drift {
        name: "appended to",
        cause: "changed",
        spoil: |file| Ok(std::io::Write::write_all(&mut fs::File::options().append(true).open(file)?, b" ")?),
    },
    Drift {
        name: "truncated",
        cause: "changed",
        spoil: |file| Ok(fs::File::options().write(true).open(file)?.set_len(0)?),
    },
    Drift { name: "removed", cause: "missing", spoil: |file| Ok(fs::remove_file(file)?) },
    Drift {
        name: "renamed",
        cause: "missing",
        spoil: |file| Ok(fs::rename(file, outside(file, "renamed")?)?),
    },
    Drift {
        name: "another renamed over it",
        cause: "changed",
        spoil: |file| {
            let other = outside(file, "other")?;
            fs::write(&other, "other")?;
            Ok(fs::rename(other, file)?)
        },
    },
    Drift {
        name: "replaced by a symbolic link to its own content",
        cause: "symlink",
        spoil: |file| {
            let copy = outside(file, "copy")?;
            fs::copy(file, &copy)?;
            in_place_of(file, || symlink(&copy, file))
        },
    },
    Drift {
        name: "replaced by a directory that is not empty",
        cause: "directory",
        spoil: |file| {
            let folder = outside(file, "folder")?;
            fs::create_dir(&folder)?;
            fs::write(folder.join("inside"), "")?;
            in_place_of(file, || fs::rename(&folder, file))
        },
    },
    Drift { name: "made unreadable", cause: "mode", spoil: |file| mode(file, 0o000) },
    Drift { name: "made writable by all", cause: "mode", spoil: |file| mode(file, 0o666) },
    Drift { name: "given to another user", cause: "mode", spoil: |file| Ok(chown(file, Some(1000), None)?) },
];

fn mode(file: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(mode))?)
}

/// Puts something in a file's place. The agent may be faster and put the file back in between.
fn in_place_of(file: &Path, mut make: impl FnMut() -> std::io::Result<()>) -> Result<()> {
    loop {
        fs::remove_file(file)?;
        match make() {
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => {}
            made => return Ok(made?),
        }
    }
}

/// A path on the same file system, out of Portcullis's sight.
fn outside(file: &Path, name: &str) -> Result<PathBuf> {
    let namespace = file.parent().context("a file without a directory")?;
    let profiles = namespace.parent().context("a namespace without a directory")?;
    let seccomp = profiles.parent().context("a sub-directory without a directory")?;
    let label = namespace.file_name().unwrap_or_default().to_string_lossy();
    Ok(seccomp.join(format!("{label}-{name}")))
}

/// Whether a file is as Portcullis writes it.
fn is_whole(file: &Path, content: &str) -> Result<()> {
    let found = fs::symlink_metadata(file).with_context(|| format!("{} is not there", file.display()))?;
    ensure!(found.is_file(), "{} is no file: {:?}", file.display(), found.file_type());
    ensure!(
        (found.mode() & 0o7777, found.uid(), found.nlink()) == (0o644, 0, 1),
        "mode {:o}, user {}, {} links",
        found.mode(),
        found.uid(),
        found.nlink()
    );
    let text = fs::read_to_string(file)?;
    ensure!(text == content, "it holds {text:?}");
    Ok(())
}

async fn await_whole(what: &str, file: &Path, content: &str) -> Result<()> {
    eventually(&format!("a file that was {what} is repaired"), PATIENCE, async || {
        Ok(is_whole(file, content).map_or_else(|error| Seen::NotYet(format!("{error:#}")), Seen::Done))
    })
    .await
}

/// How often the node's agent repaired for a cause.
async fn repairs(operator: &Operator, cause: &str) -> Result<f64> {
    let metrics = operator.metrics(&operator.agent_on(NODE).await?).await?;
    let name = format!("portcullis_agent_files_repaired_total{{cause=\"{cause}\"}}");
    metrics.get(&name).copied().with_context(|| format!("there is no metric {name}"))
}

/// Removes a directory, though the agent may put files back meanwhile.
fn remove_all(directory: &Path) -> Result<()> {
    loop {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            removed => return removed.context("the directory can't be removed"),
        }
    }
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn every_kind_of_drift_is_repaired_counted_and_announced() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "drift", async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        let web = owner(&namespace, "web")?;
        let content = current_content(operator.cluster(), &web).await?;
        let file = operator.file(NODE, &web.current_path())?;
        let mut slowest = std::time::Duration::ZERO;
        for Drift { name, cause, spoil } in DRIFTS {
            // Some ways are seen twice, as a file that is first missing and then something else.
            let counted =
                async || anyhow::Ok([repairs(&operator, cause).await?, repairs(&operator, "missing").await?]);
            let before: [f64; 2] = counted().await?;
            let began = Instant::now();
            spoil(&file).with_context(|| format!("the file can't be {name}"))?;
            await_whole(name, &file, &content).await?;
            slowest = slowest.max(began.elapsed());
            // It is counted a moment after the file is there.
            let what = format!("the repair of a file that was {name} is counted as {cause}");
            eventually(&what, PATIENCE, async || {
                let now = counted().await?;
                let more = cause == "changed" || now.iter().zip(&before).any(|(now, before)| now > before);
                Ok(if more { Seen::Done(()) } else { Seen::NotYet(format!("{now:?}")) })
            })
            .await?;
        }
        progress::say(format_args!("the slowest of {} repairs took {slowest:.1?}", DRIFTS.len()));

        let directory = file.parent().context("a file without a directory")?;
        remove_all(directory)?;
        await_whole("removed with its directory", &file, &content).await?;
        remove_all(directory)?;
        symlink("/tmp", directory)?;
        await_whole("replaced, directory and all, by a symbolic link", &file, &content).await?;
        ensure!(!Path::new("/tmp/web.json").exists(), "the agent followed a symbolic link");
        mode(directory, 0o700)?;
        eventually("the directory's mode is put right", PATIENCE, async || {
            let found = fs::metadata(directory)?.mode() & 0o7777;
            Ok(if found == 0o755 { Seen::Done(()) } else { Seen::NotYet(format!("{found:o}")) })
        })
        .await?;

        let shown = format!("{PROFILES}/{}", web.current_path());
        let events: Api<Event> = Api::all(namespace.client());
        eventually("the repairs are announced on the node's object", PATIENCE, async || {
            let all = events.list(&ListParams::default().fields("reason=FileRepaired")).await?;
            let said = all.into_iter().filter(|event| {
                event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(NODE)
                    && event.note.as_deref().is_some_and(|note| note.contains(&shown))
            });
            let said: Vec<_> = said.filter_map(|event| event.note).collect();
            let so = ["its content was changed", "it was missing", "its mode or owner"]
                .iter()
                .all(|words| said.iter().any(|note| note.contains(words)));
            Ok(if so { Seen::Done(()) } else { Seen::NotYet(said.join("; ")) })
        })
        .await?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        for name in ["renamed", "copy"] {
            fs::remove_file(outside(&file, name)?)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn the_agents_own_store_is_repaired_too() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "store", async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        let status = await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        let web = owner(&namespace, "web")?;
        let content = current_content(operator.cluster(), &web).await?;
        let digest = status.digest.context("no digest")?.to_string();
        let stored =
            operator.file(NODE, &format!(".store/content/{}", digest.trim_start_matches("sha256:")))?;
        let file = operator.file(NODE, &web.current_path())?;
        ensure!(
            fs::metadata(&stored)?.ino() != fs::metadata(&file)?.ino(),
            "one inode, so one write spoils both"
        );
        // What is served must never be made of a damaged store, whichever of the two is spoilt first.
        fs::write(&stored, "damaged")?;
        fs::write(&file, "damaged")?;
        await_whole("damaged together with the store", &file, &content).await?;
        ensure_served(&operator, &web.current_path(), &content)
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn files_of_others_are_left_alone_and_reported() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "foreign", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let nodes: Api<SeccompNode> = Api::all(namespace.client());
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready(&profiles, "web").await?;
        // By its name it could be Portcullis's; sorted before most, for the status lists only the first of many.
        let path = format!("{}/0-theirs.json", namespace.name());
        let file = operator.file(NODE, &path)?;
        fs::write(&file, "theirs")?;
        let lists = |node: &SeccompNode| {
            node.status
                .as_ref()
                .is_some_and(|status| status.foreign_files.iter().any(|foreign| foreign.path == path))
        };
        let node = await_object(&nodes, NODE, "reporting the foreign file", PATIENCE, lists).await?;
        assert!(node.status.is_some_and(|status| status.foreign_file_count > 0));

        // A profile of that very name must not overwrite it.
        namespace.apply(&profile("0-theirs", &json!({ "profile": numbered(2) })))?;
        let kind = ConditionType::Reconciling;
        let message = await_reason(&profiles, "0-theirs", kind, Reason::NodesFailing).await?;
        assert!(message.contains(NODE) && message.contains("move it away"), "{message}");
        assert_eq!(fs::read_to_string(&file)?, "theirs");
        let status = profiles.get("0-theirs").await?.status.context("no status")?;
        let failing: Vec<_> =
            status.failing_nodes.iter().map(|one| (one.node.as_str(), one.reason.as_str())).collect();
        assert_eq!(failing, [(NODE, "Foreign")]);
        await_ready(&profiles, "web").await?;

        fs::remove_file(&file)?;
        await_ready(&profiles, "0-theirs").await?;
        let content = current_content(operator.cluster(), &owner(&namespace, "0-theirs")?).await?;
        ensure_served(&operator, &path, &content)?;
        let forgot = |node: &SeccompNode| !lists(node);
        await_object(&nodes, NODE, "rid of the foreign file", PATIENCE, forgot).await?;
        Ok(())
    })
    .await
}
