//! What a container got, as the kernel tells it from outside: no filter of the container's own can change that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::request::Request;

/// One property of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Property {
    /// Some things of which more is more.
    Set(BTreeSet<String>),
    /// Anything else.
    Word(String),
}

/// The properties of a process, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed(BTreeMap<String, Property>);

const CAPABILITIES: [(&str, &str); 5] = [
    ("CapInh", "inheritable"),
    ("CapPrm", "permitted"),
    ("CapEff", "effective"),
    ("CapBnd", "bounding"),
    ("CapAmb", "ambient"),
];
/// Lines of `status`, and how they are called here.
const LINES: [(&str, &str); 6] = [
    ("Uid", "uid"),
    ("Gid", "gid"),
    ("NoNewPrivs", "no_new_privs"),
    ("Seccomp", "seccomp"),
    ("Seccomp_filters", "filters"),
    ("Umask", "umask"),
];
const NAMESPACES: [&str; 2] = ["mnt", "pid"];

impl Observed {
    /// Reads what there is to know of a process.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let read = |name: &str| fs::read_to_string(folder.join(name)).with_context(|| format!("no {name}"));
        let status = read("status")?;
        let line = |name: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(|rest| rest.split_whitespace().collect::<Vec<_>>()).unwrap_or_default()
        };
        let mut all = BTreeMap::new();
        for (name, here) in LINES {
            all.insert(here.to_owned(), Property::Word(line(name).join(" ")));
        }
        let groups = line("Groups").into_iter().map(str::to_owned).collect();
        all.insert("groups".to_owned(), Property::Set(groups));
        for (name, here) in CAPABILITIES {
            let bits = line(name).concat();
            let bits = u64::from_str_radix(&bits, 16).with_context(|| format!("{name} is {bits:?}"))?;
            let set = (0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit: u32| bit.to_string());
            all.insert(here.to_owned(), Property::Set(set.collect()));
        }
        let leads = line("NSsid").last() == line("NSpid").last();
        all.insert("session".to_owned(), Property::Word(leads.to_string()));
        all.insert("descriptors".to_owned(), Property::Set(descriptors(&folder)?));
        let cwd = fs::read_link(folder.join("cwd"))?;
        all.insert("cwd".to_owned(), Property::Word(cwd.display().to_string()));
        all.insert("limits".to_owned(), Property::Word(read("limits")?));
        // Not there where the kernel has no such module.
        let label = read("attr/current").unwrap_or_default();
        all.insert("label".to_owned(), Property::Word(label.trim().to_owned()));
        // Root owns the files of a process that isn't dumpable.
        let owner = fs::metadata(folder.join("status"))?.uid().to_string();
        let dumpable = line("Uid").get(1) == Some(&owner.as_str());
        all.insert("dumpable".to_owned(), Property::Word(dumpable.to_string()));
        for namespace in NAMESPACES {
            let of = |folder: &Path| fs::read_link(folder.join("ns").join(namespace));
            let own = of(&folder)? != of(Path::new("/proc/self"))?;
            all.insert(format!("{namespace} namespace"), Property::Word(own.to_string()));
        }
        Ok(Self(all))
    }

    /// What differs from what another one got.
    pub(crate) fn effect(&self, expected: &Self) -> Effect {
        let (mut kept, mut lacking) = (Vec::new(), Vec::new());
        for (name, here) in &self.0 {
            match (here, expected.0.get(name)) {
                (here, Some(there)) if here == there => {}
                (Property::Set(here), Some(Property::Set(there))) if here.is_subset(there) => {
                    lacking.push(name.as_str());
                }
                _ => kept.push(name.as_str()),
            }
        }
        if !kept.is_empty() {
            return Effect::Keeps(kept.join(", "));
        }
        if lacking.is_empty() { Effect::Same } else { Effect::Lacks(lacking.join(", ")) }
    }

    /// Whether this is what was asked for, as far as a request says.
    pub(crate) fn check(&self, request: Request, no_new_privs: bool) -> Result<()> {
        let word = |name: &str| match self.0.get(name) {
            Some(Property::Word(word)) => word.clone(),
            Some(Property::Set(set)) => set.iter().cloned().collect::<Vec<_>>().join(" "),
            None => String::new(),
        };
        let id = [request.id().to_string(), request.id().to_string()].join(" ");
        let ids = format!("{id} {id}");
        let groups: Vec<String> = request.groups().iter().map(ToString::to_string).collect();
        // CAP_CHOWN is 0, CAP_NET_BIND_SERVICE 10.
        let [most, at_once, inherited] = match request {
            Request::User => ["", "", ""],
            Request::Some => ["0 10", "10", "10"],
            Request::Root => ["0 10", "0 10", ""],
        };
        let nnp = u8::from(no_new_privs).to_string();
        for (name, wanted) in [
            ("uid", ids.as_str()),
            ("gid", &ids),
            ("groups", &groups.join(" ")),
            ("bounding", most),
            ("permitted", at_once),
            ("effective", at_once),
            ("inheritable", inherited),
            ("ambient", inherited),
            ("no_new_privs", &nnp),
            ("seccomp", "2"),
            ("cwd", "/work"),
        ] {
            ensure!(word(name) == wanted, "{name} is {:?} and should be {wanted:?}", word(name));
        }
        Ok(())
    }
}

/// Number and target of each descriptor of something that is not on the process's own mounts, without what tells one pipe or process
/// from another. What is on them the container reaches without a descriptor: crun has files of the container's own /proc open.
fn descriptors(folder: &Path) -> Result<BTreeSet<String>> {
    let mounts = fs::read_to_string(folder.join("mountinfo"))?;
    let mounts: BTreeSet<&str> = mounts.lines().filter_map(|line| line.split(' ').next()).collect();
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder.join("fd"))? {
        let entry = entry?;
        let details = fs::read_to_string(folder.join("fdinfo").join(entry.file_name()))?;
        let mount = details.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
        if mount.is_some_and(|mount| mounts.contains(mount)) {
            continue;
        }
        let target = fs::read_link(entry.path())?.display().to_string();
        let unnumbered = target.replace(|character: char| character.is_ascii_digit(), "");
        all.insert(format!("{} {unnumbered}", entry.file_name().display()));
    }
    Ok(all)
}

/// What became of a container, against what becomes of it under the runtime default.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It got the same.
    Same,
    /// It didn't start.
    Fails,
    /// It got more, or something else: the names of the properties.
    Keeps(String),
    /// It got less.
    Lacks(String),
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::Fails => f.write_str("fails"),
            Self::Keeps(what) => write!(f, "keeps {what}"),
            Self::Lacks(what) => write!(f, "lacks {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(bounding: &[&str], uid: &str) -> Observed {
        let set = bounding.iter().map(ToString::to_string).collect();
        Observed(
            [("bounding".to_owned(), Property::Set(set)), ("uid".to_owned(), Property::Word(uid.to_owned()))]
                .into(),
        )
    }

    #[test]
    fn more_is_kept_less_is_lacking() {
        let expected = observed(&["0", "10"], "1000");
        for (bounding, uid, effect) in [
            (&["0", "10"][..], "1000", "same"),
            (&["0"], "1000", "lacks bounding"),
            (&["0", "10", "21"], "1000", "keeps bounding"),
            (&["0", "21"], "1000", "keeps bounding"),
            (&["0", "10"], "0", "keeps uid"),
            (&["0", "10", "21"], "0", "keeps bounding, uid"),
            (&["0"], "0", "keeps uid"),
        ] {
            assert_eq!(observed(bounding, uid).effect(&expected).to_string(), effect);
        }
    }

    #[test]
    fn a_process_is_read() {
        let own = Observed::of(std::process::id().try_into().unwrap()).unwrap();
        assert_eq!(own.effect(&own), Effect::Same);
        assert!(own.check(Request::User, true).is_err());
    }
}
