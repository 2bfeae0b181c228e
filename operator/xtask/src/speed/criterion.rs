//! What `cargo bench` measured last.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The mean time of each benchmark, in nanoseconds, by its whole name.
pub(super) struct Estimates(BTreeMap<String, f64>);

impl Estimates {
    /// Reads what criterion keeps in its folder: for each benchmark a folder `new`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut estimates = BTreeMap::new();
        collect(folder, &mut estimates).with_context(|| {
            format!("no figures in {}: run `cargo bench -p portcullis-profile`", folder.display())
        })?;
        Ok(Self(estimates))
    }

    pub(super) fn nanoseconds(&self, name: &str) -> Result<f64> {
        self.0
            .get(name)
            .copied()
            .with_context(|| format!("no benchmark {name}: run `cargo bench -p portcullis-profile`"))
    }
}

fn collect(folder: &Path, estimates: &mut BTreeMap<String, f64>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("new") {
            let read =
                |file: &str| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path.join(file))?)?) };
            let (name, times) = (read("benchmark.json")?, read("estimates.json")?);
            let name = name["full_id"].as_str().context("benchmark.json has no full_id")?;
            let mean = times["mean"]["point_estimate"].as_f64().context("estimates.json has no mean")?;
            estimates.insert(name.to_owned(), mean);
        } else if path.is_dir() {
            collect(&path, estimates)?;
        }
    }
    Ok(())
}
