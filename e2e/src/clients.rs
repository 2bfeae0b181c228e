//! `kubectl` and `helm`: those built with the local cluster, or those of a user whose cluster is used instead.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{Binaries, Client, settings::Settings};

/// The clients that the tests and the demonstration run.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) kubectl: PathBuf,
    pub(crate) helm: PathBuf,
}

impl Clients {
    pub(crate) fn of_local(binaries: &Binaries) -> Self {
        Self { kubectl: binaries.path("kubectl"), helm: binaries.path("helm") }
    }

    /// The user's own, which fit their cluster; what is not in `PATH` is built.
    ///
    /// # Errors
    /// Where Go is missing or a build fails.
    pub(crate) fn of_user(settings: &Settings) -> Result<Self> {
        let own = |client: Client| in_path(client.name()).map_or_else(|| client.ensure(settings), Ok);
        Ok(Self { kubectl: own(Client::Kubectl)?, helm: own(Client::Helm)? })
    }
}

/// The first program of a name in the folders of `PATH`.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    in_folders(name, &std::env::var_os("PATH").unwrap_or_default())
}

fn in_folders(name: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|program| is_executable(program))
}

fn is_executable(program: &Path) -> bool {
    program.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_is_found_in_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = std::env::join_paths([Path::new("/nowhere/at/all"), folder.path()]).unwrap();
        let program = folder.path().join("helm");
        std::fs::write(&program, "").unwrap();
        assert_eq!(in_folders("helm", &path), None);
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(in_folders("helm", &path), Some(program));
    }
}
