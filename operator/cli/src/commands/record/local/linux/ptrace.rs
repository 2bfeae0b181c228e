//! A command recorded by ptrace.

use anyhow::Result;
use portcullis_profile::recording::{Exit, Observation};
use portcullis_trace::{Error, Progress, Tracer};

use rustix::thread::CapabilitySet;

use super::{command::Launch, follow::Recording, plain};
use crate::console;

/// A command that is traced.
#[derive(Debug)]
pub(super) struct Traced {
    id: u32,
    tracer: Tracer,
}

impl Traced {
    pub(super) fn start(launch: &Launch<'_>) -> Result<Self> {
        let mut child = launch.traced()?;
        match Tracer::seize(child.id()) {
            Ok(tracer) => Ok(Self { id: child.id(), tracer }),
            Err(error) => {
                // It waits for a tracer and would do so for ever.
                if !matches!(error, Error::Gone) {
                    child.kill()?;
                    child.wait()?;
                }
                Err(plain(error))
            }
        }
    }
}

impl Traced {
    /// Says which programs ran without the rights of their files: the kernel gives a traced process none that its tracer has not.
    ///
    /// Source: `cap_bprm_creds_from_file` in the kernel's security/commoncap.c.
    pub(super) fn say_without_rights(&self) {
        let own = rustix::thread::capabilities(None);
        if own.is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_PTRACE)) {
            return;
        }
        for (program, rights) in self.tracer.programs_with_rights() {
            console::note(&format!(
                "{} ran without the rights of its file ({rights}), because it was traced, so what it calls with them is missing: \
                 record as root",
                program.display()
            ));
        }
    }
}

impl Recording for Traced {
    fn id(&self) -> u32 {
        self.id
    }

    fn advance(&mut self) -> Result<Progress> {
        self.tracer.advance().map_err(plain)
    }

    fn left(&self) -> Vec<i32> {
        self.tracer.tasks()
    }

    fn release(&mut self) -> Result<()> {
        self.tracer.release().map_err(plain)
    }

    fn seen(&self) -> Result<Option<Observation>> {
        Ok(self.tracer.has_started().then(|| self.tracer.observation()))
    }

    fn exit(&self) -> Option<Exit> {
        self.tracer.exit()
    }
}
