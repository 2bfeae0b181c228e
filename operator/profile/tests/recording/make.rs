//! Profiles and verdicts of recordings.

use std::{collections::BTreeSet, sync::LazyLock};

use portcullis_profile::{
    Action, Arch, Baseline, Profile,
    compose::{NamedProfile, union},
    evaluate::{Evaluator, Passage, Runtime},
    recording::{
        Absence, Argument, Exit, Gap, Losses, Made, MakeError, Mark, Note, OTHERS, Observation, Phase, Seen,
        Signals, Tally, Values, Wishes, make, needs, only_in, verdict,
    },
};

use super::*;

static BASELINE: LazyLock<Baseline> = LazyLock::new(Baseline::strictest);

fn wishes<'a>() -> Wishes<'a> {
    Wishes {
        baseline: &BASELINE,
        default_action: Action::Errno,
        default_errno_ret: Some(38),
        argument_rules: BTreeSet::new(),
        bases: Vec::new(),
    }
}

fn with_values(mut observation: Observation, name: &str, index: u8, values: Values) -> Observation {
    observation.values.insert(Argument { call: call(name), index }, values);
    observation
}

/// The notes but for the one on domains, which every profile with an open `socket` has.
fn others(made: &Made) -> Vec<Note> {
    let open = |note: &&Note| !matches!(note, Note::OpenDomains { .. });
    made.notes.iter().filter(open).cloned().collect()
}

fn passes(profile: &Profile, name: &str, arguments: [u64; 6]) -> bool {
    let evaluator = Evaluator::new(profile, Runtime::Runc, Arch::X86_64).expect("a profile that loads");
    let decision = evaluator.evaluate_name(Arch::X86_64, name, arguments).expect("a call of x86-64");
    decision.outcome.passage() == Passage::Permitted
}

#[test]
fn allows_what_was_seen_and_what_every_program_needs() {
    let made = make(&tally(&[("web", "", saw(&["write", "read", "openat"]))]), &wishes()).unwrap();
    let profile = made.profile;
    assert_eq!(
        profile.syscalls[0].names,
        ["exit", "exit_group", "openat", "read", "restart_syscall", "rt_sigreturn", "write"]
    );
    assert_eq!(profile.architectures, [Arch::X86_64]);
    assert_eq!((profile.default_action, profile.default_errno_ret), (Action::Errno, Some(38)));
    assert_eq!(made.notes, []);
    assert!(passes(&profile, "read", [0; 6]) && !passes(&profile, "mount", [0; 6]));
}

#[test]
fn what_the_runtimes_default_bounds_stays_bounded_where_the_recording_kept_to_it() {
    // glibc's fork, and a thread.
    let fork = |flags: &[u64]| {
        let seen = with_values(saw(&["clone"]), "clone", 0, Values::These(flags.iter().copied().collect()));
        make(&tally(&[("web", "", seen)]), &wishes()).unwrap()
    };
    let made = fork(&[0x0120_0011, 0x003d_0f00]);
    assert_eq!(made.notes, [Note::BoundedAsByDefault(vec!["clone".to_owned()])]);
    assert!(passes(&made.profile, "clone", [0x0120_0011, 0, 0, 0, 0, 0]));
    assert!(!passes(&made.profile, "clone", [0x1000_0011, 0, 0, 0, 0, 0]), "a new user namespace");
    // One that made a namespace needs it.
    let made = fork(&[0x0120_0011, 0x1000_0011]);
    assert_eq!(made.notes, [beyond(&["clone"])]);
    assert!(passes(&made.profile, "clone", [0x1000_0011, 0, 0, 0, 0, 0]));
    // Where the values are not known, nothing can be said of them.
    let unknown = make(&tally(&[("web", "", saw(&["clone"]))]), &wishes()).unwrap();
    assert_eq!(unknown.notes, [beyond(&["clone"])]);
    assert!(passes(&unknown.profile, "clone", [0x1000_0011, 0, 0, 0, 0, 0]));
}

fn beyond(calls: &[&str]) -> Note {
    Note::Beyond { baseline: BASELINE.to_string(), calls: calls.iter().map(ToString::to_string).collect() }
}

/// The runtime's default asks for the domain, and of AF_NETLINK for the protocol too.
#[test]
fn sockets_are_bounded_as_the_default_bounds_them() {
    let made = |domains: &[u64], protocols: Option<&[u64]>| {
        let values = |list: &[u64]| Values::These(list.iter().copied().collect());
        let mut seen = with_values(saw(&["socket"]), "socket", 0, values(domains));
        if let Some(protocols) = protocols {
            seen = with_values(seen, "socket", 2, values(protocols));
        }
        make(&tally(&[("web", "", seen)]), &wishes()).unwrap()
    };
    let socket =
        |made: &Made, domain, protocol| passes(&made.profile, "socket", [domain, 0, protocol, 0, 0, 0]);
    let bounded = [Note::BoundedAsByDefault(vec!["socket".to_owned()])];
    let internet = made(&[1, 2, 10], Some(&[0, 6, 58]));
    assert_eq!(others(&internet), bounded);
    let open = internet.notes.last().unwrap().to_string();
    assert!(
        open.contains("the domains that the runtime default allows") && open.contains("--args socket"),
        "{open}"
    );
    assert!(open.ends_with(": AF_UNIX, AF_INET, AF_INET6"), "{open}");
    assert!(socket(&internet, 2, 6) && socket(&internet, 10, 58) && socket(&internet, 1, 0));
    assert!(!socket(&internet, 40, 0) && !socket(&internet, 38, 0) && !socket(&internet, 16, 0));
    // An address family of the kernel's, and a protocol that only another family has.
    let netlink = made(&[2, 10, 16], Some(&[0, 6, 58]));
    assert_eq!(others(&netlink), bounded);
    assert!(socket(&netlink, 16, 0) && !socket(&netlink, 16, 9) && !socket(&netlink, 16, 15));
    let unknown = made(&[2, 16], None);
    assert_eq!(others(&unknown), bounded);
    assert!(socket(&unknown, 16, 15) && !socket(&unknown, 16, 9), "the protocols that the default allows");
    // What was made and the default denies stays allowed, and is said.
    let vsock = made(&[1, 40], Some(&[0]));
    assert_eq!(others(&vsock), [beyond(&["socket"])]);
    assert!(socket(&vsock, 40, 0));
    let open = vsock.notes[0].to_string();
    assert!(open.contains("every domain, AF_VSOCK among them"), "{open}");
}

#[test]
fn calls_that_the_default_denies_are_said() {
    let made = make(&tally(&[("web", "", saw(&["read", "io_uring_setup", "unshare"]))]), &wishes()).unwrap();
    assert_eq!(made.notes, [beyond(&["io_uring_setup", "unshare"])]);
    let said = made.notes[0].to_string();
    assert!(said.starts_with("looser than the runtime default (the strictest of containerd 1.7."), "{said}");
    assert!(said.ends_with("needs a permission for it: io_uring_setup, unshare"), "{said}");
    let containerd = Baseline::named("containerd@1.6").unwrap();
    let other = Wishes { baseline: &containerd, ..wishes() };
    let made = make(&tally(&[("web", "", saw(&["read", "io_uring_setup"]))]), &other).unwrap();
    assert_eq!(made.notes, []);
}

#[test]
fn a_recording_of_nothing_makes_no_profile() {
    assert_eq!(make(&Tally::default(), &wishes()), Err(MakeError::Nothing));
    let permissive = Wishes { default_action: Action::Log, ..wishes() };
    let made = make(&tally(&[("web", "", saw(&["read"]))]), &permissive);
    assert_eq!(made, Err(MakeError::PermissiveDefault(Action::Log)));
}

#[test]
fn calls_of_another_architecture_are_named_by_its_own_table() {
    let mut observation = saw(&["read"]);
    let seen = Seen { count: 1, first_at: 1 };
    observation.call(Call { arch: Arch::X86, number: 102 }, seen);
    observation.call(Call { arch: Arch::X86_64, number: 9999 }, seen);
    let made = make(&tally(&[("web", "", observation)]), &wishes()).unwrap();
    let names = &made.profile.syscalls[0].names;
    assert!(names.iter().any(|name| name == "socketcall") && names.iter().any(|name| name == "sigreturn"));
    assert_eq!(made.profile.architectures, [Arch::X86, Arch::X86_64]);
    assert_eq!(made.notes, [Note::Unnamed(vec![Call { arch: Arch::X86_64, number: 9999 }])]);
    assert!(made.notes[0].to_string().contains("SCMP_ARCH_X86_64 9999"), "{}", made.notes[0]);
}

#[test]
fn argument_rules_allow_the_values_that_were_seen() {
    let web = with_values(saw(&["read", "socket"]), "socket", 0, Values::These([1, 2].into()));
    let other = with_values(saw(&["socket"]), "socket", 0, Values::These([10].into()));
    let tally = tally(&[("web", "", web), ("other", "", other)]);
    let without = make(&tally, &wishes()).unwrap().profile;
    assert!(passes(&without, "socket", [3, 0, 0, 0, 0, 0]));
    for asked in ["*", "socket"] {
        let wishes = Wishes { argument_rules: [asked.to_owned()].into(), ..wishes() };
        let made = make(&tally, &wishes).unwrap();
        assert_eq!(made.notes, []);
        for (domain, expected) in [(1, true), (2, true), (10, true), (0, false), (3, false), (40, false)] {
            assert_eq!(passes(&made.profile, "socket", [domain, 0, 0, 0, 0, 0]), expected, "{domain}");
        }
        // The kernel takes an int, but the runtime's default looks at the whole register.
        assert!(!passes(&made.profile, "socket", [0xffff_ffff_0000_0002, 0, 0, 0, 0, 0]));
        assert!(passes(&made.profile, "read", [7; 6]));
    }
}

/// The kernel takes an int, so whatever a caller left in the register's high half is no other value.
#[test]
fn argument_rules_look_at_the_low_word_where_the_default_lets_them() {
    let tally =
        tally(&[("web", "", with_values(saw(&["socketpair"]), "socketpair", 0, Values::These([1].into())))]);
    let made = make(&tally, &Wishes { argument_rules: ["*".to_owned()].into(), ..wishes() }).unwrap();
    assert!(passes(&made.profile, "socketpair", [0xffff_ffff_0000_0001, 0, 0, 0, 0, 0]));
    assert!(!passes(&made.profile, "socketpair", [2, 0, 0, 0, 0, 0]));
    assert_eq!(made.notes, []);
}

#[test]
fn there_is_no_argument_rule_where_values_may_be_missing() {
    let known = || with_values(saw(&["socket"]), "socket", 0, Values::These([1].into()));
    let mut lost = known();
    lost.losses.values = 1;
    let mut i386 = known();
    i386.call(Call { arch: Arch::X86, number: 359 }, Seen { count: 1, first_at: 1 });
    let asked = Wishes { argument_rules: ["socket".to_owned(), "read".to_owned()].into(), ..wishes() };
    for (other, why) in [
        (with_values(saw(&["socket"]), "socket", 0, Values::TooMany), "too many"),
        (saw(&["socket"]), "can't be seen"),
        (lost, "lost"),
        (i386, "can't be seen"),
        (with_values(saw(&["socket"]), "socket", 0, Values::These((100..132).collect())), "too many"),
    ] {
        let made = make(&tally(&[("web", "", known()), ("other", "", other)]), &asked).unwrap();
        assert!(passes(&made.profile, "socket", [40, 0, 0, 0, 0, 0]));
        let [note, looser] = &made.notes[..] else { panic!("{:?}", made.notes) };
        assert!(note.to_string().contains(why), "{note}");
        assert_eq!(*looser, beyond(&["socket"]));
    }
    let made = make(&tally(&[("web", "", saw(&["read"]))]), &asked).unwrap();
    assert!(made.notes[0].to_string().contains("read is allowed with every argument"), "{:?}", made.notes);
}

#[test]
fn a_base_takes_what_it_allows_in_any_case() {
    let base: Profile = serde_json::from_str(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
            {"names": ["read", "exit", "exit_group"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}
        ]}"#,
    )
    .unwrap();
    let bases = vec![NamedProfile { name: "base", profile: &base }];
    let recorded = tally(&[("web", "", saw(&["read", "write", "socket"]))]);
    let made = make(&recorded, &Wishes { bases: bases.clone(), ..wishes() }).unwrap();
    assert_eq!(made.profile.syscalls[0].names, ["restart_syscall", "rt_sigreturn", "socket", "write"]);
    assert_eq!(made.profile.architectures, [], "the base states them");
    let left = ["exit", "exit_group", "read"].map(str::to_owned).to_vec();
    assert_eq!(others(&made), [Note::LeftToBases(left), beyond(&["socket"])]);
    let whole = union(&[NamedProfile { name: "made", profile: &made.profile }, bases[0]]).unwrap();
    for name in ["read", "write", "socket", "exit_group"] {
        assert!(passes(&whole, name, [40, 0, 0, 0, 0, 0]), "{name}");
    }
    let other = Wishes { bases, default_errno_ret: Some(1), ..wishes() };
    let error = make(&recorded, &other).unwrap_err().to_string();
    assert!(error.contains("base") && error.contains("defaultAction"), "{error}");
}

#[test]
fn the_runtimes_own_calls_are_added_where_they_could_not_be_seen() {
    let mut observation = saw(&["read"]);
    observation.marks.insert(Mark::Unfiltered);
    let made = make(&tally(&[("web", "", observation)]), &wishes()).unwrap();
    assert!(passes(&made.profile, "execve", [0; 6]) && passes(&made.profile, "capset", [0; 6]));
    assert_eq!(made.notes, [Note::RuntimeCallsAdded]);
}

#[test]
fn says_which_run_needed_which_call() {
    let tally = tally(&[
        ("web", "smoke", saw(&["read", "write"])),
        ("web", "rotate", saw(&["read", "rename"])),
        ("sidecar", "rotate", saw(&["rename"])),
    ]);
    let needs = needs(&tally);
    let rename = &needs[&call("rename")];
    assert_eq!(rename.runs, ["rotate"].into());
    assert_eq!(rename.containers, ["sidecar", "web"].into());
    assert_eq!((rename.seen.count, rename.images.len()), (2, 1));
    assert_eq!(needs[&call("read")].runs, ["rotate", "smoke"].into());
    assert_eq!(only_in(&tally, "rotate"), [call("rename")].into());
    assert_eq!(only_in(&tally, "smoke"), [call("write")].into());
    assert_eq!(only_in(&tally, "none"), [].into());
}

/// A recording of the happy path says of itself that it is one.
#[test]
fn names_the_phases_that_were_not_seen() {
    let mut observation = saw(&["read"]);
    observation.marks.insert(Mark::StartSeen);
    observation.observed_at(1000);
    let happy = verdict(&tally(&[("web", "", observation.clone())]));
    assert_eq!(happy.containers["web"].seen, [Phase::Start, Phase::Steady]);
    assert_eq!(
        happy.containers["web"].not_seen,
        [Phase::Exec, Phase::SignalHandled, Phase::LogReopened, Phase::GracefulStop, Phase::NonZeroExit]
    );
    assert!(!happy.is_complete());
    assert_eq!(happy.gaps, [Gap::NeverStopped { container: "web".to_owned(), killed: false }]);
    assert_eq!(
        happy.in_words(),
        [
            "web: no graceful stop was seen; delete its pod while recording",
            "web: not seen: Exec, SignalHandled, LogReopened, NonZeroExit; cause those that it has while recording",
        ],
        "each gap once"
    );
    observation.handled = Signals::of(&["SIGQUIT", "SIGCHLD"]);
    observation.outside = Signals::of(&["SIGQUIT"]);
    observation.ended(Exit::Status(0));
    let whole = verdict(&tally(&[("web", "", observation)]));
    assert!(whole.is_complete(), "{:?}", whole.gaps);
    assert_eq!(whole.containers["web"].signals.to_string(), "SIGQUIT");
    assert_eq!(whole.containers["web"].not_seen, [Phase::Exec, Phase::LogReopened, Phase::NonZeroExit]);
}

/// A container that was seen to start, to be steady and to stop.
fn whole() -> Observation {
    let mut seen = saw(&["read"]);
    seen.marks.extend([Mark::StartSeen, Mark::Steady, Mark::GracefulStop]);
    seen
}

fn gaps(seen: &Observation) -> Vec<Gap> {
    verdict(&tally(&[("web", "", seen.clone())])).gaps
}

#[test]
fn a_container_whose_pod_runs_commands_in_it_is_not_complete_before_one_ran() {
    let mut seen = whole();
    assert_eq!(gaps(&seen), [], "without a probe nobody knows that there will be one");
    seen.marks.insert(Mark::ExecExpected);
    let [gap] = &gaps(&seen)[..] else { panic!("{:?}", gaps(&seen)) };
    assert_eq!(gap.reason(), "ExecNotSeen");
    assert!(gap.to_string().ends_with("; let it run while recording"), "{gap}");
    seen.marks.insert(Mark::ExecSeen);
    assert_eq!(gaps(&seen), []);
    let verdict = verdict(&tally(&[("web", "", seen)]));
    assert!(verdict.containers["web"].seen.contains(&Phase::Exec));
}

/// A database's processes wake each other by SIGUSR1, and open files all the time.
#[test]
fn what_a_container_tells_itself_is_no_operators_signal() {
    let mut seen = whole();
    seen.handled = Signals::of(&["SIGUSR1", "SIGCHLD"]);
    let [gap] = &gaps(&seen)[..] else { panic!("{:?}", gaps(&seen)) };
    assert_eq!(gap.reason(), "PhasesUnproven");
    assert_eq!(
        gap.to_string(),
        "web: SignalHandled, LogReopened may be chance, as the SIGUSR1 that it handled came from itself; send it one from outside, as \
         an operator does"
    );
    let judged = verdict(&tally(&[("web", "", seen.clone())]));
    let web = &judged.containers["web"];
    assert_eq!(web.maybe, [Phase::SignalHandled, Phase::LogReopened]);
    assert!(web.signals.is_empty() && !web.seen.contains(&Phase::LogReopened));
    // An operator's SIGHUP was handled: what the program does then was seen, whether it has a log or not.
    seen.handled = seen.handled.with(Signals::of(&["SIGHUP"]));
    seen.outside = Signals::of(&["SIGHUP"]);
    assert_eq!(gaps(&seen), []);
    // What ends by itself is told nothing.
    let mut job = saw(&["read"]);
    job.handled = Signals::of(&["SIGUSR1"]);
    job.marks.extend([Mark::StartSeen, Mark::Completed]);
    assert_eq!(gaps(&job), []);
}

#[test]
fn one_that_was_told_to_stop_and_was_killed_is_not_told_to_be_deleted() {
    let mut seen = saw(&["read"]);
    seen.marks.extend([Mark::StartSeen, Mark::Steady, Mark::Killed]);
    let untold = gaps(&seen)[0].to_string();
    assert!(untold.ends_with("delete its pod while recording"), "{untold}");
    seen.outside = Signals::of(&["SIGTERM", "SIGKILL"]);
    let told = gaps(&seen)[0].to_string();
    assert!(told.contains("told to stop, it was killed") && !told.contains("delete"), "{told}");
}

#[test]
fn a_recorder_that_was_away_while_pods_came_and_went_leaves_no_complete_recording() {
    let mut tally = tally(&[("web", "", whole())]);
    assert!(verdict(&tally).is_complete());
    let absence = Absence {
        node: "n1".to_owned(),
        since: 100,
        until: Some(130),
        pods: vec!["web-7".to_owned()],
        ..Absence::default()
    };
    tally.absences.insert(absence);
    let judged = verdict(&tally);
    assert_eq!(judged.gaps[0].reason(), "RecorderAway");
    let said = judged.gaps[0].to_string();
    for words in
        ["node n1", "1970-01-01T00:01:40Z", "1970-01-01T00:02:10Z", "web-7", "make another recording"]
    {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
}

#[test]
fn a_recording_of_which_nobody_can_know_whether_a_pod_is_missing_is_not_complete() {
    let mut tally = tally(&[("web", "", whole())]);
    let absence = Absence { node: "n1".to_owned(), until: Some(130), unnoted: true, ..Absence::default() };
    tally.absences.insert(absence);
    let judged = verdict(&tally);
    assert_eq!(judged.gaps[0].reason(), "RecorderAway");
    let said = judged.gaps[0].to_string();
    assert!(said.ends_with("nobody can know; make another recording, and run it again"), "{said}");
}

/// Seen without a filter, a program starts threads by clone3 and never calls clone: with the default's answer to clone3 it does.
#[test]
fn a_threaded_program_that_was_seen_without_a_filter_falls_back_as_under_the_default() {
    let mut seen = saw(&["read", "clone3", "futex"]);
    seen.marks.insert(Mark::Unfiltered);
    for (errno, explicit) in [(Some(38), false), (Some(1), true)] {
        let made =
            make(&tally(&[("web", "", seen.clone())]), &Wishes { default_errno_ret: errno, ..wishes() });
        let made = made.unwrap();
        let evaluator = Evaluator::new(&made.profile, Runtime::Runc, Arch::X86_64).unwrap();
        let clone3 = evaluator.evaluate_name(Arch::X86_64, "clone3", [0; 6]).unwrap().outcome;
        assert_eq!((clone3.passage(), clone3.errno()), (Passage::Denied, Some(38)), "{errno:?}");
        assert_eq!(made.profile.syscalls.iter().any(|rule| rule.names == ["clone3"]), explicit);
        // A thread of glibc's, and a new user namespace.
        assert!(passes(&made.profile, "clone", [0x003d_0f00, 0, 0, 0, 0, 0]));
        assert!(!passes(&made.profile, "clone", [0x1000_0011, 0, 0, 0, 0, 0]));
        let said: Vec<String> = made.notes.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.starts_with("clone3 is answered with ENOSYS")), "{said:?}");
        assert!(!said.iter().any(|said| said.starts_with("looser")), "{said:?}");
    }
}

#[test]
fn companions_are_named_and_not_allowed() {
    let made = make(&tally(&[("web", "", saw(&["mmap", "munmap", "futex"]))]), &wishes()).unwrap();
    let named: Vec<_> =
        made.companions.iter().map(|one| (one.kind, one.calls.clone(), one.with.clone())).collect();
    assert_eq!(
        named,
        [("memory", vec!["madvise", "mremap"], vec!["mmap"]), ("locks", vec!["sched_yield"], vec!["futex"])]
    );
    assert!(!passes(&made.profile, "madvise", [0; 6]));
}

#[test]
fn a_job_that_ends_by_itself_is_complete_without_a_steady_state() {
    let mut job = saw(&["read"]);
    job.marks.insert(Mark::StartSeen);
    job.ended(Exit::Status(0));
    assert!(verdict(&tally(&[("job", "", job)])).is_complete());
}

/// An older image's stop says nothing of how the present one stops.
#[test]
fn the_newest_image_of_a_container_is_judged() {
    let of = |image: &str, first_at, marks: &[Mark]| {
        let mut seen = Observation { containers: 1, ..Observation::default() };
        seen.call(call("read"), Seen { count: 1, first_at });
        seen.marks.extend(marks);
        (Subject { image: image.to_owned(), ..subject("web", "") }, seen)
    };
    let whole = [Mark::StartSeen, Mark::Steady, Mark::GracefulStop];
    let judged = |seen: &[(Subject, Observation)]| {
        let mut tally = Tally::default();
        seen.iter().for_each(|(subject, seen)| tally.add_one(subject.clone(), seen));
        verdict(&tally)
    };
    // Digests sort otherwise than times.
    let (old, new) = ("sha256:ffffffffffffffff", "sha256:0123456789abcdef");
    let verdict = judged(&[of(old, 10, &whole), of(new, 20, &[Mark::StartMissed, Mark::Steady])]);
    let said: Vec<_> = verdict.gaps.iter().map(ToString::to_string).collect();
    assert_eq!(
        verdict.gaps.iter().map(Gap::reason).collect::<Vec<_>>(),
        ["StartMissed", "GracefulStopNotSeen"]
    );
    assert!(said[1].starts_with("web (image sha256:0123456789ab): no graceful stop was seen"), "{}", said[1]);
    assert_eq!(verdict.containers["web"].seen, [Phase::Steady]);
    // An old one that ran for a moment is no reason to stay incomplete.
    assert!(judged(&[of(old, 10, &[]), of(new, 20, &whole)]).is_complete());
    // Where nothing says which image it is, it is none more.
    assert!(judged(&[of("", 30, &[]), of(OTHERS, 30, &[]), of(new, 20, &whole)]).is_complete());
    assert!(judged(&[of("", 30, &whole)]).is_complete());
    // What an old one lost, the profile lacks.
    let (subject, mut lossy) = of(old, 10, &whole);
    lossy.losses.calls = 1;
    let verdict = judged(&[(subject, lossy), of(new, 20, &whole)]);
    assert_eq!(verdict.gaps, [Gap::Lost { container: "web".to_owned() }]);
}

#[test]
fn a_container_that_is_named_must_have_been_recorded() {
    let mut job = saw(&["read"]);
    job.marks.insert(Mark::StartSeen);
    job.ended(Exit::Status(0));
    let names = ["job".to_owned(), "wbe".to_owned()];
    let judged = verdict(&tally(&[("job", "", job)])).expecting(&names);
    assert_eq!(judged.gaps, [Gap::NothingOf { container: "wbe".to_owned() }]);
    assert_eq!(verdict(&Tally::default()).expecting(&names).gaps, [Gap::Nothing], "which says all");
}

#[test]
fn says_what_is_wrong_with_a_recording() {
    let reasons = |tally: &Tally| {
        verdict(tally).gaps.iter().map(|gap| (gap.reason(), gap.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&Tally::default()), [("NothingRecorded", "nothing was recorded".to_owned())]);
    let mut missed = saw(&["read"]);
    missed.marks.extend([Mark::StartMissed, Mark::Steady, Mark::GracefulStop]);
    missed.losses.calls = 1;
    missed.call(Call { arch: Arch::X86_64, number: 9999 }, Seen { count: 1, first_at: 1 });
    let said = reasons(&tally(&[("web", "", missed)]));
    assert_eq!(
        said.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(),
        ["EventsLost", "StartMissed", "UnnamedCalls"]
    );
    assert!(said[1].1.contains("its start was missed, as it ran before; restart its pod"), "{}", said[1].1);
}

/// A node that had no room for a container can't say which one it was, and that is no container's phase that was missed.
#[test]
fn what_was_lost_of_no_known_container_keeps_a_recording_incomplete() {
    let mut job = saw(&["read"]);
    job.marks.insert(Mark::StartSeen);
    job.ended(Exit::Status(0));
    let lost = Losses { calls: 3, ..Losses::default() };
    let nobody = Observation { losses: lost, ..Observation::default() };
    let verdict = verdict(&tally(&[("job", "", job), (OTHERS, "", nobody)]));
    assert_eq!(verdict.gaps, [Gap::Lost { container: OTHERS.to_owned() }]);
    assert_eq!(verdict.containers.keys().collect::<Vec<_>>(), ["job"]);
}
