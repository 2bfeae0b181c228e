//! From a path below the sub-directory back to the profile that it belongs to.

use portcullis_api::Owner;

/// The directory and the file name of a path: `shop/web.json` is `(Some("shop"), "web.json")`.
pub(crate) fn split(path: &str) -> (Option<&str>, &str) {
    match path.rsplit_once('/') {
        Some((namespace, leaf)) => (Some(namespace), leaf),
        None => (None, path),
    }
}

/// The path of a file in a namespace's directory, or in the root.
pub(crate) fn join(namespace: Option<&str>, leaf: &str) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{leaf}"),
        None => leaf.to_owned(),
    }
}

/// The profile whose file this is; none where no profile's path looks so.
///
/// What is read back from the disk passes here, so that nothing planted there becomes a path.
pub(crate) fn owner_of(path: &str) -> Option<Owner> {
    let (namespace, leaf) = split(path);
    let stem = leaf.strip_suffix(".json")?;
    let name = match stem.split_once('@') {
        Some((name, short)) => {
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (short.len() == 12 && short.bytes().all(hex)).then_some(name)?
        }
        None => stem,
    };
    match namespace {
        Some(namespace) => Owner::namespaced(namespace, name).ok(),
        None => Owner::cluster(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_profile::Digest;

    use super::*;

    #[test]
    fn finds_the_owner_of_every_path_that_is_derived() {
        let digest = Digest::of(b"x");
        for owner in [Owner::namespaced("shop", "web").unwrap(), Owner::cluster("base.v1").unwrap()] {
            for path in [owner.current_path(), owner.revision_path(&digest)] {
                assert_eq!(owner_of(&path), Some(owner.clone()), "{path}");
                let (namespace, leaf) = split(&path);
                assert_eq!(join(namespace, leaf), path);
            }
        }
    }

    #[test]
    fn nothing_planted_becomes_a_path() {
        for path in [
            "",
            "web",
            ".json",
            "../web.json",
            "a/../../web.json",
            "/etc/passwd.json",
            "shop//web.json",
            "shop/web@.json",
            "shop/web@0123456789ag.json",
            "shop/web@0123456789AB.json",
            "shop/web@0123456789abc.json",
            ".store/web.json",
            "shop/.web.json",
            "SHOP/web.json",
        ] {
            assert_eq!(owner_of(path), None, "{path:?} was taken");
        }
    }
}
