//! CRI-O's default, from the document of containers-common that Debian packages, and what CRI-O itself changes in it.
//!
//! CRI-O's modules are not in every Go module proxy's reach, and its package needs libseccomp's headers.

mod sockets;

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use portcullis_profile::{
    Arch, Profile,
    docker::{self, Context, Kernel},
};
use portcullis_runtimes::Debian;
use serde_json::{Value, json};

/// The branch of CRI-O whose changes [`changed`] makes. 1.35, 1.36 and 1.37 make the same to the same document: what
/// containers-common changed between their version (0.66.2-0.20260126213724-1e46b0756b39) and 0.67.1 is about CAP_PERFMON alone.
pub(super) const BRANCH: &str = "1.37";

/// The Debian package that has the document, and its file.
pub(super) const PACKAGE: &str = "golang-github-containers-common";
const FILE: &str = "usr/share/containers/seccomp.json";
/// The suite of Debian that gets new versions first.
const SUITE: &str = "sid";

/// What CRI-O gives a container that asks for no others: less than containerd, without AUDIT_WRITE, MKNOD, NET_RAW, SETFCAP and
/// SYS_CHROOT among others. So its default denies `chroot` and the sockets of NETLINK_AUDIT.
///
/// Source: `Default` in CRI-O's `internal/config/capabilities/capabilities_linux.go`, v1.37.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
];

/// The newest packaged document, and its package's version.
pub(super) struct Packaged {
    pub(super) version: String,
    document: Value,
}

impl Packaged {
    /// Fetches the package.
    pub(super) fn newest() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        let debian = Debian::new(root, SUITE)
            .context("CRI-O's default is taken from a package of Debian, which apt-get is needed for")?;
        let version = debian.version(PACKAGE)?;
        debian.extract(&[PACKAGE], &root.join("package"))?;
        let document =
            fs::read(root.join("package").join(FILE)).with_context(|| format!("{PACKAGE} has no {FILE}"))?;
        Ok(Self { version, document: serde_json::from_slice(&document).context(FILE)? })
    }

    /// The default for a container without added capabilities, on nodes of an architecture.
    pub(super) fn default(&self, arch: Arch) -> Result<Profile> {
        // No rule asks for a kernel.
        let kernel = Kernel { version: 6, patch_level: 12 };
        let capabilities: BTreeSet<String> = CAPABILITIES.iter().map(ToString::to_string).collect();
        let context = Context { capabilities, arch, kernel };
        let mut profile = docker::resolve(&changed(&self.document)?, &context).context(FILE)?.profile;
        sockets::make_disjoint(&mut profile.syscalls)?;
        Ok(profile)
    }
}

/// What CRI-O makes of the document: calls that make namespaces need CAP_SYS_ADMIN.
///
/// Source: `DefaultProfile` in CRI-O's `internal/config/seccomp/seccomp.go`, v1.34 to v1.37.
fn changed(document: &Value) -> Result<Value> {
    const NAMESPACES: [&str; 3] = ["clone", "clone3", "unshare"];
    /// CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET.
    const FLAGS: [u64; 7] =
        [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
    let mut document = document.clone();
    let rules = document["syscalls"].as_array_mut().context("syscalls is no list")?;
    let usual = |rule: &&mut Value| {
        rule["action"] == "SCMP_ACT_ALLOW"
            && rule["names"].as_array().is_some_and(|names| names.contains(&json!("clone")))
    };
    let usual = rules.iter_mut().find(usual).context("no rule allows clone")?;
    let names = usual["names"].as_array_mut().context("names is no list")?;
    for name in NAMESPACES {
        let before = names.len();
        names.retain(|one| one != name);
        ensure!(names.len() + 1 == before, "{name} is not where CRI-O takes it away");
    }
    let masked = |flag: u64, value: u64| json!({"index": 0, "value": flag, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"});
    let admin = json!({"caps": ["CAP_SYS_ADMIN"]});
    rules.extend([
        json!({"names": NAMESPACES, "action": "SCMP_ACT_ALLOW", "includes": admin}),
        json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [masked(FLAGS.iter().sum(), 0)]}),
        json!({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errno": "EPERM", "excludes": admin,
               "args": FLAGS.map(|flag| masked(flag, flag))}),
        json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errno": "ENOSYS", "excludes": admin}),
    ]);
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_make_namespaces_are_taken_away() {
        let allowing = |names: &[&str]| json!({"names": names, "action": "SCMP_ACT_ALLOW"});
        let document =
            |names: &[&str]| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allowing(names)]});
        let changed = changed(&document(&["read", "clone", "clone3", "unshare"])).unwrap();
        let resolved = |capabilities: &[&str]| {
            let capabilities = capabilities.iter().map(ToString::to_string).collect();
            let context =
                Context { capabilities, arch: Arch::X86_64, kernel: Kernel { version: 6, patch_level: 12 } };
            docker::resolve(&changed, &context).unwrap().profile
        };
        let rules = |profile: &Profile, name: &str| {
            profile
                .syscalls
                .iter()
                .filter(|rule| rule.names.iter().any(|one| one == name))
                .cloned()
                .collect::<Vec<_>>()
        };
        let usual = resolved(CAPABILITIES);
        assert_eq!(rules(&usual, "read").len(), 1);
        assert_eq!(rules(&usual, "unshare"), []);
        assert_eq!(rules(&usual, "clone")[0].args[0].value, 0x7e02_0000);
        assert_eq!(rules(&usual, "clone3")[0].errno_ret, Some(38));
        assert_eq!(rules(&resolved(&["CAP_SYS_ADMIN"]), "unshare").len(), 1);
        assert!(super::changed(&document(&["read", "clone"])).is_err());
    }
}
