//! The long forms of the end-to-end tests: `make soak`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use portcullis_api::{Owner, SeccompProfile};
use portcullis_e2e::{
    FIRST_NODES, Operator,
    operator::{AGENTS, CONTROLLERS},
    progress,
    testing::{
        TestNamespace,
        agents::AgentProcess,
        profiles::{current_content, ensure_served, local_operator, numbered, profile},
        torture::{Least, torture},
        with_namespace,
    },
};
use serde_json::json;

/// Seconds of churn, where an hour is too long.
const CHURN_VARIABLE: &str = "PORTCULLIS_SOAK_SECONDS";
/// Profiles that come, change and go.
const PROFILES: u32 = 40;
/// Changes between two looks at everything.
const ROUND: u32 = 200;
/// How long a file may stay of whose end an agent learns by a list, periodic or after a lost watch: the agents' grace of ten
/// minutes, and some time to get to it.
const GRACE: Duration = Duration::from_secs(11 * 60);

#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn two_hundred_kills_tear_no_file() -> Result<()> {
    let operator = unpaced_operator().await?;
    with_namespace(operator.cluster(), "kills", async |namespace| {
        let directory = tempfile::tempdir()?;
        let torture =
            torture(&operator, &namespace, directory.path(), Least { kills: 200, changes: 100 }).await?;
        progress::say(format_args!("{torture:?}"));
        ensure!(torture.reads > 100_000, "too little happened: {torture:?}");
        Ok(())
    })
    .await
}

/// The operator on the local cluster, where the controller writes revisions as fast as profiles change.
async fn unpaced_operator() -> Result<Operator> {
    local_operator().await?;
    Operator::with_values(&["bounds.revisionBurst=1000000"]).await
}

/// What must stay as it is, or nearly, however much happens.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Of the largest agent, in bytes.
    agent_memory: u64,
    /// Of all roles' containers.
    restarts: i32,
}

#[tokio::test]
#[ignore = "takes an hour: make soak"]
async fn an_hour_of_churn_leaves_every_file_right_and_nothing_grown() -> Result<()> {
    let operator = unpaced_operator().await?;
    let seconds = std::env::var(CHURN_VARIABLE).ok().map(|text| text.parse()).transpose();
    let length = Duration::from_secs(
        seconds.with_context(|| format!("{CHURN_VARIABLE} is no number"))?.unwrap_or(3600),
    );
    with_namespace(operator.cluster(), "churn", async |namespace| {
        let begun = Instant::now();
        let (mut round, mut first, mut left) = (0, None, BTreeMap::new());
        while begun.elapsed() < length {
            let existing = churn(&operator, &namespace, round).await?;
            look(&operator, &namespace, &existing, &mut left).await?;
            let now = size(&operator).await?;
            progress::say(format_args!(
                "round {round}, {:.0?}: {} profiles, {now:?}",
                begun.elapsed(),
                existing.len()
            ));
            // Allocators settle in the first rounds.
            let early: Size = *first.get_or_insert(now);
            if round > 2 {
                ensure!(
                    now.agent_memory < early.agent_memory * 3 / 2 + (1 << 20),
                    "agents grow: {early:?}, then {now:?}"
                );
            }
            ensure!(now.restarts == early.restarts, "something was restarted: {early:?}, then {now:?}");
            round += 1;
        }
        Ok(())
    })
    .await
}

/// Creates, edits, deletes and spoils, in an order that is another in each round and the same in each run. Gives the numbers of the
/// profiles that are left.
async fn churn(operator: &Operator, namespace: &TestNamespace, round: u32) -> Result<Vec<u32>> {
    let profiles: Api<SeccompProfile> = namespace.api();
    let mut existing = vec![false; usize::try_from(PROFILES)?];
    for found in profiles.list(&ListParams::default()).await? {
        let number = found.name_any().trim_start_matches('p').parse::<usize>()?;
        existing[number] = found.metadata.deletion_timestamp.is_none();
    }
    let mut random = round.wrapping_mul(2_654_435_761).wrapping_add(1);
    for step in 0..ROUND {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = (random >> 8) % PROFILES;
        let (name, at) = (format!("p{number}"), usize::try_from(number)?);
        match (random >> 24) % 8 {
            0 if existing[at] => {
                namespace.kubectl(&["delete", "seccompprofile", &name, "--timeout=60s"])?;
                existing[at] = false;
            }
            1 if existing[at] => {
                let path = Owner::namespaced(namespace.name(), &name)?.current_path();
                let node = FIRST_NODES[usize::try_from(step)? % FIRST_NODES.len()];
                // It may not have come there yet.
                fs::remove_file(operator.file(node, &path)?).ok();
            }
            _ => {
                let document = numbered(round * ROUND + step);
                namespace.apply(&profile(&name, &json!({ "profile": document })))?;
                existing[at] = true;
            }
        }
    }
    Ok((0..PROFILES).filter(|number| usize::try_from(*number).is_ok_and(|at| existing[at])).collect())
}

/// Everything is Ready, every file is right, and nothing else stays there. `left` has what is still there of profiles that are gone, and
/// since when.
async fn look(
    operator: &Operator,
    namespace: &TestNamespace,
    existing: &[u32],
    left: &mut BTreeMap<PathBuf, Instant>,
) -> Result<()> {
    if !existing.is_empty() {
        namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "seccompprofile", "--all"])?;
    }
    for number in existing {
        let owner = Owner::namespaced(namespace.name(), &format!("p{number}"))?;
        let content = current_content(operator.cluster(), &owner).await?;
        ensure_served(operator, &owner.current_path(), &content)?;
    }
    let mut leaving = BTreeSet::new();
    for node in FIRST_NODES {
        let directory = operator.file(node, namespace.name())?;
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let number =
                name.trim_start_matches('p').split(['@', '.']).next().and_then(|text| text.parse().ok());
            if !number.is_some_and(|number: u32| existing.contains(&number)) {
                leaving.insert(directory.join(name));
            }
        }
    }
    left.retain(|path, _| leaving.contains(path));
    for path in leaving {
        let since = left.entry(path.clone()).or_insert_with(Instant::now).elapsed();
        ensure!(since < GRACE, "{} is left of a profile that is gone since {since:.0?}", path.display());
        progress::say(format_args!("{} stays of a profile that is gone, since {since:.0?}", path.display()));
    }
    Ok(())
}

async fn size(operator: &Operator) -> Result<Size> {
    let mut size = Size { agent_memory: 0, restarts: 0 };
    for node in FIRST_NODES {
        size.agent_memory = size.agent_memory.max(AgentProcess::on(operator, node)?.memory()?);
    }
    for label in [AGENTS, CONTROLLERS] {
        for pod in operator.pods(label).await? {
            size.restarts += restarts(&pod);
        }
    }
    Ok(size)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    statuses.unwrap_or_default().iter().map(|status| status.restart_count).sum()
}
