//! Which container a cgroup belongs to, by its path alone: the rule of `bpf/identity.h` for user space.

use crate::{
    ContainerId, PodUid,
    target::{MAX_LEVELS, MAX_NAME},
};

/// A container on the way to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many names its own path has.
    pub level: usize,
    /// Its id.
    pub id: ContainerId,
    /// Its pod; none for one that the kubelet did not make.
    pub pod: Option<PodUid>,
}

/// The containers that a cgroup is in.
///
/// A container that may make cgroups may give them any name. So whatever is below a container is the container's, and names of pods
/// and containers there say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The outermost pair of a pod's cgroup and a container's directly below it; where there is none, the outermost container.
    pub container: Option<Place>,
    /// The container that the pair's whole cluster runs in, if it does.
    pub around: Option<Place>,
}

impl Places {
    /// Reads the names of a path, from the one below the hierarchy's root, or below what is known to be the node's own, on.
    #[must_use]
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut outermost = None;
        let mut above = None;
        for (level, name) in (1..).zip(names).take_while(|(level, _)| *level <= MAX_LEVELS) {
            if let Some(id) = container_id(name) {
                let place = Place { level, id, pod: above };
                if above.is_some() {
                    return Self { container: Some(place), around: outermost };
                }
                outermost = outermost.or(Some(place));
            }
            above = pod_uid(name);
        }
        Self { container: outermost, around: None }
    }
}

/// 64 hexadecimal digits at the end, alone (cgroupfs driver) or as `<runtime>-<id>`, with or without `.scope` (systemd driver). conmon's
/// scope has the id of the container that it serves, but is no container.
fn container_id(name: &str) -> Option<ContainerId> {
    let name = of_a_readable_length(name)?;
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (before, id) = name.split_at_checked(name.len().checked_sub(64)?)?;
    let named = before.is_empty() || (before.ends_with('-') && !before.ends_with("conmon-"));
    if named { id.parse().ok() } else { None }
}

/// `pod<uid>` (cgroupfs driver), or `<parents>-pod<uid>.slice` with `_` for `-` (systemd driver).
fn pod_uid(name: &str) -> Option<PodUid> {
    let name = of_a_readable_length(name)?;
    let Some(slice) = name.strip_suffix(".slice") else { return name.strip_prefix("pod")?.parse().ok() };
    let uid = slice.rsplit('-').next()?.strip_prefix("pod")?;
    // The dashes of a slice's name are its parents'.
    if uid.contains('-') { None } else { uid.replace('_', "-").parse().ok() }
}

fn of_a_readable_length(name: &str) -> Option<&str> {
    (name.len() <= MAX_NAME).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00";

    fn id(number: u8) -> String {
        format!("{number:064x}")
    }

    fn places(path: &str) -> Places {
        Places::of(path.split('/').skip(1))
    }

    /// The pair's level, container and pod.
    fn found(path: &str) -> Option<(usize, String, Option<String>)> {
        let of = |place: Place| (place.level, place.id.to_string(), place.pod.map(|pod| pod.to_string()));
        places(path).container.map(of)
    }

    #[test]
    fn every_drivers_and_runtimes_names_are_read() {
        let underscored = UID.replace('-', "_");
        let id = id(7);
        for path in [
            format!("/kubepods/pod{UID}/{id}"),
            format!("/kubepods/burstable/pod{UID}/crio-{id}"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{underscored}.slice/cri-containerd-{id}.scope"
            ),
            format!(
                "/a.slice/a-kubepods.slice/a-kubepods-pod{underscored}.slice/docker-{id}.scope/init.scope"
            ),
        ] {
            let (_, container, pod) = found(&path).expect("a container");
            assert_eq!((container.as_str(), pod.as_deref()), (id.as_str(), Some(UID)), "{path}");
        }
        let hash = UID.replace('-', "");
        let (.., pod) = found(&format!("/kubepods/pod{hash}/{id}")).expect("a container");
        assert_eq!(pod, Some(hash.clone()));
        let (.., pod) = found(&format!("/kubepods-pod{hash}.slice/{id}")).expect("a container");
        assert_eq!(pod, Some(hash));
    }

    #[test]
    fn what_is_no_pod_and_no_container_is_not_taken_for_one() {
        let (id, underscored) = (id(7), UID.replace('-', "_"));
        for path in [
            "/".to_owned(),
            "/user.slice".to_owned(),
            format!("/kubepods/pod{UID}/crio-conmon-{id}.scope"),
            format!("/kubepods/pod{UID}/x{id}"),
            format!("/kubepods/pod{UID}/{}", id.replace('0', "A")),
            format!("/kubepods/pod{UID}/{}-{id}", "a".repeat(62)),
        ] {
            assert_eq!(found(&path), None, "{path}");
        }
        for pod in [
            format!("xpod{UID}"),
            format!("pod{underscored}"),
            format!("kubepods-pod{UID}.slice"),
            format!("xpod{underscored}.slice"),
            format!("{}-pod{underscored}.slice", "a".repeat(90)),
            format!("pod{UID}x"),
        ] {
            let (.., uid) = found(&format!("/kubepods/{pod}/{id}")).expect("a container");
            assert_eq!(uid, None, "{pod}");
        }
    }

    #[test]
    fn the_cluster_in_a_container_has_pods_of_its_own() {
        let (outer, inner) = (id(1), id(2));
        let path = format!("/docker/{outer}/kubelet/kubepods/besteffort/pod{UID}/{inner}");
        let places = places(&path);
        let level_and_id = |place: Place| (place.level, place.id.to_string());
        assert_eq!(places.container.map(level_and_id), Some((7, inner)));
        assert_eq!(places.around.map(level_and_id), Some((2, outer.clone())));
        let runtime = format!("/docker/{outer}/system.slice/containerd.service");
        assert_eq!(found(&runtime), Some((2, outer, None)));
    }

    /// kind by systemd and by cgroupfs, and kind in docker in docker as in CI; and the deepest that is found.
    #[test]
    fn clusters_in_containers_in_containers_are_found_to_fifteen_levels() {
        let (outer, inner, id, underscored) = (id(1), id(2), id(3), UID.replace('-', "_"));
        let kubelet = format!(
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{underscored}.slice/\
             cri-containerd-{id}.scope"
        );
        for (path, level) in [
            (format!("/system.slice/docker-{outer}.scope/{kubelet}"), 7),
            (format!("/docker/{outer}/kubelet/kubepods/besteffort/pod{UID}/{id}"), 7),
            (format!("/system.slice/docker-{outer}.scope/docker/{inner}/{kubelet}"), 9),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{outer}.scope/container/{kubelet}"
                ),
                11,
            ),
            (format!("/{}pod{UID}/{id}", "d/".repeat(13)), 15),
        ] {
            assert_eq!(found(&path), Some((level, id.clone(), Some(UID.to_owned()))), "{path}");
        }
        assert_eq!(found(&format!("/{}pod{UID}/{id}", "d/".repeat(14))), None);
    }

    /// Names as the node's own software, and anybody in a container, may give them.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            (0_u8..4).prop_map(|number| format!("pod{number:08x}-0000-4000-8000-000000000000")),
            (0_u8..4).prop_map(|number| format!("pod{number:032x}")),
            (0_u8..4)
                .prop_map(|number| format!("kubepods-pod{number:08x}_0000_4000_8000_000000000000.slice")),
            (0_u8..4).prop_map(id),
            (0_u8..4).prop_map(|number| format!("cri-containerd-{}.scope", id(number))),
            (0_u8..4).prop_map(|number| format!("crio-conmon-{}.scope", id(number))),
            Just("kubepods".to_owned()),
            Just("init.scope".to_owned()),
            "[a-f0-9.-]{1,130}",
        ]
    }

    fn path(levels: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(name(), levels)
    }

    fn of(names: &[String]) -> Places {
        Places::of(names.iter().map(String::as_str))
    }

    proptest! {
        /// The model: look at every level, and take the first that fits.
        #[test]
        fn the_outermost_pair_is_the_container(names in path(0..20)) {
            let read = names.get(..names.len().min(MAX_LEVELS)).unwrap_or_default();
            let pair = read.windows(2).position(|pair| {
                pod_uid(&pair[0]).is_some() && container_id(&pair[1]).is_some()
            });
            let single = read.iter().position(|name| container_id(name).is_some());
            let expected = pair.map(|at| at + 2).or(single.map(|at| at + 1));
            let places = of(&names);
            prop_assert_eq!(places.container.map(|place| place.level), expected);
            if let (Some(place), Some(at)) = (places.container, pair) {
                prop_assert_eq!(place.pod, pod_uid(&names[at]));
                prop_assert_eq!(Some(place.id), container_id(&names[at + 1]));
                let around = single.filter(|single| *single != at + 1).map(|at| at + 1);
                prop_assert_eq!(places.around.map(|place| place.level), around);
            } else if let Some(place) = places.container {
                prop_assert_eq!(place.pod, None);
            }
        }

        /// Whatever is made below a pod's container, its calls are that container's.
        #[test]
        fn nothing_below_a_pods_container_is_anybody_elses(
            above in path(0..4), pod in 0_u8..4, container in 0_u8..4, below in path(0..20)
        ) {
            let own = [format!("pod{pod:08x}-0000-4000-8000-000000000000"), id(container)];
            let container = [above, own.to_vec()].concat();
            let inside = [container.clone(), below].concat();
            prop_assert_eq!(of(&inside), of(&container));
        }
    }
}
