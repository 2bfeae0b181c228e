//! What a person sees while a cluster is built: one line for each step with the time it took.

use std::{
    fmt,
    io::{IsTerminal as _, Write as _, stderr},
    time::Instant,
};

use anyhow::Result;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Says something on standard error. Nothing is said when standard error is closed: progress is no result.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(stderr().lock(), "{line}");
}

/// Runs a step, says what it does before and how long it took after.
///
/// # Errors
/// The step's own.
pub fn step<T>(what: impl fmt::Display, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let step = Step::begin(what);
    let result = work();
    step.end(&result);
    result
}

/// Like [`step`], for work that waits.
///
/// # Errors
/// The step's own.
pub async fn step_async<T>(what: impl fmt::Display, work: impl Future<Output = Result<T>>) -> Result<T> {
    let step = Step::begin(what);
    let result = work.await;
    step.end(&result);
    result
}

struct Step {
    what: String,
    begun: Instant,
}

impl Step {
    fn begin(what: impl fmt::Display) -> Self {
        let what = what.to_string();
        say(format_args!("{} {what}", paint(DIM, "  ...")));
        Self { what, begun: Instant::now() }
    }

    fn end<T>(self, result: &Result<T>) {
        let mark = if result.is_ok() { paint(GREEN, "   ok") } else { paint(RED, " fail") };
        let took = format!("{:.1} s", self.begun.elapsed().as_secs_f64());
        say(format_args!("{mark} {} {}", self.what, paint(DIM, &took)));
    }
}

/// Colours a text where a person reads it on a terminal, and honours <https://no-color.org>.
fn paint(colour: &str, text: &str) -> String {
    if stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("{colour}{text}{RESET}")
    } else {
        text.to_owned()
    }
}
