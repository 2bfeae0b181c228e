use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;
use crate::image::decompress::MAX_LAYER_BYTES;

const PATH: &str = "/seccomp/profile.json";

/// An archive: names that end with `/` are directories, `a -> b` symbolic links, `a => b` hard links.
fn archive(entries: &[&str]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_size(0);
        if let Some((name, target)) = entry.split_once(" -> ") {
            header.set_entry_type(EntryType::Symlink);
            builder.append_link(&mut header, name, target).unwrap();
        } else if let Some((name, target)) = entry.split_once(" => ") {
            header.set_entry_type(EntryType::Link);
            builder.append_link(&mut header, name, target).unwrap();
        } else if entry.ends_with('/') {
            header.set_entry_type(EntryType::Directory);
            builder.append_data(&mut header, entry, io::empty()).unwrap();
        } else {
            header.set_size(entry.len() as u64);
            builder.append_data(&mut header, entry, entry.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn scanned(archive: &[u8]) -> io::Result<Sighting> {
    scan(archive, &PATH.parse().unwrap(), MAX_LAYER_BYTES)
}

fn seen(entries: &[&str]) -> Sighting {
    scanned(&archive(entries)).unwrap()
}

fn nodes(sighting: &Sighting) -> Vec<(usize, Node)> {
    sighting.nodes.clone().into_iter().collect()
}

#[test]
fn a_file_is_seen_however_its_name_is_written() {
    for name in ["seccomp/profile.json", "./seccomp/profile.json", "seccomp//profile.json"] {
        let sighting = seen(&["etc/passwd", name, "seccomp/profile.jso", "seccomp/profile.json.bak"]);
        assert_eq!(nodes(&sighting), [(2, Node::File(name.into()))]);
        assert!(!sighting.hides_lower);
    }
    assert_eq!(seen(&["etc/passwd", "seccomp2/profile.json"]), Sighting::default());
}

#[test]
fn the_last_of_several_entries_counts() {
    let sighting = seen(&["seccomp/profile.json", "seccomp/", "./seccomp/profile.json"]);
    let wanted = [(1, Node::Directory), (2, Node::File(b"./seccomp/profile.json".to_vec()))];
    assert_eq!(nodes(&sighting), wanted);
}

#[test]
fn links_are_seen_on_the_way_and_at_the_end() {
    let sighting = seen(&["seccomp -> /opt/seccomp"]);
    assert_eq!(nodes(&sighting), [(1, Node::Symlink("/opt/seccomp".to_owned()))]);
    let sighting = seen(&["seccomp/profile.json => seccomp/other.json"]);
    assert_eq!(nodes(&sighting), [(2, Node::Hardlink("seccomp/other.json".to_owned()))]);
}

#[test]
fn whiteouts_hide_what_is_below_them() {
    for whiteout in [
        "seccomp/.wh.profile.json",
        ".wh.seccomp",
        "seccomp/.wh..wh..opq",
        ".wh..wh..opq",
        "./seccomp/.wh..wh..opq",
    ] {
        assert!(seen(&[whiteout]).hides_lower, "{whiteout}");
    }
    for other in
        ["seccomp/.wh.other.json", ".wh.etc", "etc/.wh..wh..opq", "seccomp/profile.json/.wh..wh..opq"]
    {
        assert!(!seen(&[other]).hides_lower, "{other}");
    }
}

#[test]
fn long_names_are_read_in_either_form() {
    let long = format!("{}/profile.json", "d".repeat(120));
    let path = format!("/{long}").parse().unwrap();
    // GNU's form, which the builder writes by itself.
    let sighting = scan(archive(&[&long]).as_slice(), &path, MAX_LAYER_BYTES).unwrap();
    assert_eq!(nodes(&sighting), [(2, Node::File(long.clone().into_bytes()))]);
    // pax'.
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("path", long.as_bytes())]).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(1);
    builder.append_data(&mut header, "short", &b"x"[..]).unwrap();
    let sighting = scan(builder.into_inner().unwrap().as_slice(), &path, MAX_LAYER_BYTES).unwrap();
    assert_eq!(nodes(&sighting), [(2, Node::File(b"x".to_vec()))]);
}

#[test]
fn two_sizes_and_names_without_end_are_refused() {
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("size", &b"9000000000"[..])]).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(0);
    builder.append_data(&mut header, "big", io::empty()).unwrap();
    let error = scanned(&builder.into_inner().unwrap()).unwrap_err();
    assert!(error.to_string().contains("9000000000"), "{error}");

    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    let endless = header.as_bytes().as_slice().chain(io::repeat(b'a'));
    let error = scan(endless, &PATH.parse().unwrap(), MAX_LAYER_BYTES).unwrap_err();
    assert!(error.to_string().contains("longer than 1048576"), "{error}");
}

#[test]
fn a_file_that_is_no_profile_is_not_read_whole() {
    let mut header = Header::new_gnu();
    header.set_path("seccomp/profile.json").unwrap();
    header.set_size(10 * 1024 * 1024);
    header.set_cksum();
    let content = header.as_bytes().as_slice().chain(io::repeat(b'a').take(10 * 1024 * 1024));
    let sighting = scan(content, &PATH.parse().unwrap(), MAX_LAYER_BYTES).unwrap();
    let Some(Node::File(content)) = sighting.nodes.get(&2) else { panic!("{sighting:?}") };
    assert_eq!(content.len() as u64, MAX_ARTIFACT_BYTES + 1);
}

#[test]
fn what_is_no_archive_is_an_error() {
    assert!(scanned(&[7; 2048]).is_err());
    assert!(scanned(&archive(&["seccomp/profile.json"])[..700]).is_err());
    assert_eq!(scanned(b"").unwrap(), Sighting::default());
}

proptest! {
    /// Whatever was changed in a layer, reading it ends, in a sighting or an error.
    #[test]
    fn a_damaged_layer_ends(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        form in 0..3,
    ) {
        let plain = archive(&["seccomp -> opt", "opt/", "opt/.wh.x", &format!("{}/x", "d".repeat(120)), "seccomp/profile.json"]);
        let mut layer = match form {
            0 => plain,
            1 => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                io::Write::write_all(&mut encoder, &plain).unwrap();
                encoder.finish().unwrap()
            }
            _ => ruzstd::encoding::compress_to_vec(plain.as_slice(), ruzstd::encoding::CompressionLevel::Fastest),
        };
        for (place, byte) in changes {
            let place = place.index(layer.len());
            layer[place] = byte;
        }
        if let Ok(sighting) = scanned(&layer) {
            prop_assert!(sighting.nodes.keys().all(|depth| (1..=2).contains(depth)));
        }
    }
}
