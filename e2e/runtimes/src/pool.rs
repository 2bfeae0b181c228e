//! Jobs that try containers beside each other.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    answer::{Answer, Filter, Target},
    command::output,
    job::{Experiment, Outcome},
    observed::Effect,
    setting::{Setting, Way},
};

/// The program of each measured container.
const PROBE: &str = include_str!("../probe.c");

/// What this machine lacks to measure anything.
#[must_use]
pub fn missing() -> Option<&'static str> {
    let found = |program: &str| {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| folder.join(program).exists())
    };
    if !rustix::process::geteuid().is_root() {
        return Some("root, who starts containers");
    }
    if !found("gcc") {
        return Some("gcc");
    }
    if found("unshare") && found("setpriv") { None } else { Some("unshare and setpriv of util-linux") }
}

/// Some jobs.
#[derive(Debug)]
pub struct Pool {
    jobs: Vec<Mutex<Job>>,
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Job {
    process: Child,
    tell: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
}

impl Pool {
    /// Starts jobs of a program, which is this crate's.
    ///
    /// # Errors
    /// Where the machine lacks something that is needed.
    pub fn new(program: &Path, jobs: usize) -> Result<Self> {
        if let Some(missing) = missing() {
            bail!("containers are measured by {missing}");
        }
        let folder = tempfile::Builder::new().prefix("portcullis-").tempdir()?;
        let source = folder.path().join("probe.c");
        std::fs::write(&source, PROBE)?;
        let mut gcc = Command::new("gcc");
        gcc.args(["-static", "-nostdlib", "-O1", "-o"]).arg(folder.path().join("probe")).arg(&source);
        output(&mut gcc)?;
        let jobs = (0..jobs.max(1)).map(|number| {
            let own = folder.path().join(number.to_string());
            std::fs::create_dir(&own)?;
            Ok(Mutex::new(Job::new(program, own)?))
        });
        Ok(Self { jobs: jobs.collect::<Result<_>>()?, _folder: folder })
    }

    /// What becomes of a container, by the next job that is free.
    pub(crate) fn run(&self, setting: &Setting, filter: Filter) -> Result<Outcome> {
        let experiment = Experiment { setting: setting.clone(), filter };
        let free = self.jobs.iter().find_map(|job| job.try_lock().ok());
        let mut job = match free {
            Some(job) => job,
            // More threads than jobs: any will do.
            None => self.jobs[0].lock().unwrap_or_else(PoisonError::into_inner),
        };
        job.run(&experiment)
    }

    /// Does some work for each of some tasks, as many at a time as there are jobs, and gives the results in the tasks' order.
    pub(crate) fn each<'t, T: Sync, R: Send>(
        &self,
        tasks: &'t [T],
        work: impl Fn(&'t T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let next = Mutex::new(tasks.iter().enumerate());
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in &self.jobs {
                scope.spawn(|| {
                    let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    while let Some((position, task)) = take() {
                        let result = work(task);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((position, result));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(position, _)| *position);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// What a container gets under the runtime default.
    ///
    /// # Errors
    /// Where it doesn't start, or gets something else than it asked for.
    pub fn expected(&self, setting: &Setting) -> Result<Expected> {
        let outcome = self.run(setting, Filter::Default(Vec::new()))?;
        let of = |way, observed: Option<_>| {
            let observed: crate::Observed = observed.with_context(|| {
                format!("{setting}: no {way} under the runtime default: {}", outcome.said)
            })?;
            observed
                .check(setting.request, setting.no_new_privs)
                .with_context(|| format!("{setting}: the {way} under the runtime default"))?;
            Ok::<_, anyhow::Error>(observed)
        };
        Ok(Expected {
            start: of(Way::Start.name(), outcome.start.clone())?,
            exec: of(Way::Exec.name(), outcome.exec.clone())?,
        })
    }

    /// What becomes of a container under some answers, by way; nothing is known of `exec` where it doesn't start.
    ///
    /// # Errors
    /// Where it can't be tried.
    pub fn effects(
        &self,
        setting: &Setting,
        expected: &Expected,
        answers: &[(Target, Answer)],
    ) -> Result<Effects> {
        let filter = Filter::Default(answers.to_vec());
        let outcome = self.run(setting, filter).with_context(|| setting.to_string())?;
        let effect = |observed: Option<crate::Observed>, expected| {
            observed.map_or(Effect::Fails, |observed| observed.effect(expected))
        };
        let started = outcome.start.is_some();
        Ok(Effects {
            start: effect(outcome.start, &expected.start),
            exec: started.then(|| effect(outcome.exec, &expected.exec)),
        })
    }
}

/// What a container gets under the runtime default.
#[derive(Clone, Debug)]
pub struct Expected {
    start: crate::Observed,
    exec: crate::Observed,
}

/// What became of a container, by way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// Of its first process.
    pub start: Effect,
    /// Of one that was executed in it, where it started.
    pub exec: Option<Effect>,
}

impl Effects {
    /// Of one way.
    #[must_use]
    pub fn of(&self, way: Way) -> Option<&Effect> {
        match way {
            Way::Start => Some(&self.start),
            Way::Exec => self.exec.as_ref(),
        }
    }
}

impl Job {
    fn new(program: &Path, folder: PathBuf) -> Result<Self> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        // What a runtime has itself is what a container may keep: a group, and a capability in each set.
        unshare.args(["setpriv", "--groups", "4", "--inh-caps", "+kill", "--ambient-caps", "+kill"]);
        unshare.arg(program).arg("job").arg(folder);
        let mut process = unshare
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare can't be started")?;
        let tell = process.stdin.take();
        let hear = process.stdout.take().context("a job's standard output is not connected")?;
        Ok(Self { process, tell, hear: BufReader::new(hear) })
    }

    fn run(&mut self, experiment: &Experiment) -> Result<Outcome> {
        let mut line = serde_json::to_vec(experiment)?;
        line.push(b'\n');
        let tell = self.tell.as_mut().context("the job has ended")?;
        tell.write_all(&line).context("the job has ended")?;
        let mut answer = String::new();
        self.hear.read_line(&mut answer).context("the job has ended")?;
        let answer: Result<Outcome, String> = serde_json::from_str(&answer)
            .with_context(|| format!("the job ended: {:?}", self.process.try_wait()))?;
        answer.map_err(|error| anyhow!(error))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The end of its input is the end of its work.
        self.tell = None;
        let _ = self.process.wait();
    }
}
