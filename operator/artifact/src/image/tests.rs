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

/// What is at `/a/b` of an image when its layers are unpacked one over the other, by the specification's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unpacked {
    Nothing,
    /// `/a` is a file.
    AboveIsFile,
    /// `/a` is a directory, and has no `b`.
    AboveIsDirectory,
    Directory,
    /// A file, of the layer with this number.
    File(usize),
}

/// A layer that has something to do with `/a/b`: each of its entries may be there or not.
#[derive(Clone, Copy, Debug)]
struct Entries {
    /// `a`, as a directory (true) or a file.
    a: Option<bool>,
    /// `a/b`.
    b: Option<bool>,
    /// `.wh.a` or `.wh..wh..opq`, which remove the same.
    removes_a: Option<&'static str>,
    /// `a/.wh.b` or `a/.wh..wh..opq`.
    removes_b: Option<&'static str>,
}

impl Entries {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for removes_a in [None, Some(".wh.a"), Some(".wh..wh..opq")] {
            all.push(Self { a: Some(false), b: None, removes_a, removes_b: None });
            for removes_b in [None, Some("a/.wh.b"), Some("a/.wh..wh..opq")] {
                for a in [None, Some(true)] {
                    all.extend([None, Some(true), Some(false)].map(|b| Self { a, b, removes_a, removes_b }));
                }
            }
        }
        all
    }

    /// The layer's archive; files hold the layer's number.
    fn archive(self, number: usize) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, is_directory: bool| {
            let mut header = tar::Header::new_gnu();
            let content = if is_directory { Vec::new() } else { number.to_string().into_bytes() };
            header.set_size(content.len() as u64);
            header.set_entry_type(if is_directory {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            });
            builder.append_data(&mut header, name, content.as_slice()).unwrap();
        };
        [self.removes_a, self.removes_b].into_iter().flatten().for_each(|name| add(name, false));
        [("a", self.a), ("a/b", self.b)].into_iter().for_each(|(name, is)| {
            if let Some(is_directory) = is {
                add(name, is_directory);
            }
        });
        builder.into_inner().unwrap()
    }

    /// Whiteouts go first and are for lower layers only, wherever they stand in the archive.
    fn over(self, lower: Unpacked, number: usize) -> Unpacked {
        use Unpacked::{AboveIsDirectory, AboveIsFile, Directory, File, Nothing};
        let mut there = lower;
        if self.removes_a.is_some() {
            there = Nothing;
        }
        if self.removes_b.is_some() && matches!(there, Directory | File(_)) {
            there = AboveIsDirectory;
        }
        match self.a {
            Some(false) => there = AboveIsFile,
            Some(true) if matches!(there, Nothing | AboveIsFile) => there = AboveIsDirectory,
            _ => {}
        }
        match self.b {
            Some(true) => Directory,
            Some(false) => File(number),
            None => there,
        }
    }
}

/// Every image of three layers that have something to do with the path, against what unpacking it gives.
#[test]
fn a_search_from_the_top_finds_what_unpacking_from_the_bottom_does() {
    let wanted = path("/a/b");
    let kinds = Entries::all();
    let sightings: Vec<Vec<Sighting>> = (0..3)
        .map(|number| {
            let scan = |entries: &Entries| {
                layer::scan(entries.archive(number).as_slice(), &wanted, MAX_LAYER_BYTES).unwrap()
            };
            kinds.iter().map(scan).collect()
        })
        .collect();
    let count = kinds.len();
    for image in 0..count.pow(3) {
        let layers = [image % count, image / count % count, image / count / count];
        let unpacked =
            (0..3).fold(Unpacked::Nothing, |there, number| kinds[layers[number]].over(there, number));
        let mut descent = Descent::new(wanted.clone(), 3);
        let mut found = Ok(None);
        while let (Ok(None), Some(position)) = (&found, descent.layer()) {
            let number = 2 - position;
            found = descent.take(sightings[number][layers[number]].clone());
        }
        let expected = match unpacked {
            Unpacked::Directory => Err("/a/b is a directory".to_owned()),
            Unpacked::File(number) => Ok(Some(number.to_string().into_bytes())),
            _ => Ok(None),
        };
        assert_eq!(found, expected, "{:?}", layers.map(|kind| kinds[kind]));
    }
}
