//! Judging a document takes a bounded amount of work and memory, whatever its author wished.
//!
//! The test has a process of its own: the allocator counts for all threads.

mod hostile;
mod judge;

use judge::judge;
use peak_alloc::PeakAlloc;
use portcullis_profile::{Profile, compare::Budget, runtime_defaults};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What the controller may take for one profile, in MiB.
const MAX_MEMORY: f32 = 32.0;

#[test]
fn judging_is_bounded() {
    let defaults = runtime_defaults();
    let sixteen: Vec<Profile> = vec![defaults[0].profile.clone(); 16];
    for parts in [vec![defaults[0].profile.clone()], vec![defaults[1].profile.clone()], sixteen] {
        let budget = Budget::default();
        assert!(judge(&parts, &budget) && !budget.is_spent(), "{} parts, {budget:?}", parts.len());
    }
    let single = hostile::documents().into_iter().map(|(what, document)| (what, vec![document]));
    for (what, parts) in single.chain(hostile::unions()) {
        let before = MEMORY.current_usage_as_mb();
        MEMORY.reset_peak_usage();
        judge(&parts, &Budget::default());
        let taken = MEMORY.peak_usage_as_mb() - before;
        assert!(taken < MAX_MEMORY, "{what}: {taken} MiB");
    }
}
