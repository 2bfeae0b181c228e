//! `kubectl-seccomp` for end-to-end tests, built as a user would build it.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::{
    command::{self, command},
    settings::workspace_root,
};

/// The command line tool of this checkout, built once for each test binary.
///
/// # Errors
/// Where the compiler fails; the error holds what it said.
pub fn kubectl_seccomp() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!(error))
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build =
        command(&cargo, ["build", "--quiet", "--package", "portcullis-cli", "--bin", "kubectl-seccomp"]);
    // Where cargo puts the binary depends on its configuration, so it is asked.
    build.arg("--message-format=json-render-diagnostics").current_dir(workspace_root());
    let said = command::output(&mut build)?;
    executable(&said).context("cargo built no kubectl-seccomp")
}

/// The program among the artifacts that cargo reports, one JSON object a line.
fn executable(messages: &str) -> Option<PathBuf> {
    let mut programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    programs.rfind(|path| path.file_stem() == Some(Path::new("kubectl-seccomp").as_os_str()))
}

/// The command lines after `Examples:` of a help text. One that is too long for the terminal goes on after a backslash.
#[must_use]
pub fn examples(help: &str) -> Vec<String> {
    let mut lines = help.lines().skip_while(|line| *line != "Examples:");
    let mut examples = Vec::new();
    while let Some(line) = lines.next() {
        let Some(begun) = line.trim_start().strip_prefix("$ ") else { continue };
        let mut example = begun.to_owned();
        while let Some(whole) = example.strip_suffix('\\').map(str::to_owned) {
            example = whole + lines.next().unwrap_or_default().trim_start();
        }
        examples.push(example);
    }
    examples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/debug/kubectl-seccomp"}"#,
            "\nno JSON\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/kubectl-seccomp")));
        assert_eq!(executable(""), None);
    }

    #[test]
    fn an_example_goes_on_after_a_backslash() {
        let help =
            "Usage: x\n\nExamples:\n  One:\n    $ x a \\\n      --b \\\n      c\n  Another:\n    $ x\n";
        assert_eq!(examples(help), ["x a --b c", "x"]);
        assert_eq!(examples("Usage: x\n    $ none\n"), Vec::<String>::new());
    }
}
