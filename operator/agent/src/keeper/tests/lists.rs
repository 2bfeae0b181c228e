//! What a list does not name.

use super::*;

fn db() -> Owner {
    Owner::namespaced("shop", "db").unwrap()
}

fn serving_two() -> Node {
    let mut node = serving("a");
    node.handle(vec![applied(&db(), "b", 1)]);
    node
}

#[test]
fn goes_after_the_grace_and_not_before() {
    let mut node = serving_two();
    let outcome = node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "a", 1)]), "what leaves is not in the set");
    node.after(GRACE - Duration::from_secs(1));
    node.assert_serves("shop/db.json", "b");
    // While it is there it is guarded like any other.
    fs::remove_file(node.path("shop/db.json")).unwrap();
    node.turn();
    node.assert_serves("shop/db.json", "b");
    assert!(node.keeper().due() <= node.now + Duration::from_secs(1));
    node.after(Duration::from_secs(1));
    assert!(!node.path("shop/db.json").exists());
    node.assert_serves("shop/web.json", "a");
}

#[test]
fn comes_back_with_a_later_list_or_event() {
    let mut node = serving_two();
    node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    node.handle(vec![whole_list(vec![meta(&web(), "a", 1), meta(&db(), "b", 1)])]);
    node.after(2 * GRACE);
    node.assert_serves("shop/db.json", "b");
    node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    node.handle(vec![applied(&db(), "b", 1)]);
    node.after(2 * GRACE);
    node.assert_serves("shop/db.json", "b");
}

#[test]
fn an_empty_list_never_empties_a_node() {
    let mut node = serving_two();
    let outcome = node.handle(vec![whole_list(Vec::new())]);
    assert_eq!(status(&outcome).digest, digest_of([]));
    node.after(2 * GRACE);
    node.assert_serves("shop/web.json", "a");
    // Nor does it let a grace run out that an earlier list began.
    node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    node.handle(vec![whole_list(Vec::new())]);
    node.after(2 * GRACE);
    node.assert_serves("shop/db.json", "b");
    // Nor after a restart.
    node.restart_after(|_| {});
    node.handle(vec![whole_list(Vec::new())]);
    node.after(2 * GRACE);
    node.assert_serves("shop/web.json", "a");
    node.assert_serves("shop/db.json", "b");
}

#[test]
fn what_went_while_the_agent_was_down_goes_after_the_grace() {
    let mut node = serving_two();
    node.restart_after(|_| {});
    node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    node.assert_serves("shop/db.json", "b");
    node.after(GRACE);
    assert!(!node.path("shop/db.json").exists());
}

#[test]
fn a_list_after_a_restored_etcd_serves_what_it_says() {
    let mut node = serving("old");
    node.handle(vec![applied(&web(), "new", 2)]);
    let listed = [meta(&web(), "old", 1)];
    let outcome = node.handle(vec![whole_list(listed.to_vec())]);
    node.assert_serves("shop/web.json", "old");
    assert_eq!(status(&outcome).digest, digest_of(&listed));
    node.assert_serves(&web().revision_path(&Digest::of(b"new")), "new");
    node.after(GRACE);
    assert!(!node.path(&web().revision_path(&Digest::of(b"new"))).exists());
}

#[test]
fn the_digest_does_not_depend_on_how_the_revisions_came() {
    let mut watched = Node::new();
    watched.handle(vec![whole_list(Vec::new())]);
    watched.handle(vec![applied(&web(), "a", 1)]);
    watched.handle(vec![applied(&db(), "x", 1), applied(&web(), "b", 2)]);
    let by_watch = watched.handle(vec![Work::Deleted { owner: db(), digest: Digest::of(b"x") }]);
    let mut listed = Node::new();
    let outcome = listed.handle(vec![whole_list(vec![meta(&web(), "a", 1), meta(&web(), "b", 2)])]);
    assert_eq!(outcome.wanted.len(), 2);
    listed.handle(vec![Work::Fetched { digest: Digest::of(b"a"), content: Ok("a".to_owned()) }]);
    let by_list =
        listed.handle(vec![Work::Fetched { digest: Digest::of(b"b"), content: Ok("b".to_owned()) }]);
    assert_eq!(status(&by_watch).digest, status(&by_list).digest);
}

fn many(count: usize) -> Vec<RevisionMeta> {
    let owner = |number| Owner::namespaced("shop", &format!("p{number:04}")).unwrap();
    (0..count).map(|number| meta(&owner(number), "same", 1)).collect()
}

fn pages(revisions: &[RevisionMeta]) -> Vec<Work> {
    let count = revisions.chunks(40).count();
    let page = |(number, page): (usize, &[RevisionMeta])| Work::Page {
        revisions: page.to_vec(),
        is_first: number == 0,
        is_last: number + 1 == count,
    };
    revisions.chunks(40).enumerate().map(page).collect()
}

/// The content that all of [`many`] have.
fn same() -> Work {
    Work::Fetched { digest: Digest::of(b"same"), content: Ok("same".to_owned()) }
}

#[test]
fn a_list_in_pages_is_the_list_and_half_a_list_is_none() {
    let mut node = Node::new();
    let all = many(100);
    let mut work = pages(&all);
    let last = work.pop().unwrap();
    node.handle(work);
    let outcome = node.handle(vec![same()]);
    assert!(outcome.status.is_none(), "half a list is not the truth");
    let outcome = node.handle(vec![last]);
    assert_eq!(status(&outcome).digest, digest_of(&all));
    node.assert_serves("shop/p0099.json", "same");
    // The next list breaks off, and the one after it names fewer.
    node.handle(vec![pages(&all[..50]).remove(0)]);
    let outcome = node.handle(pages(&all[..90]));
    assert_eq!(status(&outcome).digest, digest_of(&all[..90]));
    node.after(2 * GRACE);
    node.assert_serves("shop/p0089.json", "same");
    assert!(!node.path("shop/p0090.json").exists());
}

#[test]
fn more_than_there_is_memory_for_is_named_and_hurts_nobody_else() {
    let mut node = Node::new();
    let all = many(MOST + 3);
    node.handle(pages(&all));
    let outcome = node.handle(vec![same()]);
    let said = status(&outcome);
    assert_eq!(said.digest, digest_of(&all), "whoever is not named is judged as ever");
    let named: Vec<(&str, &str)> =
        said.failures.iter().map(|failure| (failure.name.as_str(), failure.reason.as_str())).collect();
    assert_eq!(named, [("p0150", "TooMany"), ("p0151", "TooMany"), ("p0152", "TooMany")]);
    assert!(said.failures[0].message.contains("has 150 revisions"), "{}", said.failures[0].message);
    assert!(!said.failures_truncated);
    assert!(!node.path("shop/p0150.json").exists());
    // A new revision of one that is served is refused as well, and the earlier one stays.
    let newer = meta(&all[0].owner, "newer", 2);
    let outcome = node.handle(vec![applied(&all[0].owner, "newer", 2)]);
    assert_eq!(status(&outcome).failures.len(), 4);
    node.assert_serves("shop/p0000.json", "same");
    // Where one goes, one of them takes its place; the next list changes nothing of that.
    let gone = &all[5];
    let outcome = node.handle(vec![Work::Deleted { owner: gone.owner.clone(), digest: gone.digest }]);
    assert!(outcome.wanted.iter().any(|wanted| wanted.digest == newer.digest), "{:?}", outcome.wanted);
    let outcome = node.handle(vec![Work::Fetched { digest: newer.digest, content: Ok("newer".to_owned()) }]);
    assert_eq!(status(&outcome).failures.len(), 3);
    node.assert_serves("shop/p0000.json", "newer");
    let mut left: Vec<_> = all.iter().filter(|one| *one != gone).cloned().collect();
    left.push(newer);
    let outcome = node.handle(pages(&left));
    assert!(outcome.status.is_none_or(|status| status.failures.len() == 3));
}

#[test]
fn beyond_what_a_status_names_nothing_is_said_of_anybody() {
    let mut node = Node::new();
    node.handle(pages(&many(MOST + 101)));
    let outcome = node.handle(vec![same()]);
    let said = status(&outcome);
    assert_eq!((said.failures.len(), said.failures_truncated), (100, true));
    assert_eq!(said.revisions, 250, "no more is kept");
    let outcome = node.handle(pages(&many(MOST)));
    let said = status(&outcome);
    assert_eq!((said.failures.len(), said.failures_truncated), (0, false));
    assert_eq!(said.digest, digest_of(&many(MOST)));
}

/// The process's largest resident memory so far, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// `cargo test -p portcullis-agent --release twenty_thousand -- --ignored --nocapture`, on its own: the whole process is measured.
#[test]
#[ignore = "writes 25,000 files, and measures the process"]
fn twenty_thousand_revisions_take_a_part_of_the_memory_that_there_is() {
    let before = peak();
    let mut node = Node::with_room_for(25_000);
    let contents = ["a", "b", "c", "d"];
    let all: Vec<RevisionMeta> = (0..5_000)
        .flat_map(|number| {
            // Names as long as a team may choose them.
            let owner =
                Owner::namespaced("team-with-a-long-name", &format!("profile-of-a-service-{number:05}"));
            (1_i64..)
                .zip(contents)
                .map(move |(sequence, content)| meta(owner.as_ref().unwrap(), content, sequence))
        })
        .collect();
    let digest = digest_of(&all);
    let pages: Vec<Vec<RevisionMeta>> = all.chunks(250).map(<[RevisionMeta]>::to_vec).collect();
    let count = pages.len();
    drop(all);
    let list = |node: &mut Node, pages: Vec<Vec<RevisionMeta>>| {
        let mut last = Outcome::default();
        for (number, revisions) in pages.into_iter().enumerate() {
            let work = Work::Page { revisions, is_first: number == 0, is_last: number + 1 == count };
            last = node.handle(vec![work]);
        }
        last
    };
    list(&mut node, pages.clone());
    let fetched = |content: &&str| Work::Fetched {
        digest: Digest::of(content.as_bytes()),
        content: Ok((*content).to_owned()),
    };
    let outcome = node.handle(contents.iter().map(fetched).collect());
    assert_eq!(status(&outcome).digest, digest);
    let first = peak();
    list(&mut node, pages);
    eprintln!("MiB: {before} before, {first} after the first list, {} after the second", peak());
    assert!(
        peak() - before < 48,
        "of the 64 MiB that the chart gives an agent 8 are taken without a revision"
    );
}
