//! The pages' scripts and style sheets: types against the interface's description, lints, and nothing that
//! the oldest browser lacks.
//!
//! `dashboards/web/checks` names the programs, each at one version with its digest. They are for checking only:
//! nothing of them is embedded, and neither a build nor a user's machine needs node.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::packages::is_root;
use crate::process::{call, root};

const LOCK: &str = "package-lock.json";
/// Among what was installed: a copy of the list that it was installed from.
const MARK: &str = "node_modules/.installed-from";

/// Fetches the programs unless they are there as the list wants them, and runs them.
pub(crate) fn run() -> Result<()> {
    let folder = root().join("dashboards/web/checks");
    if let Err(error) = ensure(&folder) {
        return skip(error);
    }
    call(
        Command::new("node")
            .arg("check.js")
            .current_dir(&folder)
            .env("BROWSERSLIST_IGNORE_OLD_DATA", "1"),
    )
}

fn ensure(folder: &Path) -> Result<()> {
    let lock = folder.join(LOCK);
    let wanted = std::fs::read(&lock).with_context(|| format!("reading {}", lock.display()))?;
    let mark = folder.join(MARK);
    if std::fs::read(&mark).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    call(
        Command::new("npm")
            .args(["ci", "--prefer-offline", "--ignore-scripts"])
            .args([
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                "--fetch-retries=1",
            ])
            .current_dir(folder),
    )
    .context("fetching the checks of the pages from npm's registry")?;
    std::fs::write(&mark, wanted).with_context(|| format!("writing {}", mark.display()))
}

/// As with tests that cannot run here: for root, who can install what is missing, only if asked to.
fn skip(error: anyhow::Error) -> Result<()> {
    if is_root() && std::env::var_os("XIEZHI_ALLOW_SKIPS").is_none() {
        return Err(error.context(
            "the pages' scripts and style sheets cannot be checked without npm's registry; \
             XIEZHI_ALLOW_SKIPS=1 goes on without",
        ));
    }
    println!("skipped: the pages' scripts and style sheets were not checked: {error:#}");
    Ok(())
}
