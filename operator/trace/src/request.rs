//! The requests of ptrace(2) that a tracer needs.
//!
//! nix has safe functions for them, and can't pass on a real-time signal: its `Signal` has none, its `waitpid` fails on them. glibc
//! itself uses two (for setuid(2) and pthread_cancel(3) with threads), so a program would hang. It has no `PTRACE_LISTEN` either,
//! without which a stopped program does not go on.

use std::io;

use portcullis_profile::{filter::INSTRUCTION_BYTES, program::MAX_INSTRUCTIONS};
use rustix::process::Pid;

/// `PTRACE_EVENT_*` and their options: include/uapi/linux/ptrace.h.
pub(crate) const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

/// How a task goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// To the next entry or exit of a call, with this signal; 0 is none.
    Run(i32),
    /// It stays stopped, and says when SIGCONT comes.
    Listen,
    /// Untraced, with this signal; 0 is none.
    Detach(i32),
}

/// `struct ptrace_syscall_info` of include/uapi/linux/ptrace.h, with the entry's part of the union, the longest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallInfo {
    pub(crate) op: u8,
    padding: [u8; 3],
    /// `AUDIT_ARCH_*`.
    pub(crate) arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    /// Of an entry the call's number, of an exit what the call returned, a negative number where it failed.
    pub(crate) number: u64,
    /// Of an entry alone.
    pub(crate) arguments: [u64; 6],
}

/// `PTRACE_SYSCALL_INFO_ENTRY` and `PTRACE_SYSCALL_INFO_EXIT`
pub(crate) const ENTRY: u8 = 1;
pub(crate) const EXIT: u8 = 2;

/// Begins to trace a task without stopping it.
pub(crate) fn seize(pid: Pid) -> io::Result<()> {
    let options = usize::try_from(OPTIONS).unwrap_or_default();
    request(libc::PTRACE_SEIZE, pid, 0, options)
}

/// The same, of whose births and calls nothing is to be heard. It goes on when this process ends.
pub(crate) fn seize_without_options(pid: Pid) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, pid, 0, 0)
}

/// Stops a traced task.
pub(crate) fn interrupt(pid: Pid) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, pid, 0, 0)
}

/// Lets a stopped task go on.
pub(crate) fn resume(pid: Pid, how: Resume) -> io::Result<()> {
    let (what, signal) = match how {
        Resume::Run(signal) => (libc::PTRACE_SYSCALL, signal),
        Resume::Listen => (libc::PTRACE_LISTEN, 0),
        Resume::Detach(signal) => (libc::PTRACE_DETACH, signal),
    };
    request(what, pid, 0, usize::try_from(signal).unwrap_or_default())
}

#[cfg(target_env = "musl")]
type Kind = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Kind = libc::c_uint;

#[expect(unsafe_code, reason = "the C library's function takes its arguments as they come")]
fn request(kind: Kind, pid: Pid, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: the requests above take numbers, and none that is read or written as memory of this process.
    let answer = unsafe { libc::ptrace(kind, pid.as_raw_pid(), address, data) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What the kernel says of a task that stopped at a call.
#[expect(unsafe_code, reason = "the kernel writes into a structure of ours")]
pub(crate) fn call_info(pid: Pid) -> io::Result<CallInfo> {
    let mut info = CallInfo::default();
    let size = size_of::<CallInfo>();
    // SAFETY: the kernel writes at most `size` bytes at the address, and any bytes make a `CallInfo`.
    let answer =
        unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid.as_raw_pid(), size, &raw mut info) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(info) }
}

/// The process that sent the signal that a task is about to get; none where the kernel, a terminal or a timer did: sigaction(2), `si_code`.
#[expect(
    unsafe_code,
    reason = "the kernel writes into a structure of ours, of which a part depends on another"
)]
pub(crate) fn sender(pid: Pid) -> io::Result<Option<i32>> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the kernel writes one `siginfo_t` at the address.
    let answer = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, pid.as_raw_pid(), 0, info.as_mut_ptr()) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was all zeros, and the kernel has written it.
    let info = unsafe { info.assume_init() };
    let is_sent = matches!(info.si_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
    // SAFETY: these codes say that the sender's id is there.
    Ok(is_sent.then(|| unsafe { info.si_pid() }))
}

/// What a task's event says: of an execve(2), which thread made it.
#[expect(unsafe_code, reason = "the kernel writes into a number of ours")]
pub(crate) fn event_message(pid: Pid) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long at the address.
    let answer = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid.as_raw_pid(), 0, &raw mut message) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(message) }
}

/// `PTRACE_SECCOMP_GET_FILTER` and `PTRACE_SECCOMP_GET_METADATA` of include/uapi/linux/ptrace.h.
const GET_FILTER: Kind = 0x420c;
const GET_FILTER_METADATA: Kind = 0x420d;
/// `SECCOMP_FILTER_FLAG_LOG` of include/uapi/linux/seccomp.h.
const LOGS: u64 = 2;

/// A stopped task's filter, into a buffer with room for the longest one: how many instructions it has. The oldest filter has index 0:
/// ptrace(2) says that the newest has, and `get_nth_filter` in Linux' kernel/seccomp.c counts from the other end.
#[expect(unsafe_code, reason = "the kernel writes into a buffer of ours")]
pub(crate) fn filter(pid: Pid, index: usize, buffer: &mut [u8]) -> io::Result<usize> {
    if buffer.len() < MAX_INSTRUCTIONS * INSTRUCTION_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the kernel writes a filter at the address, which has at most as many instructions as the buffer has room for.
    let answer = unsafe { libc::ptrace(GET_FILTER, pid.as_raw_pid(), index, buffer.as_mut_ptr()) };
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// `struct seccomp_metadata` of include/uapi/linux/ptrace.h.
#[repr(C)]
struct Metadata {
    index: u64,
    flags: u64,
}

/// Whether the kernel logs what a stopped task's filter does.
#[expect(unsafe_code, reason = "the kernel writes into a structure of ours")]
pub(crate) fn filter_logs(pid: Pid, index: usize) -> io::Result<bool> {
    let mut metadata = Metadata { index: index as u64, flags: 0 };
    let size = size_of::<Metadata>();
    // SAFETY: the kernel reads and writes at most `size` bytes at the address, and any bytes make a `Metadata`.
    let answer = unsafe { libc::ptrace(GET_FILTER_METADATA, pid.as_raw_pid(), size, &raw mut metadata) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(metadata.flags & LOGS != 0) }
}
