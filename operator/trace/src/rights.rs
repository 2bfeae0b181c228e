//! Rights that a program's file gives to whoever executes it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::getxattr,
    process::{Pid, getegid, geteuid},
};

/// The program that a task has just executed, where its file gives rights that this process has not, and what gives them.
pub(crate) fn of_program(pid: Pid) -> Option<(PathBuf, &'static str)> {
    let exe = PathBuf::from(format!("/proc/{}/exe", pid.as_raw_pid()));
    let rights = of_file(&exe)?;
    Some((fs::read_link(&exe).unwrap_or(exe), rights))
}

fn of_file(file: &Path) -> Option<&'static str> {
    const SETUID: u32 = 0o4000;
    /// Without the right to execute for the group it marks files for locking: inode(7).
    const SETGID: u32 = 0o2010;
    let metadata = fs::metadata(file).ok()?;
    let mode = metadata.permissions().mode();
    if mode & SETUID != 0 && metadata.uid() != geteuid().as_raw() {
        return Some("setuid");
    }
    if mode & SETGID == SETGID && metadata.gid() != getegid().as_raw() {
        return Some("setgid");
    }
    // xattr(7): of 20 or 24 bytes.
    let mut capabilities = [0_u8; 64];
    let length = getxattr(file, "security.capability", &mut capabilities).ok()?;
    (length > 0).then_some("file capabilities")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_that_give_rights_are_told() {
        let folder = std::env::temp_dir().join(format!("portcullis-rights-{}", std::process::id()));
        fs::write(&folder, "x").expect("a file");
        let mut told = Vec::new();
        for mode in [0o755, 0o4755, 0o2644, 0o2755] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("its mode changes");
            told.push(of_file(&folder));
        }
        fs::remove_file(&folder).expect("it goes");
        // Its owner has its rights already.
        assert_eq!(told, [None; 4]);
        let others = ["/usr/bin/su", "/bin/su", "/usr/bin/passwd"].map(Path::new);
        if let Some(setuid) = others.iter().find(|path| path.exists() && !geteuid().is_root()) {
            assert_eq!(of_file(setuid), Some("setuid"));
        }
    }
}
