//! Containers by the names that people give them, as podman, docker and nerdctl keep them on disk. No program is asked.

use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use nix::unistd::User;
use portcullis_probe::ContainerId;
use serde::Deserialize;

/// The longest file that is read, in bytes: podman has one for all containers, with some KiB of each.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How many entries of a folder are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Where the programs keep their containers.
#[derive(Debug)]
pub(super) struct Roots {
    docker: Vec<PathBuf>,
    podman: Vec<PathBuf>,
    nerdctl: Vec<PathBuf>,
}

impl Roots {
    /// Where they do without a configuration that says otherwise: root's, this user's, and those of who ran sudo.
    ///
    /// Sources: docker's `--data-root`; `graphroot` of containers-storage.conf(5); nerdctl's `--data-root`.
    pub(super) fn of_this_machine() -> Self {
        let who_ran_sudo = env::var("SUDO_USER").ok().and_then(|name| User::from_name(&name).ok().flatten());
        let homes = [env::var_os("HOME").map(PathBuf::from), who_ran_sudo.map(|user| user.dir)];
        let with_own = |root: &str, own: &str| {
            let own = homes.iter().flatten().map(|home| home.join(own));
            std::iter::once(PathBuf::from(root)).chain(own).collect()
        };
        Self {
            docker: with_own("/var/lib/docker", ".local/share/docker"),
            podman: with_own("/var/lib/containers/storage", ".local/share/containers/storage"),
            nerdctl: with_own("/var/lib/nerdctl", ".local/share/nerdctl"),
        }
    }
}

/// The container of a name; `None` where none has it.
///
/// # Errors
/// Where several have it.
pub(super) fn find(name: &str, roots: &Roots) -> Result<Option<ContainerId>> {
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !is_name {
        return Ok(None);
    }
    let docker = roots.docker.iter().flat_map(|root| of_docker(root, name));
    let podman = roots.podman.iter().flat_map(|root| of_podman(root, name));
    let nerdctl = roots.nerdctl.iter().flat_map(|root| of_nerdctl(root, name));
    let mut found: Vec<ContainerId> =
        docker.chain(podman).chain(nerdctl).filter_map(|id| id.trim().parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    match found[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => {
            let ids: Vec<String> = found.iter().map(ToString::to_string).collect();
            bail!(
                "--container {name}: several containers have this name: give the id of one: {}",
                ids.join(", ")
            )
        }
    }
}

/// Docker has a folder for each container, and a file in it that says its name with a slash before it.
fn of_docker(root: &Path, name: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "ID")]
        id: String,
        #[serde(rename = "Name")]
        name: String,
    }
    let configs = entries(&root.join("containers"))
        .filter_map(|folder| serde_json::from_slice::<Config>(&read(&folder.join("config.v2.json"))?).ok());
    configs
        .filter(|config| config.name.strip_prefix('/').unwrap_or(&config.name) == name)
        .map(|config| config.id)
        .collect()
}

/// Podman and CRI-O have one list for all containers, and one for those that end with the machine.
///
/// Source: `Container` and `volatileContainerLocation` in containers/storage's `containers.go`.
fn of_podman(root: &Path, name: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Container {
        id: String,
        #[serde(default)]
        names: Option<Vec<String>>,
    }
    let drivers = entries(root).filter(|folder| {
        folder.file_name().is_some_and(|folder| folder.to_string_lossy().ends_with("-containers"))
    });
    let lists = drivers
        .flat_map(|driver| ["containers.json", "volatile-containers.json"].map(|list| driver.join(list)));
    lists
        .filter_map(|list| serde_json::from_slice::<Vec<Container>>(&read(&list)?).ok())
        .flatten()
        .filter(|container| container.names.iter().flatten().any(|own| own == name))
        .map(|container| container.id)
        .collect()
}

/// nerdctl has a file of each name that holds the id, by containerd's address and namespace.
///
/// Source: `New` and `Acquire` in nerdctl's `pkg/namestore/namestore.go`.
fn of_nerdctl(root: &Path, name: &str) -> Vec<String> {
    let namespaces = entries(root).flat_map(|address| entries(&address.join("names")));
    namespaces
        .filter_map(|namespace| String::from_utf8(read(&namespace.join(name))?).ok())
        .map(|id| id.trim().to_owned())
        .collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.take(MAX_ENTRIES).map(|entry| entry.path())
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let file = fs::File::open(file).ok().filter(|file| file.metadata().is_ok_and(|file| file.is_file()))?;
    file.take(MAX_BYTES).read_to_end(&mut content).ok()?;
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> String {
        format!("{number:064x}")
    }

    /// A machine with containers of all three.
    fn machine(folder: &Path) -> Roots {
        let write = |path: &str, content: String| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
            fs::write(path, content).expect("it is written");
        };
        let config =
            |number, name| format!(r#"{{"ID": "{}", "Name": "/{name}", "State": {{}}}}"#, id(number));
        write(&format!("docker/containers/{}/config.v2.json", id(1)), config(1, "web"));
        write(&format!("docker/containers/{}/config.v2.json", id(2)), config(2, "twice"));
        write("docker/containers/broken/config.v2.json", "{".to_owned());
        write(
            "podman/overlay-containers/containers.json",
            format!(r#"[{{"id": "{}", "names": ["db", "alias"]}}, {{"id": "{}"}}]"#, id(3), id(4)),
        );
        write(
            "podman/overlay-containers/volatile-containers.json",
            format!(r#"[{{"id": "{}", "names": ["gone-at-boot"]}}]"#, id(5)),
        );
        write("nerdctl/1935db59/names/default/twice", id(6));
        write("nerdctl/1935db59/names/k8s.io/job.1", format!("{}\n", id(7)));
        let root = |name: &str| vec![folder.join(name), folder.join("none")];
        Roots { docker: root("docker"), podman: root("podman"), nerdctl: root("nerdctl") }
    }

    #[test]
    fn names_are_found_where_each_program_keeps_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let roots = machine(folder.path());
        for (name, number) in [("web", 1), ("db", 3), ("alias", 3), ("gone-at-boot", 5), ("job.1", 7)] {
            assert_eq!(find(name, &roots).expect("one").map(|id| id.to_string()), Some(id(number)), "{name}");
        }
        for name in ["we", "/web", "../default/twice", "", "-web"] {
            assert_eq!(find(name, &roots).expect("none"), None, "{name}");
        }
        let said = find("twice", &roots).expect_err("two").to_string();
        assert!(said.contains("several containers have this name") && said.contains(&id(6)), "{said}");
    }
}
