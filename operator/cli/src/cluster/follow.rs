//! Showing objects as they change.

use std::{pin::pin, time::Duration};

use anyhow::{Result, ensure};
use futures::{Stream, StreamExt as _};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt as _, watcher},
};

use super::failure::{Attempt, FailureKind};
use crate::{console::Console, output::Output, table::Table, verdict::Verdict};

/// Changes that come within this time are shown together.
const TOGETHER: Duration = Duration::from_millis(300);

/// What is followed.
pub(crate) trait Followed {
    /// An object, as it is shown.
    type Line: PartialEq;

    /// An item for each change that the lines may show.
    fn changes(&self) -> impl Stream<Item = Result<()>>;

    /// Reads all lines. That there is no object of a name is an error of [`FailureKind::NotFound`].
    async fn ask(&self) -> Result<Vec<Self::Line>>;

    /// A line's row in the table.
    fn row(&self, line: &Self::Line) -> Vec<String>;

    /// What a line is known by.
    fn name(&self, line: &Self::Line) -> String;
}

/// Refuses to follow in a format that has an end. `kind` is what `kubectl get` calls the objects.
pub(crate) fn check_format(output: Option<Output>, kind: &str) -> Result<()> {
    ensure!(
        !matches!(output, Some(Output::Json | Output::Yaml)),
        "--watch shows a table: leave out -o json and -o yaml, or watch with `kubectl get {kind} -w -o json`"
    );
    Ok(())
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
    while !console.is_unread()
        && let Some(change) = changes.next().await
    {
        change?;
        // What has come meanwhile is in what is read now.
        let more = async {
            while let Some(change) = changes.next().await {
                change?;
            }
            Ok::<_, anyhow::Error>(())
        };
        if let Ok(ended) = tokio::time::timeout(TOGETHER, more).await {
            ended?;
        }
        let present = match followed.ask().await {
            // The one that was named is gone, and may come again.
            Err(error) if FailureKind::of_attempt(&error) == FailureKind::NotFound => Vec::new(),
            read => read?,
        };
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

/// An item for each change of a kind of objects, of one where a name is given, and whenever they were listed anew. A watch that is lost
/// is taken up again; one that is refused is an error.
pub(crate) fn touched<K: Resource<DynamicType = ()>>(
    client: Client,
    namespace: Option<&str>,
    name: Option<&str>,
) -> impl Stream<Item = Result<()>> + use<K> {
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &kind),
        None => Api::all_with(client, &kind),
    };
    let config = match name {
        Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        None => watcher::Config::default(),
    };
    let attempt = Attempt::new::<K>("watch", namespace);
    watcher(api, config).default_backoff().filter_map(move |event| {
        std::future::ready(match event {
            Ok(_) => Some(Ok(())),
            Err(error) => refusal(&attempt, error).map(Err),
        })
    })
}

/// What no second attempt can change.
pub(crate) fn refusal(attempt: &Attempt, error: watcher::Error) -> Option<anyhow::Error> {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => return None,
    };
    let failed = attempt.failed(&error);
    let kind = FailureKind::of_attempt(&failed);
    matches!(kind, FailureKind::Forbidden | FailureKind::NotInstalled).then_some(failed)
}
