//! In which container an answer is given.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{answer::Target, request::Request, runtime::Runtime, table::Place};

/// A container under a runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What starts it.
    pub runtime: Runtime,
    /// Whether it can get no privileges by `execve`, which decides when the filter is loaded.
    pub no_new_privs: bool,
    /// What it asks for.
    pub request: Request,
}

impl Setting {
    /// Where the table has what becomes of its container.
    #[must_use]
    pub fn place(&self, target: &Target, way: Way) -> Place {
        let Self { runtime, no_new_privs, request } = self;
        Place {
            runtime: runtime.name.as_str().to_owned(),
            version: runtime.version.clone(),
            no_new_privs: *no_new_privs,
            way: way.name().to_owned(),
            request: request.name().to_owned(),
            given: "-".to_owned(),
            target: target.clone(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runtime, no_new_privs, request } = self;
        write!(f, "{runtime} no_new_privs={no_new_privs} {}", request.name())
    }
}

/// How a process of a container begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Way {
    /// As the container's first.
    Start,
    /// By `exec`, in a container that runs.
    Exec,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Start, Self::Exec];

    /// As the table has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Exec => "exec",
        }
    }
}
