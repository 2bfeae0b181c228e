//! An emulated machine: a kernel, and a root file system in memory that records two commands and powers off.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use portcullis_runtimes::output;

use crate::{
    kernel::{Kernel, Processor},
    programs,
};

/// A machine that takes longer is switched off: emulation takes 30 to 70 s.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is run: the same command recorded by eBPF and by ptrace, and once more under a filter that denies its call.
const INIT: &str = r#"#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mount -t cgroup2 cgroup /sys/fs/cgroup
$b mount -t bpf bpf /sys/fs/bpf
$b mount -t tmpfs tmp /tmp
cd /tmp
echo "== release"
$b uname -r
run() {
  name=$1; shift
  echo "== $name"
  /bin/kubectl-seccomp record --file "./$name.json" "$@" 2>&1
  code=$?
  echo "== $name exit"
  echo $code
  echo "== $name profile"
  $b cat "./$name.json"
  echo
}
run ebpf --method ebpf -- /bin/busybox mkdir ./made
run ptrace --method ptrace -- /bin/busybox mkdir ./traced
run denied --method ebpf -- /bin/denier /bin/busybox mkdir ./denied
echo "== made"
$b ls
echo "== end"
$b poweroff -f
"#;

/// What a machine wrote, by section.
#[derive(Debug)]
pub(crate) struct Said {
    text: String,
    /// From its start to its end.
    pub(crate) took: Duration,
}

impl Said {
    /// What stands below a heading.
    pub(crate) fn section(&self, name: &str) -> Result<&str> {
        let heading = format!("== {name}\n");
        let (_, after) = self.text.split_once(&heading).with_context(|| {
            format!("the machine never came to {name:?}; it said:\n{}", last_lines(&self.text))
        })?;
        Ok(after.split("\n== ").next().unwrap_or(after).trim())
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Boots a machine, and gives what it wrote.
///
/// # Errors
/// Where the emulator is missing, or the machine does not come to its end.
pub(crate) fn boot(kernel: &Kernel) -> Result<Said> {
    let image = kernel.image()?;
    let folder = tempfile::tempdir()?;
    let initrd = initramfs(kernel.processor, folder.path())?;
    let begun = Instant::now();
    let mut emulator = emulator(kernel.processor);
    emulator.arg("-kernel").arg(image).arg("-initrd").arg(initrd);
    emulator.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running =
        emulator.spawn().with_context(|| format!("{emulator:?} can't be started: is it installed?"))?;
    let mut console = running.stdout.take().context("the emulator has an output")?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        console.read_to_end(&mut bytes).map(|_| bytes)
    });
    while running.try_wait()?.is_none() {
        if begun.elapsed() > PATIENCE {
            running.kill()?;
            running.wait()?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let bytes = match reader.join() {
        Ok(bytes) => bytes?,
        Err(_) => bail!("the console's reader panicked"),
    };
    let text = String::from_utf8_lossy(&bytes).replace('\r', "");
    Ok(Said { text, took: begun.elapsed() })
}

fn emulator(processor: Processor) -> Command {
    let (program, machine, console): (&str, &[&str], &str) = match processor {
        Processor::Amd64 => ("qemu-system-x86_64", &["-cpu", "max"], "ttyS0"),
        // Without pauth-impdef every pointer's signature is worked out by QARMA, which takes most of the time.
        Processor::Arm64 => (
            "qemu-system-aarch64",
            &["-machine", "virt,gic-version=3", "-cpu", "max,pauth-impdef=on"],
            "ttyAMA0",
        ),
    };
    let mut emulator = Command::new(program);
    emulator.args(machine);
    emulator.args([
        "-accel",
        "tcg,thread=multi",
        "-m",
        "1024",
        "-smp",
        "2",
        "-nographic",
        "-no-reboot",
        "-nic",
        "none",
    ]);
    emulator.arg("-append").arg(format!("console={console} panic=-1 quiet"));
    emulator
}

/// A root file system in the form that the kernel unpacks.
///
/// Source: Documentation/driver-api/early-userspace/buffer-format.rst in the kernel.
fn initramfs(processor: Processor, folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    for made in ["bin", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(root.join(made))?;
    }
    fs::copy(programs::busybox(processor)?, root.join("bin/busybox"))?;
    fs::copy(programs::kubectl_seccomp(processor)?, root.join("bin/kubectl-seccomp"))?;
    programs::denier(processor, &root.join("bin/denier"))?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    let initrd = folder.join("initrd");
    let archive = format!("find . | cpio --quiet -o -H newc > {}", initrd.display());
    output(Command::new("sh").args(["-c", &archive]).current_dir(&root))?;
    Ok(initrd)
}
