//! Recordings as they change.

use anyhow::Result;
use futures::Stream;
use portcullis_api::SeccompRecording;

use super::{Line, Report, ask, overview};
use crate::{
    cluster::{
        Cluster, Scope,
        follow::{self, Followed, touched},
    },
    console::Console,
    verdict::Verdict,
};

/// Writes the table, and then a row for each recording that changes.
pub(super) async fn follow(
    recordings: &Recordings<'_>,
    first: Report,
    console: &mut Console,
) -> Result<Verdict> {
    let table = overview::table(&first, recordings.scope, recordings.wide);
    table.write(console.out())?;
    follow::follow(recordings, &table, first.recordings, console).await
}

/// The recordings that are followed.
pub(super) struct Recordings<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) scope: &'a Scope,
    pub(super) name: Option<&'a str>,
    pub(super) wide: bool,
}

impl Followed for Recordings<'_> {
    type Line = Line;

    fn changes(&self) -> impl Stream<Item = Result<()>> {
        touched::<SeccompRecording>(self.cluster.watching.clone(), self.scope.namespace(), self.name)
    }

    async fn ask(&self) -> Result<Vec<Line>> {
        Ok(ask(self.cluster, self.scope, self.name).await?.recordings)
    }

    fn row(&self, line: &Line) -> Vec<String> {
        overview::row(line, self.scope, self.wide)
    }

    fn name(&self, line: &Line) -> String {
        match self.scope {
            Scope::All => format!("{}/{}", line.namespace, line.name),
            Scope::Namespace(_) => line.name.clone(),
        }
    }
}
