//! The name that was probably meant.

use super::names;

/// The known name nearest to one that no table has, where one is near enough to be worth saying.
///
/// Near is a Damerau-Levenshtein distance of 1 for names up to four characters, 2 for longer ones; of equally
/// near names the first in alphabetical order. Case doesn't count.
#[must_use]
pub fn suggest(unknown: &str) -> Option<&'static str> {
    // No known name is longer; a text out of a hostile document must not cost quadratic time.
    const LONGEST: usize = 40;
    let unknown = unknown.trim().to_ascii_lowercase();
    if unknown.is_empty() || unknown.len() > LONGEST {
        return None;
    }
    // The prefixes of the C library's and the kernel's own symbols.
    let bare = ["sys_", "__nr_", "syscall_"].iter().find_map(|prefix| unknown.strip_prefix(prefix));
    let meant = bare.unwrap_or(&unknown);
    let limit = if meant.len() <= 4 { 1 } else { 2 };
    names()
        .map(|name| (strsim::damerau_levenshtein(meant, name), name))
        .filter(|&(distance, _)| distance <= limit)
        .min()
        .map(|(_, name)| name)
}
