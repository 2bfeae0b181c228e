//! Running another program to its end, with errors that show what it said.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// How many last lines of a failed program's output an error shows.
const SHOWN_LINES: usize = 20;

/// A command from a program and its arguments.
pub(crate) fn command<I, S>(program: &str, arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs a command and gives what it wrote to standard output.
///
/// # Errors
/// Where the program can't be started or fails; the error holds the command line and the end of its output.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{line}` can't be started; is the program installed?"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = if stderr.trim().is_empty() { stdout.as_str() } else { stderr.as_ref() };
    bail!("`{line}` failed ({}):\n{}", output.status, last_lines(said.trim_end(), SHOWN_LINES))
}

/// A command as a user would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut line = command.get_program().display().to_string();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_its_words() {
        let error = output(&mut command("ls", ["/nowhere/at/all"])).unwrap_err().to_string();
        assert!(error.contains("`ls /nowhere/at/all` failed"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut command("no-such-program-at-all", ["x"])).unwrap_err().to_string();
        assert!(error.contains("no-such-program-at-all x"), "{error}");
    }

    #[test]
    fn only_the_end_of_a_long_output_is_shown() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
