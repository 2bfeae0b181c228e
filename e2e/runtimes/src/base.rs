//! Whether a container starts under exactly the calls that are said to be its runtime's own.

use anyhow::{Context as _, Result};
use portcullis_profile::{Arch, runtime_base, syscalls};

use crate::{
    answer::{Answer, Filter, Target},
    pool::Pool,
    request::Request,
    runtime::Runtime,
    setting::Setting,
};

/// The calls of the measured container's own program (`probe.c`).
const OF_PROBE: [&str; 2] = ["pause", "ppoll"];

/// Starts containers of a runtime under exactly its base, and executes a second process in each. Says in words what doesn't start, and
/// which calls the runtime makes there besides.
///
/// # Errors
/// Where a container can't be tried.
pub fn lacks_of_base(pool: &Pool, runtime: &Runtime) -> Result<Vec<String>> {
    let settings: Vec<Setting> = [false, true]
        .into_iter()
        .flat_map(|no_new_privs| {
            Request::ALL.map(|request| Setting { runtime: runtime.clone(), no_new_privs, request })
        })
        .collect();
    let found = pool.each(&settings, |setting| lack(pool, setting))?;
    Ok(found.into_iter().flatten().collect())
}

fn lack(pool: &Pool, setting: &Setting) -> Result<Option<String>> {
    let base = runtime_base::names(setting.runtime.name.into(), setting.no_new_privs);
    let names = base.iter().chain(&OF_PROBE).map(|&name| name.to_owned()).collect();
    let outcome = pool.run(setting, Filter::Only(names)).with_context(|| setting.to_string())?;
    let way = match (&outcome.start, &outcome.exec) {
        (Some(_), Some(_)) => return Ok(None),
        (None, _) => "start",
        (Some(_), None) => "exec",
    };
    let besides = besides(pool, setting, &base)?;
    let besides = if besides.is_empty() { "nothing".to_owned() } else { besides.join(", ") };
    let said = outcome.said.trim();
    Ok(Some(format!("{setting}: no {way} under exactly the base ({said}); it calls besides: {besides}")))
}

/// The calls that a runtime makes under its container's filter and that its base lacks: without them the container ends at once.
fn besides(pool: &Pool, setting: &Setting, base: &[&str]) -> Result<Vec<&'static str>> {
    let arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };
    let expected = pool.expected(setting)?;
    let others = syscalls::calls(arch).into_iter().flatten().map(|(name, _)| name);
    let mut made = Vec::new();
    for name in others.filter(|name| !base.contains(name) && !OF_PROBE.contains(name)) {
        let effects = pool.effects(setting, &expected, &[(Target::whole(name), Answer::KillProcess)])?;
        if effects.start != crate::Effect::Same || effects.exec != Some(crate::Effect::Same) {
            made.push(name);
        }
    }
    Ok(made)
}
