//! A command recorded by ptrace.

use anyhow::Result;
use portcullis_profile::recording::{Exit, Observation};
use portcullis_trace::{Error, Progress, Tracer};

use super::{command::Launch, follow::Recording, plain};

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
