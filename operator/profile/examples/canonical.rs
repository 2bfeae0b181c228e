//! Reads an OCI seccomp profile from standard input and writes it in its canonical form to standard output:
//!
//!     jq .linux.seccomp config.json | cargo run -p portcullis-profile --example canonical

use std::io::{Read, Write};

use portcullis_profile::Profile;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut document = Vec::new();
    std::io::stdin().read_to_end(&mut document)?;
    std::io::stdout().write_all(&Profile::parse(&document)?.render())?;
    Ok(())
}
