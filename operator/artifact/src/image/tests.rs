use super::*;

fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

/// What a search for `/seccomp/profile.json` does after some layers, the top one first.
fn after(layers: &[&[(usize, Node)]]) -> std::result::Result<Step, String> {
    let mut search = Search::new(path("/seccomp/profile.json"));
    let mut step = Ok(Step::Lower);
    for nodes in layers {
        assert_eq!(step, Ok(Step::Lower), "the search ended before {nodes:?}");
        step = search.step(Sighting { nodes: nodes.iter().cloned().collect(), hides_lower: false });
    }
    step
}

fn file() -> Node {
    Node::File(b"x".to_vec())
}

#[test]
fn directories_merge_and_files_end_the_search() {
    assert_eq!(after(&[&[(1, Node::Directory)], &[], &[(2, file())]]), Ok(Step::Found(b"x".to_vec())));
    assert_eq!(after(&[&[(1, Node::Directory)], &[(1, Node::Directory)]]), Ok(Step::Lower));
}

#[test]
fn an_upper_layers_kind_replaces_a_lower_layers() {
    // A directory where a lower layer has a link or a file: nothing of the lower layer shows through.
    let link = Node::Symlink("/opt".to_owned());
    assert_eq!(after(&[&[(1, Node::Directory)], &[(1, link)]]), Ok(Step::Nowhere));
    assert_eq!(after(&[&[(1, Node::Directory)], &[(1, file())]]), Ok(Step::Nowhere));
    // A file where the path needs a directory.
    assert_eq!(after(&[&[(1, file())]]), Ok(Step::Nowhere));
}

#[test]
fn whiteouts_end_the_search_below_their_own_layer() {
    let step = |nodes: &[(usize, Node)]| {
        let nodes = nodes.iter().cloned().collect();
        Search::new(path("/seccomp/profile.json")).step(Sighting { nodes, hides_lower: true })
    };
    assert_eq!(step(&[]), Ok(Step::Nowhere));
    assert_eq!(step(&[(2, file())]), Ok(Step::Found(b"x".to_vec())));
}

#[test]
fn links_lead_on() {
    let link = |target: &str| Node::Symlink(target.to_owned());
    assert_eq!(after(&[&[(2, link("web.json"))]]), Ok(Step::Elsewhere(path("/seccomp/web.json"))));
    assert_eq!(after(&[&[(1, link("/opt/s"))]]), Ok(Step::Elsewhere(path("/opt/s/profile.json"))));
    let hard = Node::Hardlink("opt/x.json".to_owned());
    assert_eq!(after(&[&[(2, hard)]]), Ok(Step::SameLayer(path("/opt/x.json"))));
}

#[test]
fn what_is_no_profile_says_so() {
    for (node, said) in [
        (Node::Directory, "is a directory"),
        (Node::Other, "no regular file"),
        (Node::File(vec![0; 1024 * 1024 + 1]), "longer than 1048576 bytes"),
        (Node::Hardlink("../x".to_owned()), "no path of a file"),
    ] {
        assert!(after(&[&[(2, node)]]).unwrap_err().contains(said), "{said}");
    }
}
