//! The platform whose image is wanted.

use std::{fmt, str::FromStr};

use portcullis_profile::Arch;

/// An operating system, an architecture in Go's words, and a variant of it, such as `linux/arm64/v8`.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md>, `platform`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The operating system, `linux` where profiles are of use.
    pub os: String,
    /// The architecture, such as `amd64`.
    pub architecture: String,
    /// The architecture's variant, where it matters.
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on the architecture that this program was built for.
    #[must_use]
    pub fn local() -> Self {
        let architecture = Arch::host().and_then(Arch::goarch).unwrap_or(std::env::consts::ARCH);
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// The architecture in the words of profiles; x86-64 where they have none for it.
    #[must_use]
    pub fn arch(&self) -> Arch {
        Arch::from_goarch(&self.architecture).unwrap_or(Arch::X86_64)
    }

    /// Whether something built for `os/architecture/variant` is wanted.
    pub(crate) fn matches(&self, os: &str, architecture: &str, variant: Option<&str>) -> bool {
        let same_variant = self.variant.as_deref().is_none_or(|wanted| variant == Some(wanted));
        self.os == os && self.architecture == architecture && same_variant
    }
}

/// A text that is no platform.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write os/architecture or os/architecture/variant, such as linux/arm64")]
pub struct InvalidPlatform;

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let part = |text: &str| {
            let valid = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            valid.then(|| text.to_owned()).ok_or(InvalidPlatform)
        };
        let mut parts = text.split('/');
        let (os, architecture) = (parts.next(), parts.next());
        let platform = Self {
            os: part(os.unwrap_or_default())?,
            architecture: part(architecture.unwrap_or_default())?,
            variant: parts.next().map(part).transpose()?,
        };
        parts.next().is_none().then_some(platform).ok_or(InvalidPlatform)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_the_architecture_that_go_names() {
        for (text, arch) in [
            ("linux/386", Arch::X86),
            ("linux/arm64/v8", Arch::Aarch64),
            ("linux/mips64le", Arch::Mipsel64),
            ("linux/ppc64", Arch::Ppc64),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().arch(), arch, "{text}");
        }
    }

    #[test]
    fn a_platform_is_two_or_three_words() {
        let arm: Platform = "linux/arm64/v8".parse().unwrap();
        assert_eq!(arm.to_string(), "linux/arm64/v8");
        assert!(arm.matches("linux", "arm64", Some("v8")));
        assert!(!arm.matches("linux", "arm64", None));
        assert!("linux/arm64".parse::<Platform>().unwrap().matches("linux", "arm64", Some("v8")));
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/am d64"] {
            assert_eq!(text.parse::<Platform>(), Err(InvalidPlatform), "{text}");
        }
    }
}
