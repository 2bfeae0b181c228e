//! What was given and is taken back: revisions that an administrator revoked, profiles whose finalizer was taken off.

use super::*;

impl Scene {
    /// Profile `web` with the contents that allow each of these calls, one after another, and its revisions' digests.
    fn with_history(names: &[&str]) -> (Self, Vec<Digest>) {
        let mut scene = Self::new();
        scene.apply(&Object::new(web(), &names[..1]));
        scene.settle(&web());
        let mut digests = vec![scene.served(&web()).unwrap()];
        for name in &names[1..] {
            scene.allow(name);
            digests.push(scene.served(&web()).unwrap());
        }
        scene.writes();
        (scene, digests)
    }

    fn allow(&mut self, name: &str) {
        let mut object = self.objects[&web()].clone();
        object.edit(|object| object.source.document = Some(allowing(&[name])));
        self.apply(&object);
        self.settle(&web());
    }

    /// An administrator sets the annotation, or takes it off.
    fn revoke(&mut self, digest: Digest, reason: Option<&str>) {
        let known = self.world.revisions.known(&web(), self.now);
        let known = known.into_iter().find(|known| known.digest == digest).unwrap();
        let meta = RevisionMeta {
            owner: web(),
            owner_uid: known.owner_uid,
            digest,
            sequence: known.sequence,
            revoked: reason.map(str::to_owned),
        };
        assert_eq!(self.world.revision_applied(&meta, Some("object".to_owned()), 1, self.now), only(web()));
        self.report();
        self.settle(&web());
    }

    fn listed(&self) -> Vec<Digest> {
        self.objects[&web()].status.as_ref().unwrap().revisions.iter().map(|one| one.digest).collect()
    }

    fn force_out(&mut self) {
        self.pods = Usage::of_pod("profiles", "shop/web.json", "shop/web-0");
        let mut object = self.objects[&web()].clone();
        object.edit(|object| {
            object.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(2_000).unwrap()));
        });
        self.apply(&object);
        self.settle(&web());
        assert_eq!(self.reason(&web()), "False InUse");
        self.world.profile_removed(&web(), self.now);
    }
}

#[test]
fn an_earlier_revision_leaves_the_profile_ready_and_its_content_can_not_come_back() {
    let (mut scene, digests) = Scene::with_history(&["read", "write"]);
    scene.revoke(digests[0], Some("too loose"));
    assert_eq!(scene.reason(&web()), "True Distributed");
    assert_eq!(scene.listed(), [digests[1]]);
    assert_eq!(
        scene.world.take_revocations(),
        [((web(), digests[0]), News::Revoked("too loose".to_owned()))]
    );
    scene.writes();
    // The profile has that content once more.
    scene.allow("read");
    assert_eq!(scene.writes(), ["status False Revoked and Revoked"]);
    assert!(scene.message(&web()).contains("(too loose)"), "{}", scene.message(&web()));
    assert_eq!(scene.served(&web()), Some(digests[1]), "what was accepted stays");
    // So does a pin.
    let mut object = scene.objects[&web()].clone();
    object.edit(|object| object.wishes.pin = Some(digests[0].to_string()));
    scene.apply(&object);
    scene.settle(&web());
    assert_eq!(scene.reason(&web()), "False Revoked");
    // Taken back, it is served.
    scene.writes();
    scene.revoke(digests[0], None);
    assert_eq!(scene.served(&web()), Some(digests[0]));
    assert_eq!(scene.reason(&web()), "True Distributed");
    assert_eq!(scene.world.take_revocations(), [((web(), digests[0]), News::TakenBack)]);
}

#[test]
fn a_current_revision_stalls_its_profile_until_that_changes() {
    let (mut scene, digests) = Scene::with_history(&["read", "write"]);
    scene.revoke(digests[1], Some(""));
    assert_eq!(scene.reason(&web()), "False Revoked");
    assert_eq!(scene.served(&web()), None, "an earlier one takes its place");
    assert_eq!(scene.listed(), [digests[0]]);
    let summary = scene.world.summary(scene.now);
    assert_eq!(summary.beyond_bounds, 0);
    assert_eq!(summary.profiles[&(ProfileKind::SeccompProfile, State::Stalled)], 1);
    scene.writes();
    scene.allow("close");
    assert_eq!(scene.writes(), ["revision 3", "status True Distributed"]);
}

#[test]
fn it_is_never_collected_and_outlives_its_profile() {
    let (mut scene, digests) = Scene::with_history(&["read", "write"]);
    scene.revoke(digests[0], Some("too loose"));
    scene.allow("close");
    scene.allow("open");
    let doomed: Vec<Digest> =
        scene.world.collectable(scene.now).into_iter().map(|doomed| doomed.digest).collect();
    assert_eq!(doomed, [digests[1]], "beyond the history of one is what was not revoked");
    let mut object = scene.objects[&web()].clone();
    object.edit(|object| {
        object.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(2_000).unwrap()));
    });
    scene.apply(&object);
    scene.writes();
    scene.settle(&web());
    assert_eq!(scene.writes(), ["ask", "release 3"]);
    scene.pass(Duration::from_secs(600));
    assert_eq!(scene.world.collectable(scene.now), []);
    // A namesake of that content is refused as its predecessor would be.
    let mut namesake = Object::new(web(), &["read"]);
    namesake.metadata.uid = Some("uid-2".to_owned());
    scene.apply(&namesake);
    scene.settle(&web());
    assert_eq!(scene.reason(&web()), "False Revoked");
}

#[test]
fn taken_back_without_a_profile_it_is_an_orphan() {
    let (mut scene, digests) = Scene::with_history(&["read"]);
    scene.revoke(digests[0], Some("too loose"));
    scene.world.profile_removed(&web(), scene.now);
    scene.objects.remove(&web());
    scene.pass(Duration::from_secs(60));
    assert_eq!(scene.world.collectable(scene.now), []);
    let meta = RevisionMeta {
        owner: web(),
        owner_uid: "uid-1".to_owned(),
        digest: digests[0],
        sequence: 1,
        revoked: None,
    };
    scene.world.revision_applied(&meta, None, 1, scene.now);
    scene.pass(Duration::from_secs(60));
    assert_eq!(scene.world.collectable(scene.now).len(), 1);
}

#[test]
fn one_that_was_revoked_before_is_told_apart() {
    let (mut scene, digests) = Scene::with_history(&["read"]);
    scene.world.synced = false;
    scene.revoke(digests[0], Some("why"));
    let told = scene.world.take_revocations();
    assert_eq!(told, [((web(), digests[0]), News::FoundRevoked("why".to_owned()))]);
    assert!(!scene.world.has_revocations_to_tell());
    scene.world.put_revocations_back(told);
    assert!(scene.world.has_revocations_to_tell());
}

#[test]
fn what_is_left_of_a_profile_that_was_forced_out_goes_at_once() {
    let (mut scene, digests) = Scene::with_history(&["read", "write"]);
    scene.force_out();
    let doomed = scene.world.collectable(scene.now);
    assert_eq!(doomed.iter().map(|doomed| doomed.digest).collect::<Vec<_>>(), digests, "the oldest first");
    assert!(doomed.iter().all(|doomed| doomed.is_forced));
    for doomed in doomed {
        scene.world.revision_removed(&doomed.owner, &doomed.digest, scene.now);
    }
    assert!(scene.world.forced.is_empty() && scene.world.orphans.is_empty());
}

#[test]
fn nor_does_a_namesake_keep_it() {
    let (mut scene, digests) = Scene::with_history(&["read"]);
    scene.force_out();
    let mut namesake = Object::new(web(), &["write"]);
    namesake.metadata.uid = Some("uid-2".to_owned());
    scene.apply(&namesake);
    scene.settle(&web());
    let doomed = scene.world.collectable(scene.now);
    assert_eq!(
        doomed.iter().map(|doomed| (doomed.digest, doomed.is_forced)).collect::<Vec<_>>(),
        [(digests[0], true)]
    );
}
