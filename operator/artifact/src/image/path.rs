//! A path in an image.

use std::{fmt, str::FromStr};

use crate::error::shown;

/// The components of an absolute path in an image, none of them `.` or `..`; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath(Vec<String>);

/// The components of a name in an archive; `None` where it leaves the root.
pub(super) fn components(name: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.contains(&"..")).then_some(parts)
}

impl FilePath {
    pub(super) fn components(&self) -> &[String] {
        &self.0
    }

    /// Where the path leads when its first `depth` components are a link to `target`.
    ///
    /// As chroot(2) has it, `..` at the root is the root.
    pub(super) fn through(&self, depth: usize, target: &str) -> Result<Self, String> {
        let parent = depth.saturating_sub(1);
        let mut parts: Vec<&str> = Vec::new();
        if !target.starts_with('/') {
            parts.extend(self.0.iter().take(parent).map(String::as_str));
        }
        for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                parts.pop();
            } else {
                parts.push(part);
            }
        }
        parts.extend(self.0.iter().skip(depth).map(String::as_str));
        if parts.is_empty() {
            return Err(format!("{self} is a link to the root directory"));
        }
        Ok(Self(parts.into_iter().map(str::to_owned).collect()))
    }
}

impl FromStr for FilePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = components(text).filter(|parts| !parts.is_empty() && !text.ends_with('/'));
        let parts =
            parts.ok_or_else(|| format!("{:?} is no path of a file: write one without ..", shown(text)))?;
        Ok(Self(parts.into_iter().map(str::to_owned).collect()))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", shown(&self.0.join("/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_the_root() {
        let path: FilePath = "/a/b/c".parse().unwrap();
        for (depth, target, wanted) in [
            (3, "x", "/a/b/x"),
            (3, "../x", "/a/x"),
            (3, "/x/./y", "/x/y"),
            (2, "x", "/a/x/c"),
            (1, "/x", "/x/b/c"),
            (1, "../../x", "/x/b/c"),
        ] {
            assert_eq!(path.through(depth, target).unwrap().to_string(), wanted);
        }
        assert!(path.through(3, "/").is_err());
    }

    #[test]
    fn a_path_names_a_file() {
        assert_eq!("seccomp//./p.json".parse::<FilePath>().unwrap().to_string(), "/seccomp/p.json");
        for text in ["", "/", "/a/../b", "/a/"] {
            assert!(text.parse::<FilePath>().is_err(), "{text}");
        }
    }
}
