//! What the tests of properties of parsers share: the seeds of the fuzz targets, with a few bytes changed and parts of them
//! joined. Every crate that has parsers has this among its tests.

use std::{fs, path::Path};

use proptest::prelude::*;

/// The seeds of a fuzz target.
pub(crate) fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no seed", folder.display());
    files.iter().map(|file| fs::read(file).expect("a seed can be read")).collect()
}

/// A seed in which bytes are replaced, of which a part is taken out, and which goes on with another.
pub(crate) fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let seed = proptest::sample::select(seeds);
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let cut = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (seed.clone(), seed, edits, cut).prop_map(|(mut one, other, edits, (from, to))| {
        for (at, byte) in edits {
            if !one.is_empty() {
                let at = at.index(one.len());
                one[at] = byte;
            }
        }
        let (from, to) = (from.index(one.len() + 1), to.index(other.len() + 1));
        one.truncate(from);
        one.extend_from_slice(&other[to..]);
        one
    })
}

/// The fuzz targets that try this crate's properties, in the order of their names.
pub(crate) fn targets() -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own =
        format!("operator/{}/tests/parsers/properties.rs", manifest.file_name().expect("a name").display());
    let folder = manifest.join("../../fuzz/fuzz_targets");
    let mut targets: Vec<String> = fs::read_dir(folder)
        .expect("the fuzz targets")
        .map(|entry| entry.expect("an entry").path())
        .filter(|file| fs::read_to_string(file).expect("a target can be read").contains(&own))
        .map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    targets.sort();
    targets
}

/// For each property a test of the same name, and one that the fuzz targets are the same.
macro_rules! parsers {
    ($($target:ident),+ $(,)?) => {
        $(
            #[test]
            fn $target() {
                let seeds = harness::seeds(stringify!($target));
                for seed in &seeds {
                    properties::$target(seed);
                }
                proptest!(ProptestConfig::with_cases(2000), |(data in harness::mutated(seeds))| {
                    properties::$target(&data);
                });
                proptest!(|(data in proptest::collection::vec(any::<u8>(), 0..512))| {
                    properties::$target(&data);
                });
            }
        )+

        #[test]
        fn every_fuzz_target_is_tested_here_and_the_other_way_round() {
            let mut tested = vec![$(stringify!($target)),+];
            tested.sort_unstable();
            assert_eq!(harness::targets(), tested);
        }
    };
}
