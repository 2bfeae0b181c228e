//! The reference of all codes, as docs/lint.md.

use std::fmt::Write as _;

use super::Code;

/// All codes as Markdown: a table, then a section each.
#[must_use]
pub fn reference_markdown() -> String {
    let mut text = String::from(
        "# What the linter finds\n\n\
         <!-- Generated from operator/profile/src/lint/code.rs; written by `cargo run -p xtask -- codegen`. -->\n\n\
         An **Error** refuses the profile (`Stalled`), a **Warning** shows in its status, an **Info** is told by the\n\
         command line only. Codes are stable and never reused. What makes a document unreadable (unknown keys and words,\n\
         wrong types, `{}`) is refused before the linter sees it, with the field's path, and has no code.\n\n\
         | code | severity | what |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        let id = code.as_str();
        row(
            &mut text,
            format_args!(
                "| [{id}](#{}) | {} | {} |",
                id.to_lowercase(),
                code.severity().as_str(),
                code.title()
            ),
        );
    }
    for code in Code::ALL {
        row(&mut text, format_args!("\n## {}\n\n**{}.**", code.as_str(), code.title()));
        row(&mut text, format_args!("{}: {}", code.severity().as_str(), code.consequence()));
        row(&mut text, format_args!("\nWhat to do: {}", code.remedy()));
        row(&mut text, format_args!("\nSource: {}.", code.source()));
    }
    text
}

fn row(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "{line}");
}
