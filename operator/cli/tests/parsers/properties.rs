//! What holds of every file that may hold profiles; a panic says that it doesn't.
//!
//! Shared by the property tests here and by the fuzz targets in `fuzz/`.

use portcullis_cli::strangers;
use portcullis_profile::printable;

/// Problems that one reading tells of.
const MAX_PROBLEMS: usize = 20;

/// Every profile of a file is found, or what is wrong with it and where; and a profile that is written as a resource is read
/// again as the same.
pub(crate) fn resources(data: &[u8]) {
    let read = strangers::resources(data);
    for profile in &read.profiles {
        match profile {
            Ok(profile) => {
                if let Ok(text) = strangers::resource(profile) {
                    let again = strangers::resources(text.as_bytes());
                    let [Ok(again)] = &again.profiles[..] else { panic!("{:?} of {text}", again.profiles) };
                    assert_eq!(again.canonical(), profile.canonical());
                }
            }
            Err(problems) => {
                assert!((1..=MAX_PROBLEMS + 1).contains(&problems.lines().count()), "{problems}");
                for line in problems.lines() {
                    assert!(line.len() < 4096, "{} bytes: {line}", line.len());
                    assert_eq!(printable(line), line);
                }
            }
        }
    }
    for said in read.said {
        assert!(said.len() < 4096, "{} bytes: {said}", said.len());
        assert_eq!(printable(&said), said);
    }
}
