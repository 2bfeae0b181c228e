//! Architectures, capabilities and kernels, as people name them on the command line.

use clap::{Args, ValueEnum};
use portcullis_profile::{
    Arch, Profile,
    docker::{self, ASSUMED_KERNEL, CAPABILITIES, Context, DEFAULT_CAPABILITIES, Kernel},
    evaluate::Runtime,
};

/// A container runtime on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeName {
    /// runc, 1.3 and later.
    Runc,
    /// crun.
    Crun,
}

impl From<RuntimeName> for Runtime {
    fn from(name: RuntimeName) -> Self {
        match name {
            RuntimeName::Runc => Self::Runc,
            RuntimeName::Crun => Self::Crun,
        }
    }
}

/// The nodes on which what a profile does is looked at.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Nodes {
    /// The nodes' architecture, for example arm64; this machine's where it is not set.
    #[arg(long, value_parser = parse_arch)]
    arch: Option<Arch>,
    /// The container runtime whose way with profiles counts.
    #[arg(long, value_enum, default_value_t = RuntimeName::Runc)]
    runtime: RuntimeName,
}

impl Nodes {
    pub(crate) fn arch(self) -> Arch {
        self.arch.unwrap_or_else(host_arch)
    }

    /// The named one; else every one that the profiles list, and this machine's where they list none.
    pub(crate) fn arches<'p>(self, profiles: impl IntoIterator<Item = &'p Profile> + Clone) -> Vec<Arch> {
        let unlisted = profiles.clone().into_iter().all(|profile| profile.architectures.is_empty());
        if self.arch.is_some() || unlisted { vec![self.arch()] } else { natives(profiles) }
    }

    pub(crate) fn runtime(self) -> Runtime {
        self.runtime.into()
    }
}

/// The container that Docker's format is read for; a command with no other architecture takes [`Node`].
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Docker's format")]
pub(crate) struct Container {
    /// A capability that the container adds, for example NET_ADMIN, or ALL
    #[arg(long = "cap", value_name = "CAP", value_delimiter = ',', value_parser = parse_capabilities)]
    added: Vec<String>,
    /// A default capability that the container drops, or ALL
    #[arg(long = "cap-drop", value_name = "CAP", value_delimiter = ',', value_parser = parse_capabilities)]
    dropped: Vec<String>,
    /// The nodes' kernel, for example 6.12, or as `uname -r` says it
    #[arg(long, value_name = "VERSION", default_value_t = ASSUMED_KERNEL, value_parser = Kernel::of_release)]
    kernel: Kernel,
}

impl Container {
    /// The container, on a node of an architecture.
    ///
    /// Source: `TweakCapabilities` in moby's `oci/caps/utils.go`.
    pub(crate) fn on(&self, arch: Arch) -> Context {
        let Self { added, dropped, kernel } = self;
        let has_all = |names: &[String]| names.iter().any(|name| name == ALL);
        let mut context = Context::default_capabilities(arch, *kernel);
        if has_all(added) {
            context.capabilities = CAPABILITIES.iter().map(ToString::to_string).collect();
            context.capabilities.retain(|name| !dropped.contains(name));
            return context;
        }
        if has_all(dropped) {
            context.capabilities.clear();
        }
        context.capabilities.retain(|name| !dropped.contains(name));
        context.capabilities.extend(added.iter().cloned());
        context
    }
}

/// The container and the node that Docker's format is read for.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Docker's format")]
pub(crate) struct Node {
    #[command(flatten)]
    container: Container,
    /// The nodes' architecture, for example arm64; this machine's where it is not set
    #[arg(long, value_parser = parse_arch)]
    arch: Option<Arch>,
}

impl Node {
    /// The container on the node.
    pub(crate) fn context(&self) -> Context {
        self.context_or(host_arch())
    }

    /// The same, on a node of another architecture than this machine's where none is set.
    pub(crate) fn context_or(&self, arch: Arch) -> Context {
        self.container.on(self.arch.unwrap_or(arch))
    }
}

/// The architecture of this machine; x86-64 where seccomp profiles have no name for it.
pub(crate) fn host_arch() -> Arch {
    Arch::host().unwrap_or(Arch::X86_64)
}

/// The architectures of the nodes that profiles are for; x86-64 where they list none.
pub(crate) fn natives<'p>(profiles: impl IntoIterator<Item = &'p Profile> + Clone) -> Vec<Arch> {
    let listed =
        |arch: &Arch| profiles.clone().into_iter().any(|profile| profile.architectures.contains(arch));
    let natives: Vec<Arch> = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::S390x, Arch::Ppc64le]
        .into_iter()
        .filter(listed)
        .collect();
    if natives.is_empty() { vec![Arch::X86_64] } else { natives }
}

/// An architecture by the name that profiles, Kubernetes, libseccomp or uname(1) use.
pub(crate) fn parse_arch(text: &str) -> Result<Arch, String> {
    let uname = match text {
        "x86_64" => Some(Arch::X86_64),
        "aarch64" => Some(Arch::Aarch64),
        "i386" | "i686" => Some(Arch::X86),
        "armv7l" => Some(Arch::Arm),
        _ => None,
    };
    uname
        .or_else(|| docker::arch_of(text))
        .or_else(|| Arch::ALL.iter().copied().find(|arch| arch.as_str().eq_ignore_ascii_case(text)))
        .ok_or_else(|| "no architecture: write for example amd64, arm64 or SCMP_ARCH_S390X".to_owned())
}

/// A capability, with or without `CAP_`, in either case.
fn parse_capability(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    if CAPABILITIES.contains(&name.as_str()) {
        Ok(name)
    } else {
        Err("no capability: write for example CAP_NET_ADMIN, SYS_ADMIN or ALL".to_owned())
    }
}

/// Every capability.
const ALL: &str = "ALL";

/// A capability, or [`ALL`] of them.
fn parse_capabilities(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case(ALL) { Ok(ALL.to_owned()) } else { parse_capability(text) }
}

/// A container without added capabilities, on a node of an architecture.
pub(crate) fn usual_container(arch: Arch) -> Context {
    Context::default_capabilities(arch, ASSUMED_KERNEL)
}

/// What to know of a profile in Docker's format that was read for a container and node, where so many of its rules don't apply.
pub(crate) fn dockers(context: &Context, left_out: usize) -> String {
    let rules = match left_out {
        0 => String::new(),
        1 => "; 1 rule doesn't apply there".to_owned(),
        count => format!("; {count} rules don't apply there"),
    };
    format!("Docker's format, read for {}{rules}", describe(context))
}

/// A container and node in words.
fn describe(context: &Context) -> String {
    let place = format!("on {}, Linux {}", docker::arch_name(context.arch), context.kernel);
    if CAPABILITIES.iter().all(|cap| context.capabilities.contains(*cap)) {
        return format!("all {} capabilities, {place}", CAPABILITIES.len());
    }
    let usual = DEFAULT_CAPABILITIES;
    let added: Vec<&str> =
        context.capabilities.iter().map(String::as_str).filter(|cap| !usual.contains(cap)).collect();
    let dropped: Vec<&str> =
        usual.iter().copied().filter(|cap| !context.capabilities.contains(*cap)).collect();
    let mut capabilities = match dropped.len() {
        0 => format!("the {} default capabilities", usual.len()),
        count if count == usual.len() => "no default capabilities".to_owned(),
        _ => format!("the default capabilities without {}", dropped.join(", ")),
    };
    if !added.is_empty() {
        capabilities += &format!(" and {}", added.join(", "));
    }
    format!("{capabilities}, {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_have_many_names() {
        for (name, arch) in [
            ("amd64", Arch::X86_64),
            ("x86_64", Arch::X86_64),
            ("SCMP_ARCH_X86_64", Arch::X86_64),
            ("arm64", Arch::Aarch64),
            ("aarch64", Arch::Aarch64),
            ("scmp_arch_arm", Arch::Arm),
            ("386", Arch::X86),
            ("x86", Arch::X86),
            ("mips64le", Arch::Mipsel64),
        ] {
            assert_eq!(parse_arch(name), Ok(arch), "{name}");
        }
        assert!(parse_arch("vax").is_err());
    }

    #[test]
    fn capabilities_are_named_with_or_without_their_prefix() {
        assert_eq!(parse_capability("sys_admin"), Ok("CAP_SYS_ADMIN".to_owned()));
        assert_eq!(parse_capability("CAP_BPF"), Ok("CAP_BPF".to_owned()));
        assert!(parse_capability("ALL").is_err());
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_docker_does_it() {
        let context = |added: &[&str], dropped: &[&str]| {
            let names = |list: &[&str]| list.iter().map(|name| parse_capabilities(name).unwrap()).collect();
            let container =
                Container { added: names(added), dropped: names(dropped), kernel: ASSUMED_KERNEL };
            container.on(Arch::X86_64)
        };
        let all = context(&["all"], &[]);
        assert_eq!(all.capabilities.len(), CAPABILITIES.len());
        assert_eq!(describe(&all), "all 41 capabilities, on amd64, Linux 5.10");
        assert_eq!(context(&["ALL"], &["bpf"]).capabilities.len(), CAPABILITIES.len() - 1);
        assert_eq!(context(&[], &["ALL"]).capabilities.len(), 0);
        assert_eq!(Vec::from_iter(context(&["bpf"], &["all"]).capabilities), ["CAP_BPF"]);
        assert_eq!(context(&["bpf"], &["net_raw"]).capabilities.len(), DEFAULT_CAPABILITIES.len());
    }

    #[test]
    fn a_container_is_described_by_what_is_unusual_in_it() {
        let mut context = usual_container(Arch::X86_64);
        assert_eq!(describe(&context), "the 14 default capabilities, on amd64, Linux 5.10");
        context.capabilities.remove("CAP_NET_RAW");
        context.capabilities.insert("CAP_BPF".to_owned());
        assert_eq!(
            describe(&context),
            "the default capabilities without CAP_NET_RAW and CAP_BPF, on amd64, Linux 5.10"
        );
    }
}
