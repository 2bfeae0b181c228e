//! Removes from a node what Portcullis wrote there, after it has been uninstalled.

use std::{io, os::fd::AsFd as _, path::PathBuf};

use portcullis_profile::Digest;
use portcullis_runtime::Process;
use tracing::{info, warn};

use crate::{
    disk::{Base, Cause, Condition, Directory, Index, OpenError, Store, examine, remove},
    error::Error,
    path::split,
    settings::single_name,
};

/// Settings of `portcullis purge`.
#[derive(Clone, Debug, clap::Args)]
pub struct PurgeSettings {
    /// Where the host's `<kubelet root>/seccomp` is mounted.
    #[arg(long, default_value = "/host/seccomp")]
    pub directory: PathBuf,
    /// The directory below it that Portcullis owned: one name, without a slash.
    #[arg(long, default_value = portcullis_api::DEFAULT_SUBDIRECTORY, value_parser = single_name)]
    pub subdirectory: String,
    /// The directory's path on the host, for messages only.
    #[arg(long, default_value = "/var/lib/kubelet/seccomp")]
    pub host_directory: PathBuf,
}

/// Why not everything was removed.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The host's directory is not there.
    #[error(transparent)]
    Base(#[from] Error),
    /// An agent would write everything anew.
    #[error("an agent still works in {0}: uninstall Portcullis first, or keep its DaemonSet off this node")]
    InUse(String),
    /// The sub-directory or the store can't be read.
    #[error("{0}")]
    Directory(String),
    /// Some files are still there.
    #[error(
        "{failed} of {all} files of Portcullis could not be removed from {directory}; the log names each"
    )]
    Files {
        /// How many failed.
        failed: usize,
        /// How many there were.
        all: usize,
        /// The sub-directory on the host.
        directory: String,
    },
}

/// What became of the files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Purged {
    /// Paths that were removed, or were gone already.
    removed: Vec<String>,
    /// Paths of Portcullis's own that hold something that it did not write.
    left: Vec<String>,
    /// The sub-directory is gone as well.
    all: bool,
}

/// Removes every file of Portcullis's that is as it wrote it, then becomes ready and waits for shutdown, so that a DaemonSet can run it.
///
/// Files that Portcullis did not write stay, and so do files of its own that were changed since, and the sub-directory as long as there are
/// any.
///
/// # Errors
/// Where the host's directory is not mounted, an agent still runs on the node, or a file can't be removed.
pub async fn purge(process: Process, settings: PurgeSettings) -> Result<(), PurgeError> {
    let done = process.readiness.gate("purged");
    let purged = remove_all(&settings)?;
    for path in &purged.left {
        warn!(path, "left: its content is not what Portcullis wrote");
    }
    let removed = purged.removed.len();
    let directory = settings.host_directory.join(&settings.subdirectory).display().to_string();
    if purged.all {
        info!(removed, directory, "removed every file and the directory");
    } else {
        info!(removed, directory, "removed every file of Portcullis's; the directory holds others and stays");
    }
    done.open();
    process.shutdown.cancelled().await;
    Ok(())
}

fn remove_all(settings: &PurgeSettings) -> Result<Purged, PurgeError> {
    let PurgeSettings { directory, subdirectory, host_directory } = settings;
    let base = Base::open(directory, host_directory, subdirectory)?;
    let shown = base.shown();
    let unusable = |error: io::Error| PurgeError::Directory(format!("can't read or clear {shown}: {error}"));
    // On a node that no agent was ever on, a directory of that name is another's.
    if !base.has_store().map_err(unusable)? {
        return Ok(Purged { all: true, ..Purged::default() });
    }
    let directory = match Directory::open(&base) {
        Ok(directory) => directory,
        Err(OpenError::Locked) => return Err(PurgeError::InUse(shown)),
        Err(OpenError::Problem(problem)) => return Err(PurgeError::Directory(problem.message)),
    };
    let records = Index::load(&directory).map_err(unusable)?;
    let all = records.len();
    let mut purged = Purged::default();
    let mut failed = 0;
    for (path, digest) in records {
        match remove_one(&directory, &path, &digest) {
            Ok(true) => purged.removed.push(path),
            Ok(false) => purged.left.push(path),
            Err(error) => {
                failed += 1;
                warn!(path = directory.show(&path), %error, "can't be removed");
            }
        }
    }
    if failed > 0 {
        return Err(PurgeError::Files { failed, all, directory: shown });
    }
    let mut store = Store::load(&directory).map_err(unusable)?;
    store.keep(&directory, |_| false);
    purged.all = directory.dismantle(&base).map_err(unusable)?;
    Ok(purged)
}

/// Removes a file that holds what the index says. False where it holds something else and was left.
fn remove_one(directory: &Directory, path: &str, digest: &Digest) -> io::Result<bool> {
    let (namespace, leaf) = split(path);
    let ours = match directory.existing(namespace)? {
        None => true,
        Some(parent) => match examine(parent.as_fd(), leaf, digest)? {
            Condition::Intact { .. } => {
                remove(parent.as_fd(), leaf)?;
                true
            }
            Condition::Drifted(cause) => cause == Cause::Missing,
        },
    };
    // Forgotten in either case: what was left is somebody else's from now on.
    Index::forget(directory, path)?;
    if let Some(namespace) = namespace {
        directory.drop_namespace(namespace);
    }
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::*;
    use crate::disk::Staged;

    fn settings(mounted: &Path) -> PurgeSettings {
        PurgeSettings {
            directory: mounted.to_owned(),
            subdirectory: "profiles".to_owned(),
            host_directory: PathBuf::from("/var/lib/kubelet/seccomp"),
        }
    }

    /// Serves a file as the keeper does.
    fn serve(mounted: &Path, path: &str, content: &[u8]) {
        let base = Base::open(mounted, Path::new("/host"), "profiles").unwrap();
        let directory = Directory::open(&base).unwrap();
        let digest = Digest::of(content);
        Store::default().write(&directory, &digest, content).unwrap();
        Index::record(&directory, path, &digest).unwrap();
        let (namespace, leaf) = split(path);
        let parent = directory.namespace(namespace).unwrap();
        Staged::write(&directory, content).unwrap().publish(parent.as_fd(), leaf).unwrap();
    }

    #[test]
    fn a_directory_that_is_anothers_is_not_touched() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("profiles");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(
            remove_all(&settings(temporary.path())).unwrap(),
            Purged { all: true, ..Purged::default() }
        );
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_left_of_what_portcullis_wrote() {
        let temporary = tempfile::tempdir().unwrap();
        serve(temporary.path(), "base.json", b"a");
        serve(temporary.path(), "shop/web.json", b"b");
        fs::remove_file(temporary.path().join("profiles/shop/web.json")).unwrap();
        serve(temporary.path(), "shop/db.json", b"b");
        let purged = remove_all(&settings(temporary.path())).unwrap();
        assert_eq!(purged.removed, ["base.json", "shop/db.json", "shop/web.json"]);
        assert!(purged.all && purged.left.is_empty());
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "the sub-directory is still there");
        // A second run finds nothing to do.
        assert_eq!(
            remove_all(&settings(temporary.path())).unwrap(),
            Purged { all: true, ..Purged::default() }
        );
    }

    #[test]
    fn what_others_wrote_or_changed_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let profiles = temporary.path().join("profiles");
        serve(temporary.path(), "shop/web.json", b"a");
        serve(temporary.path(), "shop/changed.json", b"b");
        fs::write(profiles.join("shop/changed.json"), "by hand").unwrap();
        fs::write(profiles.join("foreign.json"), "x").unwrap();
        fs::write(temporary.path().join("beside.json"), "x").unwrap();
        let purged = remove_all(&settings(temporary.path())).unwrap();
        assert_eq!(
            (purged.removed, purged.left),
            (vec!["shop/web.json".into()], vec!["shop/changed.json".into()])
        );
        assert!(!purged.all);
        let mut left: Vec<_> = fs::read_dir(&profiles)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["foreign.json", "shop"], "the store is still there, or too much is gone");
        assert_eq!(fs::read_to_string(profiles.join("shop/changed.json")).unwrap(), "by hand");
        assert!(temporary.path().join("beside.json").exists());
    }

    #[test]
    fn links_and_hostile_records_lead_nowhere() {
        let temporary = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let victim = elsewhere.path().join("web.json");
        serve(temporary.path(), "shop/web.json", b"a");
        fs::write(&victim, "a").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o644)).unwrap();
        let shop = temporary.path().join("profiles/shop");
        fs::remove_dir_all(&shop).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &shop).unwrap();
        let error = remove_all(&settings(temporary.path())).unwrap_err();
        assert!(matches!(error, PurgeError::Files { failed: 1, all: 1, .. }), "{error}");
        assert!(victim.exists());
    }

    #[test]
    fn refuses_while_an_agent_works_there() {
        let temporary = tempfile::tempdir().unwrap();
        serve(temporary.path(), "shop/web.json", b"a");
        let base = Base::open(temporary.path(), Path::new("/host"), "profiles").unwrap();
        let _agent = Directory::open(&base).unwrap();
        let error = remove_all(&settings(temporary.path())).unwrap_err();
        assert!(error.to_string().contains("/var/lib/kubelet/seccomp/profiles"), "{error}");
        assert!(temporary.path().join("profiles/shop/web.json").exists());
    }
}
