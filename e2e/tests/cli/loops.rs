//! From a file to a confined workload, on to a new revision, and back.

use anyhow::{Context as _, Result, ensure};
use portcullis_api::{Owner, SeccompProfile};
use portcullis_e2e::testing::{
    Seen, eventually,
    profiles::{
        PATIENCE, await_ready, current_content, denying, ensure_served, local_operator, numbered, profile,
    },
    with_namespace,
};
use serde_json::{Value, json};

use crate::tool::{deployment, fixture, rolled_out, run};

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_file_becomes_a_profile_that_a_workload_uses_and_its_changes_are_told() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "cli", async |namespace| {
        let web = Owner::namespaced(namespace.name(), "web")?;
        let file = fixture("web.json");
        let file = file.to_str().context("a path of text")?;
        let tried =
            run(&namespace, &["apply", "-f", file, "--name", "web", "--dry-run=server"])?.expect(0)?;
        ensure!(tried.out.contains("(server dry run)"), "{}", tried.out);
        let missing = run(&namespace, &["get", "web"])?.expect(2)?;
        ensure!(missing.errors.contains("no SeccompProfile \"web\""), "{}", missing.errors);

        let applied = run(&namespace, &["apply", "-f", file, "--name", "web"])?.expect(0)?;
        let path = format!("profiles/{}/web.json", namespace.name());
        ensure!(applied.out.contains(&format!("web: Ready on 2 of 2 nodes, as {path}\n")), "{}", applied.out);
        let document = run(&namespace, &["get", "web"])?.expect(0)?.out;
        assert_eq!(document, current_content(operator.cluster(), &web).await?);
        ensure_served(&operator, &web.current_path(), &document)?;

        deployment(&namespace).await?;
        let who = run(&namespace, &["who", "--uncovered"])?.expect(1)?;
        ensure!(who.out.contains("deploy/web   web         1      not set"), "{}", who.out);
        run(&namespace, &["use", "web", "deploy/web", "-c", "web", "--apply"])?.expect(0)?;
        rolled_out(&namespace).await?;
        let who = run(&namespace, &["who"])?.expect(0)?;
        ensure!(who.out.contains("deploy/web   web         1      Localhost     sp/web"), "{}", who.out);
        run(&namespace, &["who", "--uncovered"])?.expect(0)?;

        // The API tells times in seconds: what starts and changes within one is not told apart.
        move_on().await?;
        let mut changed: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        changed["syscalls"][0]["names"].as_array_mut().context("names")?.push(json!("mkdir"));
        let folder = tempfile::tempdir()?;
        let newer = folder.path().join("web.json");
        std::fs::write(&newer, changed.to_string())?;
        let newer = newer.to_str().context("a path of text")?;
        run(&namespace, &["apply", "-f", newer, "--name", "web"])?.expect(0)?;
        let status: Value =
            serde_json::from_str(&run(&namespace, &["status", "web", "-o", "json"])?.expect(0)?.out)?;
        let usage = &status["profiles"][0]["usage"];
        assert_eq!((&usage["pods"], &usage["stale"]), (&json!(1), &json!(1)), "{status:#}");
        let history = run(&namespace, &["history", "web"])?.expect(0)?;
        ensure!(history.out.contains("\n  allows: mkdir\n"), "{}", history.out);

        namespace.kubectl(&["rollout", "restart", "deploy/web"])?;
        rolled_out(&namespace).await?;
        let detail = run(&namespace, &["status", "web"])?.expect(0)?;
        ensure!(detail.out.contains("deploy/web   1      0\n"), "{}", detail.out);

        let printed = run(&namespace, &["pin", "web", "previous"])?.expect(0)?;
        ensure!(printed.out.contains("kubectl patch seccompprofile web"), "{}", printed.out);
        run(&namespace, &["pin", "web", "previous", "--apply"])?.expect(0)?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        assert_eq!(run(&namespace, &["get", "web"])?.expect(0)?.out, document);
        run(&namespace, &["unpin", "web", "--apply"])?.expect(0)?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        ensure!(run(&namespace, &["get", "web"])?.expect(0)?.out.contains("\"mkdir\""), "it is still pinned");
        Ok(())
    })
    .await
}

/// Waits until the wall clock shows another second.
async fn move_on() -> Result<()> {
    let second = || std::time::SystemTime::UNIX_EPOCH.elapsed().map(|elapsed| elapsed.as_secs());
    let first = second()?;
    eventually("the clock shows another second", PATIENCE, async || {
        Ok(if second()? > first { Seen::Done(()) } else { Seen::NotYet("the same".to_owned()) })
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn what_stalls_is_an_answer_with_its_reason() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "cli-stalled", async |namespace| {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("loose.yaml");
        std::fs::write(&file, profile("loose", &json!({ "profile": denying(&["swapon"], 1) })).to_string())?;
        let file = file.to_str().context("a path of text")?;
        let stalled = run(&namespace, &["apply", "-f", file])?.expect(1)?;
        ensure!(stalled.errors.contains("loose: stalled: LooserThanRuntimeDefault: "), "{}", stalled.errors);
        let unused = run(&namespace, &["use", "loose", "deploy/web"])?.expect(2)?;
        ensure!(
            unused.errors.contains("sp/loose is not Ready (LooserThanRuntimeDefault)"),
            "{}",
            unused.errors
        );
        let bare = run(&namespace, &["get", "loose"])?.expect(2)?;
        ensure!(
            bare.errors.contains("sp/loose has no revision yet: LooserThanRuntimeDefault"),
            "{}",
            bare.errors
        );

        // The linter's errors come before anything is asked of the cluster.
        let mut wrong = numbered(1);
        wrong["defaultErrnoRet"] = json!(4096);
        std::fs::write(file, profile("wrong", &json!({ "profile": wrong })).to_string())?;
        let refused = run(&namespace, &["apply", "-f", file])?.expect(1)?;
        ensure!(refused.errors.contains("wrong: error: spec.profile.defaultErrnoRet"), "{}", refused.errors);
        ensure!(refused.errors.contains("Nothing was applied."), "{}", refused.errors);
        ensure!(refused.out.is_empty(), "{}", refused.out);

        // A field that the schema does not know is refused rather than dropped.
        let mut unknown = profile("unknown", &json!({ "profile": numbered(1) }));
        unknown["spec"]["modus"] = json!("Audit");
        std::fs::write(file, unknown.to_string())?;
        let refused = run(&namespace, &["apply", "-f", file])?.expect(2)?;
        ensure!(refused.errors.contains("spec.modus"), "{}", refused.errors);
        Ok(())
    })
    .await
}
