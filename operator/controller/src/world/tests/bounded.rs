//! Bounds that hold whatever a namespace does.

use super::*;

fn made_at(second: i64, name: &str, calls: &[&str]) -> Object {
    let mut object = Object::new(Owner::namespaced("shop", name).unwrap(), calls);
    object.metadata.uid = Some(format!("uid-{name}"));
    object.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
    object
}

/// Applies and settles; gives what was concluded.
fn settled(scene: &mut Scene, object: &Object) -> String {
    scene.apply(object);
    scene.settle(&object.owner);
    scene.reason(&object.owner)
}

const CALLS: [&str; 8] = ["read", "write", "close", "openat", "fstat", "lseek", "mmap", "munmap"];

#[test]
fn the_newest_profiles_beyond_the_number_are_refused_and_take_the_place_of_one_that_goes() {
    let mut scene = Scene::new();
    for (second, name) in [(1, "c"), (2, "a"), (3, "b")] {
        assert_eq!(settled(&mut scene, &made_at(second, name, &["read"])), "True Distributed", "{name}");
    }
    let beyond = made_at(9, "0-new", &["write"]);
    assert_eq!(settled(&mut scene, &beyond), "False NamespaceLimit");
    assert!(scene.message(&beyond.owner).contains("has 4 SeccompProfiles, of which the 3 oldest are served"));
    assert_eq!(scene.served(&beyond.owner), None);
    assert!(
        !scene.writes().contains(&"finalizer".to_owned())
            || scene.objects[&beyond.owner].metadata.finalizers.is_none()
    );
    // Another that is refused changes the number in these words, and is no reason to write them again.
    assert_eq!(settled(&mut scene, &made_at(10, "z", &["write"])), "False NamespaceLimit");
    scene.writes();
    scene.settle(&beyond.owner);
    assert_eq!(scene.writes(), [""; 0]);
    // Another namespace, and the cluster, have nothing to do with it.
    let mut other = made_at(9, "web", &["write"]);
    other.owner = Owner::namespaced("other", "web").unwrap();
    assert_eq!(settled(&mut scene, &other), "True Distributed");
    let gone = Owner::namespaced("shop", "a").unwrap();
    let woken = scene.world.profile_removed(&gone, scene.now);
    assert!(matches!(&woken, Affected::Owners(owners) if owners.contains(&beyond.owner)), "{woken:?}");
    scene.settle(&beyond.owner);
    assert_eq!(scene.reason(&beyond.owner), "True Distributed");
}

#[test]
fn who_is_beyond_after_a_restart_is_who_was_before_it_and_keeps_what_was_in_force() {
    let mut scene = Scene::new();
    let all: Vec<Object> =
        [(1, "c"), (2, "a"), (3, "b"), (4, "0-new")].map(|(at, name)| made_at(at, name, &["read"])).into();
    for object in &all {
        settled(&mut scene, object);
    }
    // A controller of a lower bound than the last one's, which sees them in the order of their names.
    let served: Vec<_> = scene.world.revisions.log().set().owners().cloned().collect();
    assert_eq!(served.len(), 3);
    let metas: Vec<RevisionMeta> = served
        .iter()
        .map(|owner| RevisionMeta {
            owner: owner.clone(),
            owner_uid: format!("uid-{}", owner.name()),
            digest: scene.served(owner).unwrap(),
            sequence: 1,
            revoked: None,
        })
        .collect();
    let objects = scene.objects.clone();
    let mut next = Scene::new();
    let bounds = Bounds { max_profiles_per_namespace: 2, ..bounds() };
    next.world = World::new("profiles".to_owned(), bounds, Lasting::default(), next.now);
    for meta in &metas {
        next.world.revision_applied(meta, None, 1, next.now);
    }
    next.world
        .revisions_listed(&metas.iter().map(|meta| (meta.owner.clone(), meta.digest)).collect(), next.now);
    for name in ["0-new", "a", "b", "c"] {
        let mut object = objects[&Owner::namespaced("shop", name).unwrap()].clone();
        object.edit(|object| object.source.document = Some(allowing(&["write"])));
        next.apply(&object);
        next.settle(&object.owner);
        assert_eq!(next.writes(), [""; 0], "{name}: nothing new is written before all are known");
    }
    next.world.all_synced();
    next.restart_with(next.world.revisions.log().set().digest());
    for (name, reason) in
        [("0-new", "NamespaceLimit"), ("a", "Distrib"), ("b", "NamespaceLimit"), ("c", "Distrib")]
    {
        let owner = Owner::namespaced("shop", name).unwrap();
        next.settle(&owner);
        assert!(next.reason(&owner).contains(reason), "{name}: {}", next.reason(&owner));
    }
    let b = Owner::namespaced("shop", "b").unwrap();
    assert_eq!(next.served(&b), scene.served(&b), "what was in force stays so");
    assert!(next.message(&b).contains("go on serving the last revision"), "{}", next.message(&b));
    assert_eq!(next.world.collectable(next.now + Duration::from_secs(3600)), [], "and is nobody's orphan");
}

#[test]
fn of_a_hundred_thousand_profiles_hardly_more_is_kept_than_is_served() {
    let mut scene = Scene::new();
    for number in 0..1_000 {
        scene.apply(&made_at(1_000 - number, &format!("p{number:04}"), &["read"]));
    }
    assert_eq!((scene.world.profiles.len(), scene.world.far_beyond.len()), (6, 994));
    let oldest = Owner::namespaced("shop", "p0999").unwrap();
    assert_eq!(settled(&mut scene, &made_at(1, "p0999", &["read"])), "True Distributed");
    assert_eq!(scene.world.summary(scene.now).beyond_bounds, 994);
    // What was passed over is no orphan's owner, and a list takes it out again.
    assert!(scene.world.exists(&Owner::namespaced("shop", "p0000").unwrap()));
    scene.world.profiles_listed(|_| true, &[oldest.clone()].into(), scene.now);
    assert_eq!((scene.world.profiles.len(), scene.world.far_beyond.len()), (1, 0));
    assert_eq!(scene.world.order.count("shop"), 1);
}

#[test]
fn a_new_revision_beyond_the_number_is_refused_until_another_goes() {
    let mut scene = Scene::new();
    let web = made_at(1, "web", &["read"]);
    let mut objects: Vec<Object> = ["a", "b"].map(|name| made_at(1, name, &["read"])).into();
    // Three revisions each: the history's limit is one, so the oldest are collectable, but collected by nobody here.
    for (at, call) in CALLS.iter().enumerate().take(3) {
        for object in &mut objects {
            object.edit(|object| object.source.document = Some(allowing(&[call, "exit_group"])));
            object.metadata.generation = Some(i64::try_from(at).unwrap() + 1);
            let known = scene.objects.get(&object.owner).map(|known| known.metadata.clone());
            if let Some(known) = known {
                object.metadata = ObjectMeta { generation: object.metadata.generation, ..known };
                object.bump_version();
            }
            assert_eq!(settled(&mut scene, object), "True Distributed");
        }
    }
    let writes = scene.writes();
    assert_eq!(settled(&mut scene, &web), "False NamespaceLimit", "{writes:?}");
    assert!(scene.message(&web.owner).contains("has 6 revisions"), "{}", scene.message(&web.owner));
    // Going back to what is there makes nothing new.
    let a = &mut objects[0];
    let known = scene.objects[&a.owner].metadata.clone();
    a.metadata = known;
    a.edit(|object| object.source.document = Some(allowing(&[CALLS[0], "exit_group"])));
    assert_eq!(settled(&mut scene, &objects[0].clone()), "True Distributed");
    let doomed = scene.world.collectable(scene.now);
    assert!(!doomed.is_empty());
    let woken = scene.world.revision_removed(&doomed[0].owner, &doomed[0].digest, scene.now);
    assert!(matches!(&woken, Affected::Owners(owners) if owners.contains(&web.owner)), "{woken:?}");
    scene.report();
    scene.settle(&web.owner);
    assert_eq!(scene.reason(&web.owner), "True Distributed");
}

#[test]
fn edits_beyond_the_burst_wait_and_the_last_content_wins() {
    let mut scene = Scene::new();
    let mut object = Object::new(web(), &["read"]);
    scene.apply(&object);
    scene.settle(&web());
    let mut until = None;
    for call in CALLS {
        object.metadata = scene.objects[&web()].metadata.clone();
        object.status = scene.objects[&web()].status.clone();
        object.edit(|object| object.source.document = Some(allowing(&[call, "exit_group"])));
        scene.apply(&object);
        until = scene.settle(&web());
    }
    let written =
        |scene: &mut Scene| scene.writes().iter().filter(|write| write.starts_with("revision")).count();
    assert_eq!(written(&mut scene), 5);
    assert_eq!(until.map(|until| until - scene.now), Some(Duration::from_secs(10)));
    scene.pass(Duration::from_secs(10));
    scene.settle(&web());
    assert_eq!(written(&mut scene), 1);
    assert_eq!(scene.reason(&web()), "True Distributed");
    let content = &scene.contents[&(web(), scene.served(&web()).unwrap())];
    assert!(content.contains(CALLS[7]), "{content}");
    // Made anew under its old name it has no new burst.
    scene.world.profile_removed(&web(), scene.now);
    object.metadata.uid = Some("uid-2".to_owned());
    object.edit(|object| object.source.document = Some(allowing(&["brk"])));
    scene.apply(&object);
    scene.settle(&web());
    assert_eq!(written(&mut scene), 0);
}

#[test]
fn those_that_build_on_a_base_follow_it_in_turn() {
    let mut scene = Scene::new();
    scene.world.bounds.max_profiles_per_namespace = 100;
    scene.world.bounds.max_revisions_per_namespace = 1_000;
    let base = Owner::cluster("base").unwrap();
    let mut object = Object::new(base.clone(), &["read"]);
    scene.apply(&object);
    scene.settle(&base);
    let dependents: Vec<Owner> =
        (0..40).map(|number| Owner::namespaced("shop", &format!("p{number}")).unwrap()).collect();
    for owner in &dependents {
        let mut dependent = Object::new(owner.clone(), &["exit_group"]);
        dependent.source.bases =
            vec![BaseReference { kind: ProfileKind::ClusterSeccompProfile, name: "base".to_owned() }];
        scene.apply(&dependent);
        scene.settle(owner);
    }
    object.metadata = scene.objects[&base].metadata.clone();
    object.edit(|base| base.source.document = Some(allowing(&["write"])));
    scene.apply(&object);
    scene.writes();
    let settle_all = |scene: &mut Scene| {
        let waits: Vec<_> = dependents.iter().filter_map(|owner| scene.settle(owner)).collect();
        let written = scene.writes().iter().filter(|write| write.starts_with("revision")).count();
        (waits.into_iter().filter(|at| *at < scene.now + Duration::from_secs(3)).count(), written)
    };
    assert_eq!(settle_all(&mut scene), (20, 20));
    // Another change meanwhile pushes nobody further away.
    object.metadata = scene.objects[&base].metadata.clone();
    object.edit(|base| base.source.document = Some(allowing(&["close"])));
    scene.apply(&object);
    scene.pass(Duration::from_secs(2));
    let (_, written) = settle_all(&mut scene);
    assert!((20..40).contains(&written), "{written}");
    scene.pass(Duration::from_secs(4));
    settle_all(&mut scene);
    for owner in &dependents {
        let content = &scene.contents[&(owner.clone(), scene.served(owner).unwrap())];
        assert!(content.contains("close"), "{owner} was forgotten: {content}");
    }
}

/// The process's largest resident memory so far, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// `cargo test -p portcullis-controller --release twenty_thousand -- --ignored --nocapture`, on its own: the whole process is measured.
#[test]
#[ignore = "measures the process"]
fn twenty_thousand_revisions_take_a_part_of_the_memory_that_there_is() {
    let before = peak();
    let mut scene = Scene::new();
    scene.world.bounds = Bounds::default();
    for number in 0..5_000 {
        let mut object = Object::new(
            Owner::namespaced(
                &format!("team-{}", number / 200),
                &format!("profile-of-a-service-{number:05}"),
            )
            .unwrap(),
            &["read", "write"],
        );
        object.metadata.uid = Some(format!("00000000-0000-0000-0000-0000{number:08}"));
        for sequence in 1..=3 {
            let meta = RevisionMeta {
                owner: object.owner.clone(),
                owner_uid: object.metadata.uid.clone().unwrap(),
                digest: Digest::of(format!("{number} {sequence}").as_bytes()),
                sequence,
                revoked: None,
            };
            let uid = Some("00000000-0000-0000-0000-000000000000".to_owned());
            scene.world.revision_applied(&meta, uid, 13_000, scene.now);
        }
        scene.apply(&object);
        scene.settle(&object.owner);
        assert_eq!(scene.reason(&object.owner), "True Distributed");
        scene.objects.clear();
        scene.contents.clear();
        scene.writes();
    }
    assert_eq!(scene.world.revisions.number(), 20_000);
    eprintln!("MiB: {before} before, {} with 5,000 profiles of 4 revisions", peak());
    assert!(peak() - before < 96, "of the 256 MiB that the chart gives a controller");
}
