//! `operator/profile/data/constants.tsv`: the constants that arguments of system calls are written with.
//!
//! Source: the crate `linux-raw-sys`, which bindgen makes from the kernel's own uapi headers, one module for each
//! architecture. It is compiled for one architecture only, so its source text is read.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;

use super::Artefact;
use crate::workspace_root;

/// The columns: the crate's module for each architecture whose constants differ from those of the first.
///
/// arm64, riscv64 and x32 have x86-64's values for everything listed but a few `O_` flags.
const MODULES: &[&str] =
    &["x86_64", "x86", "aarch64", "arm", "loongarch64", "mips", "mips64", "powerpc", "powerpc64", "s390x"];

/// A set of constants: what it is called, which file of the crate has it, and which names belong to it.
struct Set {
    name: &'static str,
    file: &'static str,
    belongs: fn(&str) -> bool,
}

const SETS: &[Set] = &[
    Set { name: "domain", file: "net.rs", belongs: |name| starts(name, &["AF_"]) && name != "AF_MAX" },
    Set {
        name: "type",
        file: "net.rs",
        belongs: |name| {
            ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_RDM", "SOCK_SEQPACKET"].contains(&name)
        },
    },
    Set {
        name: "protocol",
        file: "net.rs",
        belongs: |name| starts(name, &["IPPROTO_"]) && name != "IPPROTO_MAX",
    },
    Set {
        name: "clone",
        file: "general.rs",
        belongs: |name| starts(name, &["CLONE_"]) && !starts(name, &["CLONE_ARGS_"]),
    },
    Set {
        name: "signal",
        file: "general.rs",
        belongs: |name| {
            starts(name, &["SIG"])
                && !name.contains('_')
                && !["SIGSTKSZ", "SIGRTMIN", "SIGUNUSED"].contains(&name)
        },
    },
    Set { name: "prctl", file: "prctl.rs", belongs: |name| starts(name, &["PR_"]) && !is_prctl_value(name) },
    Set { name: "fcntl", file: "general.rs", belongs: |name| starts(name, &["F_"]) && !is_fcntl_value(name) },
    Set { name: "ioctl", file: "ioctl.rs", belongs: |_| true },
    Set { name: "open", file: "general.rs", belongs: |name| starts(name, &["O_"]) && name != "O_ACCMODE" },
    Set { name: "prot", file: "general.rs", belongs: |name| starts(name, &["PROT_"]) },
    Set {
        name: "map",
        file: "general.rs",
        belongs: |name| starts(name, &["MAP_"]) && !starts(name, &["MAP_HUGE_", "MAP_TYPE"]),
    },
    Set {
        name: "mount",
        file: "general.rs",
        belongs: |name| starts(name, &["MS_"]) && !is_no_mount_flag(name),
    },
    Set {
        name: "ptrace",
        file: "ptrace.rs",
        belongs: |name| {
            starts(name, &["PTRACE_"])
                && !starts(
                    name,
                    &["PTRACE_O_", "PTRACE_EVENT_", "PTRACE_SYSCALL_INFO_", "PTRACE_PEEKSIGINFO_"],
                )
        },
    },
];

/// What the crate does not have, the same everywhere.
///
/// Source: include/linux/socket.h, include/linux/net.h and include/uapi/linux/personality.h of Linux 6.12.
const BESIDE: &[(&str, &str, u64)] = &[
    ("domain", "AF_LOCAL", 1),
    ("domain", "AF_ROUTE", 16),
    ("domain", "AF_IB", 27),
    ("domain", "AF_MPLS", 28),
    ("type", "SOCK_DCCP", 6),
    ("type", "SOCK_PACKET", 10),
    ("personality", "PER_LINUX", 0),
    ("personality", "PER_SVR4", 0x0410_0001),
    ("personality", "PER_BSD", 6),
    ("personality", "PER_LINUX32", 8),
    ("personality", "PER_LINUX32_3GB", 0x0800_0008),
    ("personality", "UNAME26", 0x002_0000),
    ("personality", "ADDR_NO_RANDOMIZE", 0x004_0000),
    ("personality", "FDPIC_FUNCPTRS", 0x008_0000),
    ("personality", "MMAP_PAGE_ZERO", 0x010_0000),
    ("personality", "ADDR_COMPAT_LAYOUT", 0x020_0000),
    ("personality", "READ_IMPLIES_EXEC", 0x040_0000),
    ("personality", "ADDR_LIMIT_32BIT", 0x080_0000),
    ("personality", "SHORT_INODE", 0x100_0000),
    ("personality", "WHOLE_SECONDS", 0x200_0000),
    ("personality", "STICKY_TIMEOUTS", 0x400_0000),
    ("personality", "ADDR_LIMIT_3GB", 0x800_0000),
];

fn starts(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a `PR_` name is a value of prctl(2)'s later arguments.
fn is_prctl_value(name: &str) -> bool {
    const VALUES: &[&str] = &[
        "PR_UNALIGN_",
        "PR_FPEMU_",
        "PR_FP_EXC_",
        "PR_TIMING_",
        "PR_ENDIAN_",
        "PR_TSC_",
        "PR_MCE_KILL_",
        "PR_SET_MM_",
        "PR_FP_MODE_",
        "PR_CAP_AMBIENT_",
        "PR_SVE_VL_",
        "PR_SPEC_",
        "PR_PAC_AP",
        "PR_TAGGED_",
        "PR_MTE_",
        "PR_PMLEN_",
        "PR_SYS_DISPATCH_",
        "PR_SCHED_CORE_",
        "PR_SME_VL_",
        "PR_MDWE_",
        "PR_SET_VMA_",
        "PR_RISCV_V_VSTATE_",
        "PR_RISCV_CTX_",
        "PR_RISCV_SCOPE_",
        "PR_PPC_DEXCR_",
        "PR_SHADOW_STACK_",
        "PR_TIMER_CREATE_RESTORE_IDS_",
        "PR_FUTEX_HASH_",
    ];
    starts(name, VALUES) && name != "PR_MCE_KILL_GET"
}

/// Whether an `F_` name is no command of fcntl(2).
fn is_fcntl_value(name: &str) -> bool {
    const VALUES: &[&str] = &["F_OWNER_", "F_SEAL_", "F_LINUX_SPECIFIC_BASE"];
    starts(name, VALUES) || ["F_OK", "F_RDLCK", "F_WRLCK", "F_UNLCK", "F_EXLCK", "F_SHLCK"].contains(&name)
}

/// Whether an `MS_` name is one of msync(2), or of the kernel's own.
fn is_no_mount_flag(name: &str) -> bool {
    ["MS_ASYNC", "MS_INVALIDATE", "MS_SYNC", "MS_RMT_MASK", "MS_MGC_VAL", "MS_MGC_MSK"].contains(&name)
}

/// The values of one constant, one for each of [`MODULES`].
type Row = Vec<Option<u64>>;

/// The table, which says of itself what it is generated from.
pub(super) fn artefact() -> Result<Artefact> {
    let (source, version) = source()?;
    let mut table: BTreeMap<(&str, String), Row> = BTreeMap::new();
    for (column, module) in MODULES.iter().enumerate() {
        for set in SETS {
            let path = source.join(module).join(set.file);
            let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
            for (name, value) in text.lines().filter_map(constant) {
                if (set.belongs)(name) {
                    row(&mut table, set.name, name)[column] = Some(value);
                }
            }
        }
        socket_types(&mut table, column, module);
        netlink_protocols(&mut table, column, &source.join(module).join("netlink.rs"))?;
    }
    for &(set, name, value) in BESIDE {
        row(&mut table, set, name).fill(Some(value));
    }
    let mut content = format!(
        "# Generated by `make generate` from the crate linux-raw-sys {version}; see README.md. An empty cell is the first \
         column's value, `-` none.\nset\tname\t{}\n",
        MODULES.join("\t")
    );
    for ((set, name), values) in &table {
        let cells: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(column, value)| match value {
                Some(_) if column > 0 && value == &values[0] => String::new(),
                Some(value) => value.to_string(),
                None => "-".to_owned(),
            })
            .collect();
        content.push_str(&format!("{set}\t{name}\t{}\n", cells.join("\t").trim_end_matches('\t')));
    }
    Ok(Artefact { path: PathBuf::from("operator/profile/data/constants.tsv"), content })
}

fn row<'t>(
    table: &'t mut BTreeMap<(&'static str, String), Row>,
    set: &'static str,
    name: &str,
) -> &'t mut Row {
    table.entry((set, name.to_owned())).or_insert_with(|| vec![None; MODULES.len()])
}

/// The types' flags are `O_` flags, and MIPS has its own numbers for the first two types.
///
/// Source: include/linux/net.h and arch/mips/include/asm/socket.h of Linux 6.12.
fn socket_types(table: &mut BTreeMap<(&'static str, String), Row>, column: usize, module: &str) {
    for (name, flag) in [("SOCK_CLOEXEC", "O_CLOEXEC"), ("SOCK_NONBLOCK", "O_NONBLOCK")] {
        let value = row(table, "open", flag)[column];
        row(table, "type", name)[column] = value;
    }
    if module.starts_with("mips") {
        row(table, "type", "SOCK_DGRAM")[column] = Some(1);
        row(table, "type", "SOCK_STREAM")[column] = Some(2);
    }
}

/// The protocols of a netlink socket; names that follow them in the header are socket options.
fn netlink_protocols(
    table: &mut BTreeMap<(&'static str, String), Row>,
    column: usize,
    path: &Path,
) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let named = text.lines().filter_map(constant).filter(|(name, _)| name.starts_with("NETLINK_"));
    for (name, value) in named.take_while(|&(name, _)| name != "NETLINK_ADD_MEMBERSHIP") {
        row(table, "protocol", name)[column] = Some(value);
    }
    Ok(())
}

/// `pub const NAME: u32 = 1;`, or a variant `NAME = 1,`.
fn constant(line: &str) -> Option<(&str, u64)> {
    if let Some(rest) = line.strip_prefix("pub const ") {
        let (name, value) = rest.split_once(": u32 = ").or_else(|| rest.split_once(": u64 = "))?;
        return Some((name, value.strip_suffix(';')?.parse().ok()?));
    }
    let (name, value) = line.strip_suffix(',')?.split_once(" = ")?;
    Some((name, value.parse().ok()?))
}

/// Where the crate's modules are, and its version.
fn source() -> Result<(PathBuf, String)> {
    let manifest = workspace_root()?.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).exec().context("cargo metadata fails")?;
    let package = metadata
        .packages
        .iter()
        .filter(|package| package.name == "linux-raw-sys")
        .max_by_key(|package| package.version.clone())
        .context("linux-raw-sys is not among the dependencies")?;
    let source = package.manifest_path.parent().context("a manifest is in a directory")?.join("src");
    Ok((source.into(), package.version.to_string()))
}
