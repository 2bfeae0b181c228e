//! Blocks of instructions that several calls have in common.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Arch, Table,
    arch::width,
    condition::Width,
    merge::{Allowance, Blocks, Program, programs},
    row::Row,
};

/// Takes for unsure what calls do that rely on a word to be loaded anew, where another call has the same block of instructions and needs
/// no load.
///
/// libseccomp writes equal blocks once, for all calls and architectures, and has one load its word where the first of those that jump to it
/// leaves another word. Which is the first depends on the order of the calls.
///
/// Source: `_hsh_add` and `_gen_bpf_build_bpf` in libseccomp's `src/gen_bpf.c`, v2.5.4 and v2.6.1.
pub(super) fn doubt(tables: &mut [(Arch, Table)]) {
    let unsure = match overridden(tables) {
        Some(unsure) => unsure,
        // Where there are too many rules to look at, each call may be another's neighbour.
        None => calls(tables).filter(|call| call.loads_anew).map(|call| call.place).collect(),
    };
    for (at, number) in unsure {
        tables[at].1.doubt(number);
    }
}

/// A call's table, by index, and its number there.
type Place = (usize, u32);

/// What a call's program is made of.
type Rules<'t> = (Width, &'t [Row]);

/// A call that depends on its arguments.
struct Call<'t> {
    place: Place,
    rules: Rules<'t>,
    /// Whether it is known to rely on loads.
    loads_anew: bool,
}

fn calls(tables: &[(Arch, Table)]) -> impl Iterator<Item = Call<'_>> {
    tables.iter().enumerate().flat_map(|(at, (arch, table))| {
        table.groups().map(move |(number, group)| Call {
            place: (at, number),
            rules: (width(*arch), &group.rows),
            loads_anew: group.loads_anew,
        })
    })
}

/// The calls with a block that loads its word anew for them, and not for another call; `None` where it was too hard to find out.
fn overridden(tables: &[(Arch, Table)]) -> Option<Vec<Place>> {
    let mut alike: FxHashMap<Rules<'_>, Vec<Place>> = FxHashMap::default();
    for call in calls(tables) {
        alike.entry(call.rules).or_default().push(call.place);
    }
    // One rule alone never relies on a load, nor do rules on themselves.
    if alike.len() < 2 || alike.keys().all(|(_, rows)| rows.len() < 2) {
        return Some(Vec::new());
    }
    let mut allowance = Allowance::new();
    let mut blocks = Blocks::default();
    let mut made: Vec<(Vec<Program>, Vec<Place>)> = Vec::new();
    for ((width, rows), places) in alike {
        // What libseccomp never makes a program of has another fault.
        match programs(rows, width, &mut blocks, &mut allowance) {
            Ok(programs) => made.push((programs, places)),
            Err(broken) if broken.is_too_hard() => return None,
            Err(_) => {}
        }
    }
    let relying: FxHashSet<usize> =
        made.iter().flat_map(|(programs, _)| programs).flat_map(Program::relying).collect();
    let is_overridden =
        |programs: &[Program]| programs.iter().flat_map(Program::anew).any(|block| relying.contains(&block));
    let overridden = made.into_iter().filter(|(programs, _)| is_overridden(programs));
    Some(overridden.flat_map(|(_, places)| places).collect())
}
