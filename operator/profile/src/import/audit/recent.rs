//! Which records say again what one near them said: journald reads the audit socket and the kernel log, so that its journal has
//! each event twice.

use std::{collections::VecDeque, hash::Hasher as _, sync::LazyLock};

use memchr::memmem::Finder;
use rustc_hash::FxHasher;

use super::record::{Form, Payload};

/// How many records back one is looked for.
const MAX_RECENT: usize = 64;

/// The records that were not repeated yet.
#[derive(Debug, Default)]
pub(super) struct Recent {
    records: VecDeque<(u64, Form)>,
    /// Whether there were records of several forms.
    is_mixed: bool,
}

impl Recent {
    /// Whether a record of another form said the same just before; each is repeated once.
    pub(super) fn repeats(&mut self, payload: &Payload<'_>) -> bool {
        let digest = digest(payload.fields);
        // Most logs have one form, and nothing to be looked for.
        self.is_mixed |= self.records.front().is_some_and(|&(_, form)| form != payload.form);
        let same = |&(other, form): &(u64, Form)| other == digest && form != payload.form;
        if self.is_mixed
            && let Some(at) = self.records.iter().position(same)
        {
            self.records.remove(at);
            return true;
        }
        if self.records.len() == MAX_RECENT {
            self.records.pop_front();
        }
        self.records.push_back((digest, payload.form));
        false
    }
}

/// Of what the kernel itself wrote, from `auid=` on, as each form has something else before it.
fn digest(fields: &[u8]) -> u64 {
    static BEGIN: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"auid="));
    let start = BEGIN.find(fields).unwrap_or(0);
    let mut hasher = FxHasher::default();
    hasher.write(fields[start..].trim_ascii_end());
    hasher.finish()
}
