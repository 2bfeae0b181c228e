//! What is served and what is said, from creation to edits, pins and bases.

use super::*;

#[test]
fn a_new_profile_takes_a_finalizer_a_revision_and_one_status() {
    let mut scene = Scene::new();
    scene.apply(&Object::new(web(), &["read"]));
    assert_eq!(scene.settle(&web()), None);
    assert_eq!(scene.writes(), ["finalizer", "revision 1", "status True Distributed"]);
    assert_eq!(scene.settle(&web()), None);
    scene.pass(Duration::from_secs(120));
    assert_eq!(scene.settle(&web()), None);
    assert_eq!(scene.writes(), Vec::<String>::new(), "a steady cluster causes no writes");
    assert!(matches!(scene.world.profiles[&web()].held, Held::LetGo), "the document is let go");
}

#[test]
fn a_profile_that_takes_longer_says_so_after_a_second() {
    let mut scene = Scene::new();
    scene.agent = false;
    scene.apply(&Object::new(web(), &["read"]));
    assert_eq!(scene.settle(&web()), Some(scene.now + Duration::from_secs(1)));
    assert_eq!(scene.writes(), ["finalizer", "revision 1"]);
    scene.pass(Duration::from_secs(1));
    scene.settle(&web());
    assert_eq!(scene.writes(), ["status False Distributing"]);
    scene.report();
    scene.settle(&web());
    assert_eq!(scene.writes(), ["status True Distributed"]);
}

#[test]
fn going_back_to_an_earlier_content_serves_it_again() {
    let mut scene = Scene::new();
    let mut object = Object::new(web(), &["read"]);
    scene.apply(&object);
    scene.settle(&web());
    let first = scene.served(&web());
    object = scene.objects[&web()].clone();
    object.edit(|object| object.source.document = Some(allowing(&["write"])));
    scene.apply(&object);
    scene.settle(&web());
    assert_ne!(scene.served(&web()), first);
    object = scene.objects[&web()].clone();
    object.edit(|object| object.source.document = Some(allowing(&["read"])));
    scene.apply(&object);
    scene.writes();
    scene.settle(&web());
    assert_eq!(scene.writes(), ["revision 3", "status True Distributed"]);
    assert_eq!(scene.served(&web()), first);
}

#[test]
fn an_edit_withdraws_ready_at_once_where_a_node_lags() {
    let mut scene = Scene::new();
    scene.apply(&Object::new(web(), &["read"]));
    scene.settle(&web());
    scene.agent = false;
    let mut object = scene.objects[&web()].clone();
    object.edit(|object| object.source.document = Some(allowing(&["write"])));
    scene.apply(&object);
    scene.writes();
    scene.settle(&web());
    assert_eq!(scene.writes(), ["revision 2", "status False Distributing"]);
    assert_eq!(scene.objects[&web()].status.as_ref().unwrap().observed_generation, Some(2));
}

#[test]
fn a_pin_serves_an_earlier_revision_and_its_removal_the_spec_again() {
    let mut scene = Scene::new();
    scene.apply(&Object::new(web(), &["read"]));
    scene.settle(&web());
    let first = scene.served(&web()).unwrap();
    let mut object = scene.objects[&web()].clone();
    object.edit(|object| object.source.document = Some(allowing(&["write"])));
    scene.apply(&object);
    scene.settle(&web());
    let second = scene.served(&web());
    let mut object = scene.objects[&web()].clone();
    object.edit(|object| object.wishes.pin = Some(first.to_string()));
    scene.apply(&object);
    scene.writes();
    scene.settle(&web());
    assert_eq!(scene.writes(), ["get revision", "revision 3", "status True Distributed"]);
    assert_eq!(scene.served(&web()), Some(first));
    let mut object = scene.objects[&web()].clone();
    object.edit(|object| object.wishes.pin = None);
    scene.apply(&object);
    scene.settle(&web());
    assert_eq!(scene.served(&web()), second);
    assert_eq!(scene.reason(&web()), "True Distributed");
}

#[test]
fn a_pin_of_what_is_not_kept_names_what_is() {
    let mut scene = Scene::new();
    scene.apply(&Object::new(web(), &["read"]));
    scene.settle(&web());
    let served = scene.served(&web()).unwrap();
    let mut object = scene.objects[&web()].clone();
    object.edit(|object| object.wishes.pin = Some(Digest::of(b"never").to_string()));
    scene.apply(&object);
    scene.settle(&web());
    assert_eq!(scene.reason(&web()), "False PinNotFound");
    assert!(scene.message(&web()).contains(&served.to_string()), "{}", scene.message(&web()));
    assert_eq!(scene.served(&web()), Some(served), "what was served goes on being served");
}

#[test]
fn a_looser_profile_waits_for_its_namespaces_label_and_loses_it_again() {
    let mut scene = Scene::new();
    scene.apply(&Object::new(web(), &["bpf"]));
    scene.settle(&web());
    let said = "status False LooserThanRuntimeDefault and LooserThanRuntimeDefault";
    assert_eq!(scene.writes(), [said], "nothing is written for it");
    assert_eq!(scene.world.permit("shop", true), only(web()));
    scene.settle(&web());
    assert_eq!(scene.writes(), ["finalizer", "revision 1", "status True Distributed"]);
    assert_eq!(scene.world.permit("shop", false), only(web()));
    scene.settle(&web());
    assert_eq!(scene.writes(), ["get web", said]);
    assert_eq!(scene.world.permit("other", true), Affected::Nothing);
}

#[test]
fn an_administrators_own_profile_may_be_looser() {
    let mut scene = Scene::new();
    let owner = Owner::cluster("tracing").unwrap();
    scene.apply(&Object::new(owner.clone(), &["bpf"]));
    scene.settle(&owner);
    assert_eq!(scene.reason(&owner), "True Distributed");
}

#[test]
fn an_edited_base_wakes_what_builds_on_it_directly_or_not() {
    let mut scene = Scene::new();
    let owner = |name: &str| Owner::namespaced("shop", name).unwrap();
    let on = |name: &str, base: &str| {
        let mut object = Object::new(owner(name), &["write"]);
        object.source.bases =
            vec![BaseReference { kind: ProfileKind::SeccompProfile, name: base.to_owned() }];
        object
    };
    scene.apply(&on("top", "mid"));
    assert!(scene.settle(&owner("top")).is_some(), "the base may come in the very next request");
    scene.pass(Duration::from_secs(1));
    scene.settle(&owner("top"));
    assert_eq!(scene.reason(&owner("top")), "False BaseNotFound");
    assert_eq!(scene.apply(&on("mid", "root")), Affected::Owners([owner("mid"), owner("top")].into()));
    scene.apply(&Object::new(owner("root"), &["read"]));
    for name in ["root", "mid", "top"] {
        scene.settle(&owner(name));
        assert_eq!(scene.reason(&owner(name)), "True Distributed", "{name}");
    }
    let before = scene.served(&owner("top"));
    let mut root = scene.objects[&owner("root")].clone();
    root.edit(|root| root.source.document = Some(allowing(&["close"])));
    let all = ["root", "mid", "top"].map(owner).into();
    assert_eq!(scene.apply(&root), Affected::Owners(all));
    scene.settle(&owner("top"));
    assert_ne!(scene.served(&owner("top")), before);
    scene.world.profile_removed(&owner("root"), scene.now);
    scene.settle(&owner("top"));
    assert_eq!(scene.reason(&owner("top")), "False BaseNotFound");
}
