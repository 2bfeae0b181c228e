//! Which records say again what one near them said: journald reads the audit socket and the kernel log, so that its journal has
//! each event twice.

use std::{collections::VecDeque, hash::Hasher as _};

use rustc_hash::FxHasher;

use super::record::{Form, Payload};

/// How many records back one is looked for.
const MAX_RECENT: usize = 64;

/// The records that were not repeated yet.
#[derive(Debug, Default)]
pub(super) struct Recent {
    records: VecDeque<(u64, Form)>,
}

impl Recent {
    /// Whether a record of another form said the same just before; each is repeated once.
    pub(super) fn repeats(&mut self, payload: &Payload<'_>) -> bool {
        let digest = digest(payload.fields);
        let same = |&(other, form): &(u64, Form)| other == digest && form != payload.form;
        if let Some(at) = self.records.iter().position(same) {
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
    let start = memchr::memmem::find(fields, b"auid=").unwrap_or(0);
    let mut hasher = FxHasher::default();
    hasher.write(fields[start..].trim_ascii_end());
    hasher.finish()
}
