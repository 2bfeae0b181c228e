//! Lists that are read page by page, so that memory stays bounded however large the cluster is.

use kube::{
    Api, Error,
    api::ListParams,
    core::{ObjectList, PartialObjectMeta},
};
use serde::de::DeserializeOwned;

/// Objects in a page where nothing else is asked for; kubectl's own number.
const PAGE: u32 = 500;

/// Reads every page of a list, and gives each object to a closure.
///
/// A list that takes longer than the API server keeps its version (five minutes) goes on with the present one: the server's answer
/// 410 carries a token for that. An object that came or went meanwhile may be missing, none is given twice.
///
/// Source: <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>.
pub(crate) async fn each<K>(api: &Api<K>, params: ListParams, each: impl FnMut(K)) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    pages(params, async |params| api.list(&params).await, each).await
}

/// The same with nothing but the objects' metadata.
pub(crate) async fn each_metadata<K>(
    api: &Api<K>,
    params: ListParams,
    each: impl FnMut(PartialObjectMeta<K>),
) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    pages(params, async |params| api.list_metadata(&params).await, each).await
}

async fn pages<T>(
    params: ListParams,
    list: impl AsyncFn(ListParams) -> Result<ObjectList<T>, Error>,
    mut each: impl FnMut(T),
) -> Result<(), Error>
where
    T: Clone,
{
    let limit = params.limit.unwrap_or(PAGE);
    let mut params = params.limit(limit);
    loop {
        let next = match list(params.clone()).await {
            Ok(page) => {
                page.items.into_iter().for_each(&mut each);
                page.metadata.continue_
            }
            Err(Error::Api(status)) if status.code == 410 && params.continue_token.is_some() => {
                let token = status.metadata.as_ref().and_then(|metadata| metadata.continue_.clone());
                if token.as_deref().unwrap_or_default().is_empty() {
                    return Err(Error::Api(status));
                }
                token
            }
            Err(error) => return Err(error),
        };
        match next.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::fake;

    fn named(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
    }

    async fn names(
        answer: impl Fn(&str) -> (StatusCode, Value) + Send + 'static,
    ) -> Result<Vec<String>, Error> {
        let cluster = fake::cluster(move |asked| {
            assert!(asked.query.contains("limit=500"), "{}", asked.query);
            let token = asked.query.split('&').find_map(|part| part.strip_prefix("continue="));
            answer(token.unwrap_or_default())
        });
        let mut names = Vec::new();
        let api = Api::<ConfigMap>::default_namespaced(cluster.client);
        each(&api, ListParams::default(), |object| names.push(object.name_any())).await?;
        Ok(names)
    }

    fn expired(token: &str) -> (StatusCode, Value) {
        let (code, mut status) =
            fake::refusal(StatusCode::GONE, "Expired", "The provided continue parameter is too old");
        status["metadata"] = json!({"continue": token});
        (code, status)
    }

    #[tokio::test]
    async fn a_list_that_grows_too_old_goes_on_where_it_was() {
        let found = names(|token| match token {
            "" => fake::page(&[named("a"), named("b")], "second"),
            "second" => expired("second-of-now"),
            "second-of-now" => fake::list(&[named("c")]),
            other => panic!("nobody gave the token {other:?}"),
        });
        assert_eq!(found.await.unwrap(), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_list_that_can_not_go_on_fails() {
        let found = names(|token| match token {
            "" => fake::page(&[named("a")], "second"),
            _ => expired(""),
        });
        let error = found.await.unwrap_err();
        assert!(crate::cluster::failure::explain(&error).contains("run the command again"), "{error}");
    }
}
