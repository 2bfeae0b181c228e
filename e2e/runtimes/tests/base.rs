//! What the machine's own runtimes need of a filter is what the model says. Needs root, runc and crun.

use std::path::Path;

use anyhow::{Result, ensure};
use portcullis_runtimes::{Pool, Source, lacks_of_base};

#[test]
fn containers_start_and_processes_are_executed_in_them_under_exactly_the_base() -> Result<()> {
    let pool = Pool::new(Path::new(env!("CARGO_BIN_EXE_portcullis-runtimes")), 2)?;
    for source in Source::INSTALLED {
        let lacks = lacks_of_base(&pool, &source.obtain()?)?;
        ensure!(lacks.is_empty(), "{}", lacks.join("\n"));
    }
    Ok(())
}
