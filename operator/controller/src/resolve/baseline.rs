//! What profiles are held against, compiled for each architecture.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, LazyLock},
};

use portcullis_profile::{
    Arch, Baseline, Profile,
    compare::reachable,
    evaluate::{Evaluator, Refusal, Runtime},
    runtime_defaults,
};

/// The runtime default, or the profile that an administrator put in its place.
#[derive(Debug)]
pub(crate) struct Compiled {
    baseline: Baseline,
    filters: Vec<Filter>,
}

/// The filter on nodes of one architecture.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) arch: Arch,
    pub(super) profile: Profile,
    pub(super) evaluator: Evaluator,
}

static STRICTEST: LazyLock<Arc<Compiled>> = LazyLock::new(|| {
    let arches = runtime_defaults().iter().map(|default| default.arch);
    // The documents are part of the program, and a test compiles them.
    Arc::new(Compiled::new(Baseline::strictest(), arches).expect("the runtime defaults can be loaded"))
});

impl Compiled {
    /// The strictest supported runtime default, compiled once: each profile of a namespace is compared with it.
    pub(crate) fn strictest() -> Arc<Self> {
        Arc::clone(&STRICTEST)
    }

    /// A profile in the runtime default's place: on nodes of x86-64 and arm64, which always have one, and of each architecture that it
    /// lists.
    ///
    /// # Errors
    /// Where a runtime doesn't load it.
    pub(crate) fn chosen(source: String, profile: Profile) -> Result<Self, Refusal> {
        let mut arches: Vec<Arch> = runtime_defaults().iter().map(|default| default.arch).collect();
        for &listed in &profile.architectures {
            if arches.iter().all(|&native| !reachable(native).contains(&listed)) {
                arches.push(listed);
            }
        }
        Self::new(Baseline::chosen(source, profile), arches.into_iter())
    }

    fn new(baseline: Baseline, arches: impl Iterator<Item = Arch>) -> Result<Self, Refusal> {
        let filter = |arch| {
            let profile = baseline.on(arch)?.clone();
            let evaluator = Evaluator::new(&profile, Runtime::Runc, arch);
            Some(evaluator.map(|evaluator| Filter { arch, profile, evaluator }))
        };
        let filters = arches.filter_map(filter).collect::<Result<_, _>>()?;
        Ok(Self { baseline, filters })
    }

    /// As it was before it was compiled.
    pub(crate) const fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    pub(super) fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Those of some architectures on whose nodes it is not known.
    pub(super) fn unknown_on<'a>(&self, architectures: &'a BTreeSet<Arch>) -> impl Iterator<Item = &'a Arch> {
        architectures.iter().filter(|arch| self.filters.iter().all(|filter| filter.arch != **arch))
    }
}

/// As [`Baseline`] does.
impl fmt::Display for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.baseline.fmt(f)
    }
}
