//! What one namespace, and the cluster, may have. What is beyond is refused in words, and what is in force stays so.

use portcullis_api::{Owner, Reason};

use crate::{revisions::Amount, settings::Bounds, status::Stall};

/// A bound as a number of objects.
pub(crate) fn usize_of(bound: u32) -> usize {
    usize::try_from(bound).unwrap_or(usize::MAX)
}

fn refused(message: String) -> Stall {
    Stall { reason: Reason::NamespaceLimit, message }
}

/// Refuses a profile that is among the newest of too many, of which there are so many.
pub(super) fn newest_of_too_many(bounds: &Bounds, namespace: &str, there_are: usize) -> Stall {
    refused(format!(
        "namespace {namespace} has {there_are} SeccompProfiles, of which the {} oldest are served: delete some, or have an administrator \
         raise bounds.profilesPerNamespace (--max-profiles-per-namespace)",
        bounds.max_profiles_per_namespace
    ))
}

/// Refuses a new revision of so many bytes where the namespace, or the cluster, has as many as it may.
pub(super) fn new_revision(
    bounds: &Bounds,
    owner: &Owner,
    of_namespace: Amount,
    of_all: usize,
    bytes: usize,
) -> Option<Stall> {
    let namespace = owner.namespace()?;
    let limit = bounds.max_revisions_per_namespace;
    if of_namespace.number >= usize_of(limit) {
        return Some(refused(format!(
            "namespace {namespace} has {} revisions of its profiles, and may have {limit}: set a lower spec.revisionHistoryLimit, delete \
             profiles, or have an administrator raise bounds.revisionsPerNamespace (--max-revisions-per-namespace)",
            of_namespace.number
        )));
    }
    let limit = u64::from(bounds.max_revision_mib_per_namespace) << 20;
    let together = of_namespace.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    if together > limit {
        return Some(refused(format!(
            "with this one the revisions of namespace {namespace}'s profiles have {together} bytes, and may have {limit}: set a lower \
             spec.revisionHistoryLimit, name fewer calls, delete profiles, or have an administrator raise bounds.revisionMiBPerNamespace \
             (--max-revision-mib-per-namespace)"
        )));
    }
    let limit = bounds.max_revisions;
    (of_all >= usize_of(limit)).then(|| Stall {
        reason: Reason::TooMany,
        message: format!(
            "the cluster has {of_all} revisions, and no more than {limit} fit into the memory that its agents have: delete profiles, or have an \
             administrator raise bounds.revisions (--max-revisions) together with agent.resources and controller.resources"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            max_revisions_per_namespace: 4,
            max_revision_mib_per_namespace: 1,
            max_revisions: 10,
            ..Bounds::default()
        }
    }

    fn owner(name: &str) -> Owner {
        Owner::namespaced("shop", name).unwrap()
    }

    #[test]
    fn a_new_revision_is_refused_by_number_by_bytes_and_by_all() {
        let ask = |number, bytes, of_all, more| {
            new_revision(&bounds(), &owner("web"), Amount { number, bytes }, of_all, more)
                .map(|stall| (stall.reason, stall.message))
        };
        assert_eq!(ask(3, 0, 9, 1 << 20), None);
        let (reason, said) = ask(4, 0, 9, 1).unwrap();
        assert!(reason == Reason::NamespaceLimit && said.contains("has 4 revisions"), "{said}");
        let (reason, said) = ask(3, 1 << 20, 9, 1).unwrap();
        assert!(reason == Reason::NamespaceLimit && said.contains("1048577 bytes"), "{said}");
        let (reason, said) = ask(3, 0, 10, 1).unwrap();
        assert!(reason == Reason::TooMany && said.contains("has 10 revisions"), "{said}");
        let cluster = Owner::cluster("web").unwrap();
        let amount = Amount { number: 1_000, bytes: 1 << 30 };
        assert_eq!(new_revision(&bounds(), &cluster, amount, 1_000, 1), None, "an administrator's own");
    }
}
