//! Profiles as they change.

use anyhow::Result;
use futures::{Stream, StreamExt as _, stream};
use portcullis_api::{ClusterSeccompProfile, ProfileKind, SeccompProfile};

use super::{
    gather::{Line, Question, Report},
    overview,
};
use crate::{
    cluster::{
        Scope,
        follow::{self, Followed, touched},
    },
    console::Console,
    verdict::Verdict,
};

/// Writes the table, and then a row for each profile that changes.
pub(super) async fn follow(
    question: &Question<'_>,
    first: Report,
    wide: bool,
    console: &mut Console,
) -> Result<Verdict> {
    let table = overview::table(&first, &question.scope, wide);
    table.write(console.out())?;
    first.notes.iter().for_each(|note| console.note(note));
    follow::follow(&Profiles { question, wide }, &table, first.profiles, console).await
}

struct Profiles<'q> {
    question: &'q Question<'q>,
    wide: bool,
}

impl Followed for Profiles<'_> {
    type Line = Line;

    fn changes(&self) -> impl Stream<Item = Result<()>> {
        let client = &self.question.cluster.watching;
        let one = self.question.one;
        let name = one.map(|reference| reference.name.as_str());
        let wants = |own: ProfileKind| one.and_then(|one| one.kind).is_none_or(|kind| kind == own);
        let namespaced = wants(ProfileKind::SeccompProfile)
            .then(|| touched::<SeccompProfile>(client.clone(), self.question.scope.namespace(), name));
        let clusters = wants(ProfileKind::ClusterSeccompProfile)
            .then(|| touched::<ClusterSeccompProfile>(client.clone(), None, name));
        stream::select(stream::iter(namespaced).flatten(), stream::iter(clusters).flatten())
    }

    async fn ask(&self) -> Result<Vec<Line>> {
        Ok(self.question.ask().await?.profiles)
    }

    fn row(&self, line: &Line) -> Vec<String> {
        overview::row(line, &self.question.scope, self.wide)
    }

    fn name(&self, line: &Line) -> String {
        match &line.namespace {
            Some(namespace) if self.question.scope == Scope::All => {
                format!("{namespace}/{}", line.reference())
            }
            _ => line.reference(),
        }
    }
}
