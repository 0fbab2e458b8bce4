//! schemathesis, which fuzzes the interface by its description: a Python environment of its own below
//! `target/`, every package at a fixed version with its digest.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{call, root, target};

/// The packages, and in the environment a copy of what it was made from.
const LIST: &str = "schemathesis.txt";

/// Installs it, unless it is there as the list wants it.
pub(crate) fn ensure() -> Result<()> {
    let list = root().join("tests/e2e").join(LIST);
    let wanted = std::fs::read(&list).with_context(|| format!("reading {}", list.display()))?;
    let folder = target().join("schemathesis");
    let mark = folder.join(LIST);
    if std::fs::read(&mark).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    call(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )
    .context("making a Python environment (Debian: apt-get install python3-venv)")?;
    call(
        Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--require-hashes", "--no-deps"])
            .args(["--only-binary=:all:", "--requirement"])
            .arg(&list),
    )
    .context("fetching schemathesis from PyPI")?;
    std::fs::write(&mark, wanted).with_context(|| format!("writing {}", mark.display()))
}
