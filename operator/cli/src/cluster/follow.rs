//! Showing objects as they change.

use std::{pin::pin, time::Duration};

use anyhow::Result;
use futures::{Stream, StreamExt as _};
use kube::{
    Api,
    core::DynamicObject,
    runtime::{WatchStreamExt as _, watcher},
};

use crate::{console::Console, table::Table, verdict::Verdict};

/// Changes that come within this time are shown together.
const TOGETHER: Duration = Duration::from_millis(300);

/// What is followed.
pub(crate) trait Followed {
    /// An object, as it is shown.
    type Line: PartialEq;

    /// An item for each change that the lines may show.
    fn changes(&self) -> impl Stream<Item = ()>;

    /// Reads all lines.
    async fn ask(&self) -> Result<Vec<Self::Line>>;

    /// A line's row in the table.
    fn row(&self, line: &Self::Line) -> Vec<String>;

    /// What a line is known by.
    fn name(&self, line: &Self::Line) -> String;
}

/// Writes a row under a table, which was written, for each line that changes, until nobody reads any more.
pub(crate) async fn follow<F: Followed>(
    followed: &F,
    table: &Table,
    mut shown: Vec<F::Line>,
    console: &mut Console,
) -> Result<Verdict> {
    console.flush()?;
    let mut changes = pin!(followed.changes());
    while changes.next().await.is_some() {
        // What has come meanwhile is in what is read now.
        let more = async { while changes.next().await.is_some() {} };
        let _ = tokio::time::timeout(TOGETHER, more).await;
        let present = followed.ask().await?;
        for line in present.iter().filter(|line| !shown.contains(line)) {
            table.write_row(&followed.row(line), console.out())?;
        }
        let name = |line| followed.name(line);
        let left: Vec<String> = present.iter().map(name).collect();
        for name in shown.iter().map(name).filter(|name| !left.contains(name)) {
            console.say(format_args!("{name} is deleted"));
        }
        console.flush()?;
        shown = present;
    }
    Ok(Verdict::Yes)
}

/// An item for each change of a kind of objects, of one where a name is given. A watch that is lost is taken up again.
pub(crate) fn touched(api: Api<DynamicObject>, name: Option<&str>) -> impl Stream<Item = ()> + use<> {
    let config = match name {
        Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        None => watcher::Config::default(),
    };
    watcher(api, config).default_backoff().touched_objects().filter_map(async |event| event.ok().map(drop))
}
