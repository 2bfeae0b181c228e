//! The machine under test: cgroups like a kubelet's, the subject, and a probe of a node's own.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    ops::{Deref, DerefMut},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_probe::{
    Call, ContainerId, Count, Hierarchy, PodUid, Probe, Recorded, Settings, Snapshot, Start, Target, Watch,
    uninstall,
};

pub(crate) const FILTERED: Watch = Watch { tag: 1, start: Start::Filter, group: 0, denials: false };
pub(crate) const DENIALS: Watch = Watch { denials: true, ..FILTERED };

static BPFFS: Mutex<()> = Mutex::new(());
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A number that nothing else on the machine has now.
fn unique() -> u64 {
    u64::from(std::process::id()) << 32 | u64::from(NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Where pins are, in the BPF file system, which is mounted if it is not.
pub(crate) fn pins() -> PathBuf {
    let _one_at_a_time = BPFFS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests load eBPF programs and make cgroups: run them as root"
    );
    let path = PathBuf::from("/sys/fs/bpf");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts can be read");
    if !mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf")) {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("bpf", &path, "bpf", flags, None).expect("the BPF file system can be mounted");
    }
    let pins = path.join("portcullis");
    sweep(&pins);
    pins
}

/// What the name of a test's node begins with in its pins' directory.
const PINS: &str = "portcullis_test-";

/// Takes away what tests left that were killed: attached programs, which every process of the machine would pay for.
fn sweep(pins: &Path) {
    let left = fs::read_dir(pins).into_iter().flatten().filter_map(Result::ok);
    for node in left.filter_map(|entry| entry.file_name().into_string().ok()) {
        let number = node.strip_prefix(PINS).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        if number.is_some_and(|number| !Path::new(&format!("/proc/{}", number >> 32)).exists()) {
            // Another test binary may be at it too.
            let _ = uninstall(pins, &node.replace('_', "."));
        }
    }
}

/// The hierarchies that the machine has, with where they are mounted.
pub(crate) fn hierarchies() -> Vec<(Hierarchy, PathBuf)> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts can be read");
    let found: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let [_, path, kind, options, ..] = fields.as_slice() else { return None };
            match *kind {
                "cgroup2" => Some((Hierarchy::Unified, PathBuf::from(path))),
                "cgroup" if options.split(',').any(|option| option == "pids") => {
                    Some((Hierarchy::Pids, PathBuf::from(path)))
                }
                _ => None,
            }
        })
        .collect();
    assert!(
        !found.is_empty(),
        "no hierarchy with the pids controller is mounted: the tests need cgroup v1's or v2"
    );
    found
}

/// cgroup v2, mounted until this is dropped: a hierarchy that every kernel has, with or without controllers in it.
pub(crate) struct Unified(tempfile::TempDir);

impl Unified {
    pub(crate) fn mount() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("cgroup2", directory.path(), "cgroup2", flags, None)
            .expect("cgroup v2 can be mounted");
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Unified {
    fn drop(&mut self) {
        let unmounted = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH);
        // What is mounted there is the machine's: nothing below it may be removed.
        self.0.disable_cleanup(unmounted.is_err());
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

/// A node: a probe, and the cgroup below which its pods are.
pub(crate) struct Node {
    pub(crate) settings: Settings,
    probe: Option<Probe>,
    pub(crate) root: Cgroup,
}

impl Node {
    /// A node in the hierarchy that the machine's container runtime uses.
    pub(crate) fn new() -> Self {
        let own = Hierarchy::of_this_machine().expect("cgroups are mounted");
        let mount =
            hierarchies().into_iter().find(|(hierarchy, _)| *hierarchy == own).expect("it is mounted").1;
        Self::configured(own, &mount, |_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let own = Hierarchy::of_this_machine().expect("cgroups are mounted");
        let mount =
            hierarchies().into_iter().find(|(hierarchy, _)| *hierarchy == own).expect("it is mounted").1;
        Self::configured(own, &mount, change)
    }

    pub(crate) fn configured(hierarchy: Hierarchy, mount: &Path, change: impl FnOnce(&mut Settings)) -> Self {
        let root = Cgroup::make(mount, "/", &format!("portcullis-test-{:x}", unique()));
        let mut settings =
            Settings::of_node(format!("portcullis.test-{:x}", unique())).expect("cgroups are mounted");
        settings.pins = pins();
        settings.hierarchy = hierarchy;
        settings.scope = Some(root.path.parse().expect("a path"));
        change(&mut settings);
        let probe = Probe::open(&settings).expect("the probe opens");
        Self { settings, probe: Some(probe), root }
    }

    /// Ends the process that holds the probe, as far as the kernel can tell.
    pub(crate) fn close(&mut self) {
        self.probe = None;
    }

    pub(crate) fn reopen(&mut self) {
        self.probe = Some(Probe::open(&self.settings).expect("the probe opens again"));
    }

    /// A pod's cgroup, as the kubelet's cgroupfs driver names it.
    pub(crate) fn pod(&self) -> Pod {
        let uid = uid();
        let cgroup = self.root.child(&format!("pod{uid}"));
        Pod { uid, cgroup }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.settings.pins.join(self.settings.node.replace('.', "_"))
    }
}

impl Deref for Node {
    type Target = Probe;

    fn deref(&self) -> &Probe {
        self.probe.as_ref().expect("the probe is open")
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Probe {
        self.probe.as_mut().expect("the probe is open")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.probe = None;
        let removed = uninstall(&self.settings.pins, &self.settings.node);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// A pod and its cgroup.
pub(crate) struct Pod {
    pub(crate) uid: PodUid,
    pub(crate) cgroup: Cgroup,
}

impl Pod {
    pub(crate) fn target(&self) -> Target {
        Target::Pod(self.uid)
    }

    /// A container's cgroup, as the cgroupfs driver names it.
    pub(crate) fn container(&self) -> (ContainerId, Cgroup) {
        let id = container_id();
        (id, self.cgroup.child(&id.to_string()))
    }
}

pub(crate) fn uid() -> PodUid {
    let unique = unique();
    format!("{:08x}-0000-4000-8000-{:012x}", unique & 0xffff_ffff, unique >> 32).parse().expect("a UID")
}

/// What names the cgroup of a static pod.
pub(crate) fn hash() -> PodUid {
    format!("{:032x}", unique()).parse().expect("a hash")
}

pub(crate) fn container_id() -> ContainerId {
    format!("{:064x}", unique()).parse().expect("an id")
}

/// A cgroup that goes with this value.
pub(crate) struct Cgroup {
    directory: PathBuf,
    /// Below the hierarchy's root.
    pub(crate) path: String,
}

impl Cgroup {
    fn make(above: &Path, path: &str, name: &str) -> Self {
        let directory = above.join(name);
        fs::create_dir(&directory).expect("a cgroup can be made");
        Self { directory, path: format!("{}/{name}", path.trim_end_matches('/')) }
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        Self::make(&self.directory, &self.path, name)
    }

    /// A cgroup for each name, each below the one before.
    pub(crate) fn nest<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Nested {
        let mut nested = Nested(Vec::new());
        for name in names {
            let next = nested.0.last().unwrap_or(self).child(name);
            nested.0.push(next);
        }
        nested
    }

    /// The kernel's number for it.
    pub(crate) fn number(&self) -> u64 {
        fs::metadata(&self.directory).expect("it is there").ino()
    }

    /// Starts the subject in this cgroup. It goes on when it is told to.
    pub(crate) fn start(&self, steps: &[&str]) -> Subject {
        let mut child = Command::new(&*SUBJECT)
            .arg("wait")
            .args(steps)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the subject starts");
        // Before that, the execve(2) that starts it may still be under way, and would be the cgroup's.
        until("the subject waits", || waits_in_read(child.id()));
        fs::write(self.directory.join("cgroup.procs"), child.id().to_string())
            .expect("a process can be moved");
        let input = child.stdin.take().expect("it has an input");
        Subject { child, input }
    }

    /// Runs the subject in this cgroup from beginning to end.
    pub(crate) fn run(&self, steps: &[&str]) -> ExitStatus {
        let mut subject = self.start(steps);
        subject.go_on();
        subject.end()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was waited for leaves its cgroup a moment later.
        let until = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.directory).is_err() && self.directory.exists() {
            if Instant::now() > until {
                assert!(std::thread::panicking(), "{} can't be removed", self.directory.display());
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Cgroups in each other, which go with this value. Used as the innermost.
pub(crate) struct Nested(Vec<Cgroup>);

impl Deref for Nested {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        self.0.last().expect("there is one")
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// The subject at work.
pub(crate) struct Subject {
    child: Child,
    input: std::process::ChildStdin,
}

impl Subject {
    /// Lets it go on from its next `wait`.
    pub(crate) fn go_on(&mut self) {
        self.input.write_all(b".").expect("the subject reads");
    }

    /// Lets it go on from the `wait` that it is at, until it waits again. A process that was woken this moment still looks asleep, so
    /// that it must have gone to sleep once more.
    pub(crate) fn go_on_to_next_wait(&mut self) {
        let id = self.id();
        until("the subject waits", || waits_in_read(id));
        let before = sleeps(id);
        self.go_on();
        until("the subject waits again", || waits_in_read(id) && sleeps(id) > before);
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked for").is_none()
    }

    pub(crate) fn end(mut self) -> ExitStatus {
        self.child.wait().expect("the subject ends")
    }
}

/// Whether a process sleeps in read(2), whose number is 0. `/proc/<pid>/syscall` says `running` of one that does not sleep.
pub(crate) fn waits_in_read(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/syscall")).is_ok_and(|text| text.starts_with("0 "))
}

/// How often a process has gone to sleep.
fn sleeps(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the subject lives");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number of switches")
}

/// The subject's program.
pub(crate) static SUBJECT: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/subject.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("subject-{}", std::process::id()));
    let compiled = Command::new("gcc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-nostdlib", "-static", "-ffreestanding"])
        .args(["-fno-stack-protector", "-fno-pie", "-no-pie", "-o"])
        .args([&program, &source])
        .status()
        .expect("gcc is needed to compile the subject");
    assert!(compiled.success(), "gcc refused {}", source.display());
    program
});

/// The container's record.
pub(crate) fn of(snapshot: &Snapshot, id: ContainerId) -> &Recorded {
    let found: Vec<_> =
        snapshot.containers.iter().filter(|recorded| recorded.container.id == Some(id)).collect();
    assert_eq!(found.len(), 1, "{id} in {snapshot:#?}");
    found[0]
}

/// How often each call was made, by name; calls of other architectures have theirs in front.
pub(crate) fn counts(calls: &BTreeMap<Call, Count>) -> BTreeMap<String, u64> {
    let named = |call: &Call| {
        let name = call.name().map_or_else(|| call.number.to_string(), str::to_owned);
        let arch = call.arch.map_or("unknown", |arch| arch.as_str()).trim_start_matches("SCMP_ARCH_");
        if arch == "X86_64" { name } else { format!("{arch}/{name}") }
    };
    calls.iter().map(|(call, count)| (named(call), count.count)).collect()
}

/// What a container has been counted to do until now; nothing for one that was not seen yet.
pub(crate) fn counted(node: &Node, id: ContainerId) -> BTreeMap<String, u64> {
    let snapshot = node.snapshot().expect("a snapshot");
    let found = snapshot.containers.iter().find(|recorded| recorded.container.id == Some(id));
    found.map(|recorded| counts(&recorded.calls)).unwrap_or_default()
}

/// What a test expects.
pub(crate) fn expect<const N: usize>(calls: [(&str, u64); N]) -> BTreeMap<String, u64> {
    calls.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// Waits until something holds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "still not after 10 s: {what}");
        std::thread::yield_now();
    }
}
