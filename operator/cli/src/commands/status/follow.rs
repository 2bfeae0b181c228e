//! Showing profiles as they change.

use std::{pin::pin, time::Duration};

use anyhow::Result;
use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api,
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt as _, watcher},
};
use portcullis_api::{ClusterSeccompProfile, ProfileKind, SeccompProfile};

use super::{
    gather::{Line, Question, Report},
    overview,
};
use crate::{cluster::Scope, console::Console, verdict::Verdict};

/// Changes that come within this time are shown together.
const TOGETHER: Duration = Duration::from_millis(300);

/// Writes the table, and then a row for each profile that changes, until nobody reads any more.
pub(super) async fn follow(
    question: &Question<'_>,
    first: Report,
    wide: bool,
    console: &mut Console,
) -> Result<Verdict> {
    let table = overview::table(&first, &question.scope, wide);
    table.write(console.out())?;
    console.flush()?;
    first.notes.iter().for_each(|note| console.note(note));
    let mut shown = first.profiles;
    let mut changes = pin!(changes(question));
    while changes.next().await.is_some() {
        // What has come meanwhile is in what is read now.
        let more = async { while changes.next().await.is_some() {} };
        let _ = tokio::time::timeout(TOGETHER, more).await;
        let report = question.ask().await?;
        for line in &report.profiles {
            if shown.contains(line) {
                continue;
            }
            table.write_row(&overview::row(line, &question.scope, wide), console.out())?;
        }
        for line in gone(&shown, &report.profiles) {
            console.say(format_args!("{} is deleted", line.reference()));
        }
        console.flush()?;
        shown = report.profiles;
    }
    Ok(Verdict::Yes)
}

fn gone<'l>(shown: &'l [Line], present: &'l [Line]) -> impl Iterator<Item = &'l Line> {
    let same = |one: &Line, other: &Line| {
        (one.kind, &one.namespace, &one.name) == (other.kind, &other.namespace, &other.name)
    };
    shown.iter().filter(move |line| !present.iter().any(|other| same(line, other)))
}

/// An item for each change of a profile that the question is about. A watch that is lost is taken up again.
fn changes(question: &Question<'_>) -> impl Stream<Item = ()> {
    let client = &question.cluster.watching;
    let namespaced = match &question.scope {
        Scope::All => Api::all_with(client.clone(), &ApiResource::erase::<SeccompProfile>(&())),
        Scope::Namespace(namespace) => {
            Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<SeccompProfile>(&()))
        }
    };
    let clusters = Api::all_with(client.clone(), &ApiResource::erase::<ClusterSeccompProfile>(&()));
    let kind = question.one.and_then(|reference| reference.kind);
    let wants = |own: ProfileKind| kind.is_none_or(|kind| kind == own);
    let config = match question.one {
        Some(reference) => watcher::Config::default().fields(&format!("metadata.name={}", reference.name)),
        None => watcher::Config::default(),
    };
    stream::select(
        touched(wants(ProfileKind::SeccompProfile).then_some(namespaced), config.clone()),
        touched(wants(ProfileKind::ClusterSeccompProfile).then_some(clusters), config),
    )
}

fn touched(api: Option<Api<DynamicObject>>, config: watcher::Config) -> impl Stream<Item = ()> {
    let watched = api.map(|api| watcher(api, config).default_backoff().touched_objects());
    stream::iter(watched).flatten().filter_map(async |event| event.ok().map(drop))
}
