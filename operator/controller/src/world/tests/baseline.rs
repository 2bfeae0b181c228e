use super::*;

fn standard() -> Owner {
    Owner::cluster("standard").unwrap()
}

fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.world = scene.world.with_baseline(Some(standard()));
    scene
}

/// As the reconcile loop does after each profile: says whom it concerns.
fn work_on(scene: &mut Scene, owner: &Owner) -> Affected {
    scene.settle(owner);
    scene.world.put_away(owner)
}

#[test]
fn profiles_wait_for_what_they_are_held_against_and_follow_it() {
    let mut scene = scene();
    scene.apply(&Object::new(standard(), &["read", "write", "bpf"]));
    scene.apply(&Object::new(web(), &["read", "bpf"]));
    scene.settle(&web());
    assert_eq!(scene.writes(), Vec::<String>::new(), "nothing is said before the baseline is known");
    assert!(scene.world.baseline_of_recordings().is_ok_and(|baseline| baseline.is_none()));
    scene.settle(&standard());
    let of_recordings = scene.world.baseline_of_recordings().unwrap().expect("it is known");
    assert_eq!(of_recordings.to_string(), "the baseline ClusterSeccompProfile standard");
    scene.settle(&web());
    assert_eq!(scene.reason(&web()), "True Distributed", "looser than the runtime default");

    let mut stricter = scene.objects[&standard()].clone();
    stricter.edit(|object| object.source.document = Some(allowing(&["read", "write"])));
    scene.apply(&stricter);
    scene.settle(&standard());
    scene.settle(&web());
    assert_eq!(scene.reason(&web()), "False LooserThanRuntimeDefault");
    let message = scene.message(&web());
    assert!(message.contains("what the baseline ClusterSeccompProfile standard denies: bpf"), "{message}");
}

#[test]
fn whoever_is_held_against_a_baseline_wakes_when_it_is_another() {
    let mut scene = scene();
    scene.apply(&Object::new(standard(), &["read"]));
    scene.apply(&Object::new(web(), &["read"]));
    let mut woken = Vec::new();
    for step in ["first", "again"] {
        // `settle` puts away as it ends.
        while let step @ (Step::Resolve { .. } | Step::Publish { .. } | Step::Status(..) | Step::Fetch(_)) =
            scene.world.step(&standard(), scene.now, Timestamp::from_second(1_000).unwrap())
        {
            scene.perform(&standard(), step);
        }
        woken.push((step, scene.world.put_away(&standard())));
    }
    assert_eq!(woken, [("first", Affected::Everything), ("again", Affected::Nothing)]);
    scene.settle(&web());
    assert_eq!(scene.world.profile_removed(&standard(), scene.now), Affected::Everything);
}

#[test]
fn a_baseline_that_is_missing_or_refused_refuses_in_words_what_would_be_held_against_it() {
    let mut scene = scene();
    scene.apply(&Object::new(web(), &["read"]));
    scene.settle(&web());
    assert_eq!(scene.reason(&web()), "False BaselineInvalid");
    assert!(
        scene.message(&web()).contains("ClusterSeccompProfile standard, which"),
        "{}",
        scene.message(&web())
    );
    assert!(scene.message(&web()).contains("does not exist"), "{}", scene.message(&web()));
    let of_recordings = scene.world.baseline_of_recordings().unwrap_err();
    assert!(of_recordings.message.contains("does not exist"), "{}", of_recordings.message);

    let mut audit = Object::new(standard(), &["read"]);
    audit.wishes.mode = Mode::Audit;
    scene.apply(&audit);
    work_on(&mut scene, &standard());
    scene.settle(&web());
    assert!(scene.message(&web()).contains("is in mode Audit"), "{}", scene.message(&web()));

    // Who may do anything needs no baseline.
    let own = Owner::cluster("own").unwrap();
    scene.apply(&Object::new(own.clone(), &["bpf"]));
    scene.settle(&own);
    assert_eq!(scene.reason(&own), "True Distributed");

    audit.edit(|object| object.wishes.mode = Mode::Enforce);
    scene.apply(&audit);
    work_on(&mut scene, &standard());
    scene.settle(&web());
    assert_eq!(scene.reason(&web()), "True Distributed");
}
