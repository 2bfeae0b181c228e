//! Containers that are confined alike.

use portcullis_api::{DEFAULT_SUBDIRECTORY, Mode};
use portcullis_profile::Digest;
use serde::Serialize;

use crate::cluster::{
    pod::{Confinement, Container, Role, SetBy, SlimPod},
    profiles::Profile,
    sandbox::RuntimeClasses,
    usage::Paths,
    workload::Workload,
};

/// Profiles, and their paths.
pub(super) type Known<'p> = (&'p [Profile], &'p Paths<'p>);

/// The runtime of nodes whose kubelet speaks to Docker.
const CRI_DOCKERD: &str = "docker";
const CRIO: &str = "cri-o";

/// What is shown in one line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) workload: Workload,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    container: String,
    role: Role,
    /// How many pods have this container.
    pub(super) pods: usize,
    pub(super) confinement: Confinement,
    pub(super) set_by: SetBy,
    #[serde(skip_serializing_if = "Served::is_none")]
    profile: Served,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runtime_class: Option<String>,
    /// Whether its runtime class is a sandbox, in which what the pod asks for is not what the node's kernel enforces.
    pub(super) sandbox: bool,
    /// Whether no filter can be counted on.
    pub(super) uncovered: bool,
}

/// The profile behind a Localhost path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "found")]
pub(super) enum Served {
    /// It is not below Portcullis's directory.
    Foreign,
    /// It is, and no profile has it.
    Missing,
    /// Whether a profile has it is not known.
    Unknown,
    /// A profile has it.
    #[serde(rename_all = "camelCase")]
    Profile {
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<String>,
        audit: bool,
        /// Whether the container was started before the profile was made, by a runtime that goes on without the file.
        late: bool,
    },
    /// No path is named.
    None,
}

impl Served {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What containers that are shown in one line have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    confinement: Confinement,
    pub(super) workload: Workload,
    container: String,
    role: Role,
    set_by: SetBy,
    profile: Served,
    runtime: Option<String>,
    pub(super) runtime_class: Option<String>,
    pod: Option<(String, Option<String>)>,
}

impl Key {
    /// That of a running container; of one pod's alone where that is given.
    pub(super) fn of(
        container: Container<'_>,
        pod: &SlimPod,
        by_pod: Option<&SlimPod>,
        workload: Workload,
        known: Option<Known<'_>>,
    ) -> Self {
        Self {
            profile: served(&container, known),
            workload,
            container: container.name.to_owned(),
            role: container.role,
            set_by: container.set_by,
            // What all runtimes do alike is shown in one line.
            runtime: container
                .runtime
                .filter(|runtime| [CRI_DOCKERD, CRIO].contains(runtime))
                .map(str::to_owned),
            runtime_class: pod.spec.runtime_class_name.clone(),
            pod: by_pod
                .map(|pod| (pod.metadata.name.clone().unwrap_or_default(), pod.spec.node_name.clone())),
            confinement: container.confinement,
        }
    }
}

/// The profile behind a container's path.
pub(super) fn served(container: &Container<'_>, known: Option<Known<'_>>) -> Served {
    let Confinement::Localhost { path } = &container.confinement else { return Served::None };
    let ours = path.strip_prefix(DEFAULT_SUBDIRECTORY).is_some_and(|rest| rest.starts_with('/'));
    let Some((profiles, paths)) = known else { return Served::Unknown };
    match paths.find(path).and_then(|(index, revision)| Some((profiles.get(index)?, revision))) {
        Some((profile, revision)) => Served::Profile {
            kind: profile.owner.kind().as_str(),
            namespace: profile.owner.namespace().map(str::to_owned),
            name: profile.owner.name().to_owned(),
            revision: revision.as_ref().map(Digest::short),
            audit: profile.status.mode.unwrap_or(profile.mode) == Mode::Audit && revision.is_none(),
            late: container.runtime == Some(CRI_DOCKERD) && is_before(container, profile),
        },
        None if ours => Served::Missing,
        None => Served::Foreign,
    }
}

/// Whether a container started before its profile was made.
fn is_before(container: &Container<'_>, profile: &Profile) -> bool {
    let started = container.running.flatten();
    started.zip(profile.metadata.creation_timestamp.as_ref()).is_some_and(|(started, made)| started < made)
}

impl Line {
    pub(super) fn of(key: Key, pods: usize, classes: &RuntimeClasses) -> Self {
        let Key { confinement, workload, container, role, set_by, profile, runtime, runtime_class, pod } =
            key;
        let (pod, node) = pod.map_or((None, None), |(pod, node)| (Some(pod), node));
        let sandbox = runtime_class.as_deref().is_some_and(|class| classes.is_sandbox(class));
        let counted_on = !confinement.is_uncovered()
            && !matches!(profile, Served::Missing | Served::Profile { late: true, .. });
        Self {
            workload,
            pod,
            node,
            container,
            role,
            pods,
            confinement,
            set_by,
            profile,
            runtime,
            runtime_class,
            sandbox,
            uncovered: !sandbox && !counted_on,
        }
    }

    /// The lower, the riskier. A profile in Audit mode lets through what the runtime's default does.
    pub(super) fn risk(&self) -> u8 {
        if self.sandbox {
            return 9;
        }
        match (&self.confinement, &self.profile) {
            (Confinement::Privileged, _) => 0,
            (Confinement::Unconfined, _) | (_, Served::Profile { late: true, .. }) => 1,
            (Confinement::NotSet, _) => 2,
            (Confinement::Other { .. }, _) => 3,
            (Confinement::Localhost { .. }, Served::Missing) => 4,
            (Confinement::Localhost { .. }, Served::Foreign | Served::Unknown | Served::None) => 5,
            (Confinement::Localhost { .. }, Served::Profile { audit: true, .. }) => 6,
            (Confinement::RuntimeDefault, _) => 7,
            (Confinement::Localhost { .. }, Served::Profile { .. }) => 8,
            (Confinement::Windows, _) => 9,
        }
    }

    /// Whether the file that it names is nobody's.
    pub(super) fn names_nothing(&self) -> bool {
        !self.sandbox && self.profile == Served::Missing
    }

    /// Whether it is privileged on CRI-O, which may give it a filter all the same.
    ///
    /// Source: `setupSeccomp` in CRI-O's server/container_create_linux.go.
    pub(super) fn is_privileged_by_crio(&self) -> bool {
        self.confinement == Confinement::Privileged && self.runtime.as_deref() == Some(CRIO)
    }

    pub(super) fn container(&self) -> String {
        match self.role {
            Role::Ordinary => self.container.clone(),
            Role::Init => format!("{} (init)", self.container),
            Role::Ephemeral => format!("{} (ephemeral)", self.container),
        }
    }

    /// What the pod asks for, and where that is not what it gets.
    pub(super) fn confinement(&self) -> String {
        let label = self.confinement.label();
        if self.sandbox {
            return format!("{label} (in a sandbox)");
        }
        if self.is_privileged_by_crio() {
            return format!("{label} (CRI-O)");
        }
        label.to_owned()
    }

    pub(super) fn profile(&self) -> String {
        match &self.profile {
            Served::None | Served::Unknown => "-".to_owned(),
            Served::Foreign => "not Portcullis's".to_owned(),
            Served::Missing if self.runtime.as_deref() == Some(CRI_DOCKERD) => {
                "no such profile: runs without".to_owned()
            }
            Served::Missing => "no such profile".to_owned(),
            Served::Profile { namespace, name, revision, audit, late, .. } => {
                let kind = if namespace.is_some() { "sp" } else { "csp" };
                let mut text = format!("{kind}/{name}");
                if let Some(revision) = revision {
                    text += &format!("@{revision}");
                }
                if let Some(other) = namespace.as_ref().filter(|other| **other != self.workload.namespace) {
                    text += &format!(" of {other}");
                }
                if *audit {
                    text += " (Audit)";
                }
                if *late {
                    text += " (started before it, without)";
                }
                text
            }
        }
    }
}
