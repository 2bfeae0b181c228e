//! The images that tests and demonstrations use, made of the machine's Debian programs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::{Image, NON_ROOT};
use crate::{
    command::{command, output},
    paths::{Paths, hex},
    progress,
};

/// The container that holds a pod's namespaces.
pub const PAUSE: &str = "localhost/pause:1";
/// Debian's static busybox with all its applets.
pub const BUSYBOX: &str = "localhost/busybox:1";
/// Debian's nginx on port 8080 as a user that is not root, with busybox and Perl for `kubectl exec`.
pub const NGINX: &str = "localhost/nginx:1";

/// Debian's redis on port 6379 as a user that is not root, with its clients and busybox.
pub const REDIS: &str = "localhost/redis:1";
/// Clients that make load: Debian's wrk and redis-benchmark, with busybox.
pub const LOAD: &str = "localhost/load:1";

/// Names that busybox does not get: its own, and that of an applet which crashes in Debian 12's static build
/// (`busybox wget http://127.0.0.1/` ends with a segmentation fault). `nc` works.
const LEFT_OUT: [&str; 2] = ["busybox", "wget"];
/// Counts up when an image is made in another way.
const RECIPE: &str = "4";

const NGINX_CONFIGURATION: &str = "\
daemon off;
worker_processes 2;
error_log stderr notice;
pid /tmp/nginx.pid;
events { worker_connections 1024; }
http {
    default_type text/plain;
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server {
        listen 8080;
        root /usr/share/nginx/html;
    }
}
";
const USERS: &str = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n";

/// The programs that the images are made of.
struct Programs {
    busybox: PathBuf,
    nginx: PathBuf,
    perl: PathBuf,
    redis: [PathBuf; 3],
    wrk: PathBuf,
}

impl Programs {
    fn find() -> Result<Self> {
        Ok(Self {
            busybox: find(&["/usr/bin/busybox", "/bin/busybox"])?,
            nginx: find(&["/usr/sbin/nginx"])?,
            // Essential on Debian, so that it is there, in Debian's images of nginx too.
            perl: find(&["/usr/bin/perl"])?,
            redis: [
                find(&["/usr/bin/redis-server"])?,
                find(&["/usr/bin/redis-cli"])?,
                find(&["/usr/bin/redis-benchmark"])?,
            ],
            wrk: find(&["/usr/bin/wrk"])?,
        })
    }

    /// The archives of the images, named after what is in them.
    fn archives(&self, paths: &Paths) -> Result<Vec<PathBuf>> {
        let [server, cli, benchmark] = &self.redis;
        let key = key(&[&self.busybox, &self.nginx, &self.perl, server, cli, benchmark, &self.wrk])?;
        let archive = |name: &str| paths.images().join(format!("{name}-{key}.tar"));
        Ok(["pause", "busybox", "nginx", "redis", "load"].map(archive).into())
    }
}

/// The archives that a cluster which starts now has, made or not.
///
/// # Errors
/// Where a program that they hold is not installed.
pub(crate) fn archives(paths: &Paths) -> Result<Vec<PathBuf>> {
    Programs::find()?.archives(paths)
}

/// Makes the archives that are missing or older than the programs in them, and gives the paths of all.
pub(crate) fn ensure(paths: &Paths) -> Result<Vec<PathBuf>> {
    let programs = Programs::find()?;
    let archives = programs.archives(paths)?;
    if archives.iter().any(|archive| !archive.exists()) {
        progress::step("pack the base images pause, busybox, nginx, redis and load", || {
            for (image, archive) in images(&programs)?.iter().zip(&archives) {
                image.write_archive(archive)?;
            }
            Ok(())
        })?;
    }
    Ok(archives)
}

/// In the order of their archives.
fn images(programs: &Programs) -> Result<[Image; 5]> {
    let Programs { busybox, nginx, perl, redis, wrk } = programs;
    let [server, cli, benchmark] = redis;
    let mut redis = with_programs(Image::new(REDIS)?, &[server, cli])?.folder("/data", 0o777);
    redis.entrypoint = vec![server.display().to_string()];
    redis.user = Some(NON_ROOT.to_owned());
    let mut load = with_programs(Image::new(LOAD)?, &[wrk, benchmark])?;
    load.user = Some(NON_ROOT.to_owned());
    Ok([
        pause(busybox)?,
        with_applets(Image::new(BUSYBOX)?, busybox)?,
        with_applets(nginx_image(nginx, perl)?, busybox)?,
        with_applets(redis, busybox)?,
        with_applets(load, busybox)?,
    ])
}

/// Adds programs and what they load, under the machine's own paths.
fn with_programs(mut image: Image, programs: &[&Path]) -> Result<Image> {
    for program in programs {
        image = image.copy(program, &program.display().to_string(), 0o755)?;
        for library in libraries(program)? {
            image = image.copy(&library, &library, 0o755)?;
        }
    }
    Ok(image)
}

fn find(candidates: &[&str]) -> Result<PathBuf> {
    let found = candidates.iter().map(PathBuf::from).find(|path| path.exists());
    found.with_context(|| format!("{} is not installed", candidates.join(" or ")))
}

fn key(programs: &[&Path]) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(RECIPE);
    hash.update(NGINX_CONFIGURATION);
    for program in programs {
        hash.update(read(program)?);
    }
    Ok(hex(&hash.finalize())[..12].to_owned())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("can't read {}", file.display()))
}

fn pause(busybox: &Path) -> Result<Image> {
    let mut image = Image::new(PAUSE)?.copy(busybox, "/bin/busybox", 0o755)?;
    image.entrypoint = vec!["/bin/busybox".to_owned(), "sleep".to_owned(), "infinity".to_owned()];
    image.user = Some("65535:65535".to_owned());
    Ok(image)
}

/// Adds busybox under all its names. A name that the image has already stays what it is.
fn with_applets(image: Image, busybox: &Path) -> Result<Image> {
    let applets = output(&mut command(&busybox.to_string_lossy(), ["--list-full"]))?;
    let mut image = image.copy(busybox, "/bin/busybox", 0o755)?.folder("/tmp", 0o1777);
    for applet in applets.lines() {
        let name = applet.rsplit('/').next().unwrap_or(applet);
        if !LEFT_OUT.contains(&name) && !image.files.contains_key(applet) {
            image = image.link(applet, "/bin/busybox");
        }
    }
    if image.entrypoint.is_empty() && image.command.is_empty() {
        image.command = vec!["sh".to_owned()];
    }
    Ok(image.file("/etc/passwd", USERS, 0o644).file("/etc/group", GROUPS, 0o644))
}

fn nginx_image(nginx: &Path, perl: &Path) -> Result<Image> {
    let mut image = with_programs(Image::new(NGINX)?, &[nginx, perl])?
        .file("/etc/nginx/nginx.conf", NGINX_CONFIGURATION, 0o644)
        .file("/usr/share/nginx/html/index.html", "nginx serves\n", 0o644)
        .folder("/var/log/nginx", 0o777)
        .folder("/var/lib/nginx", 0o777);
    image.entrypoint = vec!["/usr/sbin/nginx".to_owned()];
    image.user = Some(NON_ROOT.to_owned());
    Ok(image)
}

/// The shared libraries of a program and its loader, under the paths where the loader looks for them.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let text = output(command("ldd", [] as [&str; 0]).arg(program))?;
    Ok(parse_ldd(&text))
}

/// Reads lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f..)` and `/lib64/ld-linux-x86-64.so.2 (0x7f..)`.
fn parse_ldd(text: &str) -> Vec<String> {
    let path = |line: &str| {
        let file = line.split_once("=>").map_or(line, |(_, file)| file);
        let file = file.split_whitespace().next()?;
        file.starts_with('/').then(|| file.to_owned())
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f3c)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f3c)\n";
        assert_eq!(parse_ldd(text), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
