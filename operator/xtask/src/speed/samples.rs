//! Files to read, as large as those of a long run.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use portcullis_profile::Arch;

/// How long a log is, in bytes.
const LOG: u64 = 1_000_000_000;

/// A file of many lines.
pub(super) struct Log {
    pub(super) path: String,
    pub(super) megabytes: f64,
    pub(super) lines: u64,
    /// What grep(1) looks for in it: a word of an eighth of the lines.
    pub(super) word: &'static str,
}

/// The runtime's default profile as a file.
pub(super) fn runtime_default(folder: &Path) -> Result<String> {
    let path = folder.join("runtime-default.json");
    let profile =
        &portcullis_profile::runtime_default(Arch::X86_64).context("x86-64 has a runtime default")?.profile;
    std::fs::write(&path, profile.render())?;
    Ok(path.display().to_string())
}

/// Lines as `strace -f -tt -T -y -o` writes them, in the mix of a small server.
pub(super) fn strace(folder: &Path) -> Result<Log> {
    log(folder, "app.strace", "openat", |at, line| {
        let (pid, us) = (4000 + at % 16, at % 1_000_000);
        write!(line, "{pid}  21:11:07.{us:06} ")?;
        match at % 8 {
            0 => write!(
                line,
                "epoll_wait(6<anon_inode:[eventpoll]>, [{{events=EPOLLIN, data={{u32=9}}}}], 512, -1) = 1 <0.000132>"
            ),
            1 => write!(
                line,
                "recvfrom(9<TCP:[10.0.0.1:80->10.0.0.2:{pid}]>, \"GET / HTTP/1.1\\r\\n\"..., 1024, 0, NULL, NULL) = 74 <0.000014>"
            ),
            2 => write!(
                line,
                "openat(AT_FDCWD</>, \"/var/www/index.html\", O_RDONLY|O_NONBLOCK) = 10</var/www/index.html> <0.00002>"
            ),
            3 => write!(
                line,
                "fstat(10</var/www/index.html>, {{st_mode=S_IFREG|0644, st_size=612, ...}}) = 0 <0.000011>"
            ),
            4 => write!(line, "futex(0x7f10a2c0, FUTEX_WAIT_PRIVATE, 0, NULL <unfinished ...>"),
            5 => write!(line, "<... futex resumed>) = 0 <0.000391>"),
            6 => write!(line, "ioctl(10</dev/pts/0>, TCGETS, {{c_iflag=ICRNL, ...}}) = 0 <0.000007>"),
            _ => write!(line, "close(10</var/www/index.html>) = 0 <0.000009>"),
        }
    })
}

/// Records of type 1326 as auditd writes them.
pub(super) fn audit(folder: &Path) -> Result<Log> {
    log(folder, "audit.log", "syscall=41", |at, line| {
        let (pid, milliseconds) = (4000 + at % 16, at % 1000);
        let call = [0, 1, 41, 42, 59, 257, 202, 16][usize::try_from(at % 8).unwrap_or_default()];
        write!(
            line,
            "type=SECCOMP msg=audit(1795475685.{milliseconds:03}:{at}): auid=4294967295 uid=0 gid=0 ses=4294967295 pid={pid} \
             comm=\"nginx\" exe=\"/usr/sbin/nginx\" sig=0 arch=c000003e syscall={call} compat=0 ip=0x7f3b11c0{pid} code=0x7ffc0000"
        )
    })
}

fn log(
    folder: &Path,
    name: &str,
    word: &'static str,
    mut write_line: impl FnMut(u64, &mut Vec<u8>) -> std::io::Result<()>,
) -> Result<Log> {
    let path = folder.join(name);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let (mut bytes, mut lines, mut line) = (0, 0, Vec::new());
    while bytes < LOG {
        line.clear();
        write_line(lines, &mut line)?;
        line.push(b'\n');
        file.write_all(&line)?;
        bytes += line.len() as u64;
        lines += 1;
    }
    file.flush()?;
    Ok(Log { path: path.display().to_string(), megabytes: bytes as f64 / 1e6, lines, word })
}
