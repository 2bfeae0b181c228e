//! Profiles as they change.

use anyhow::Result;
use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api,
    core::{ApiResource, DynamicObject},
};
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

    fn changes(&self) -> impl Stream<Item = ()> {
        let client = &self.question.cluster.watching;
        let namespaced = match &self.question.scope {
            Scope::All => Api::all_with(client.clone(), &ApiResource::erase::<SeccompProfile>(&())),
            Scope::Namespace(namespace) => {
                Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<SeccompProfile>(&()))
            }
        };
        let clusters = Api::all_with(client.clone(), &ApiResource::erase::<ClusterSeccompProfile>(&()));
        let one = self.question.one;
        let kind = one.and_then(|reference| reference.kind);
        let watched = |own: ProfileKind, api: Api<DynamicObject>| {
            let wanted = kind.is_none_or(|kind| kind == own);
            let name = one.map(|reference| reference.name.as_str());
            stream::iter(wanted.then(|| touched(api, name))).flatten()
        };
        stream::select(
            watched(ProfileKind::SeccompProfile, namespaced),
            watched(ProfileKind::ClusterSeccompProfile, clusters),
        )
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
