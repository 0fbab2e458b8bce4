//! Reads finished packages back with the tools that will install them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::pack::Staged;
use crate::process::output;

/// The .deb lists the staged files, all of root, and has its scripts and configuration files.
pub(super) fn deb(staged: &Staged<'_>, path: &Path) -> Result<()> {
    let listing = output(Command::new("dpkg-deb").arg("--contents").arg(path))?;
    same_files(staged, path, listed(&listing))?;
    let foreign = listing.lines().find(|line| !line.contains(" root/root "));
    ensure!(
        foreign.is_none(),
        "{}: not root's: {}",
        path.display(),
        foreign.unwrap_or_default()
    );
    let about = output(Command::new("dpkg-deb").arg("--info").arg(path))?;
    for part in [
        "conffiles",
        "postinst",
        "prerm",
        "postrm",
        "Depends: libc6 (>=",
    ] {
        ensure!(about.contains(part), "{} lacks {part}", path.display());
    }
    Ok(())
}

/// The .rpm lists the staged files and has its scripts and dependencies.
pub(super) fn rpm(staged: &Staged<'_>, path: &Path) -> Result<()> {
    let query = |what: &[&str]| output(Command::new("rpm").arg("-qp").args(what).arg(path));
    let listing = query(&["--list"])?;
    same_files(staged, path, listing.lines().map(strip).collect())?;
    let scripts = query(&["--scripts"])?;
    for part in ["postinstall", "preuninstall", "postuninstall"] {
        ensure!(
            scripts.contains(part),
            "{} lacks its {part} script",
            path.display()
        );
    }
    let requires = query(&["--requires"])?;
    ensure!(
        requires.contains("glibc >="),
        "{} does not require glibc",
        path.display()
    );
    let configuration = query(&["--configfiles"])?;
    ensure!(
        configuration.contains("/etc/xiezhi/"),
        "{} has no configuration",
        path.display()
    );
    Ok(())
}

/// The tarball holds the staged files below `files/`.
pub(super) fn tarball(staged: &Staged<'_>, path: &Path) -> Result<()> {
    let listing = output(Command::new("tar").arg("--list").arg("--file").arg(path))?;
    let below = |line: &str| {
        let path = line.split_once("/files/")?.1;
        (!path.is_empty() && !path.ends_with('/')).then(|| path.to_owned())
    };
    same_files(staged, path, listing.lines().filter_map(below).collect())?;
    ensure!(
        listing.contains("/install.sh"),
        "{} lacks install.sh",
        path.display()
    );
    Ok(())
}

/// Writes SHA256SUMS over every package in the folder and returns it with the sizes.
pub(super) fn write_sums(out: &Path) -> Result<String> {
    let mut packages: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(out).context("listing dist")? {
        let path = entry?.path();
        let is_package = path
            .extension()
            .is_some_and(|extension| ["gz", "deb", "rpm"].iter().any(|known| extension == *known));
        if is_package {
            packages.push(path);
        }
    }
    packages.sort();
    let names = packages.iter().filter_map(|path| path.file_name());
    let sums = output(Command::new("sha256sum").current_dir(out).args(names))?;
    fs::write(out.join("SHA256SUMS"), &sums).context("writing SHA256SUMS")?;
    let mut report = String::new();
    for path in &packages {
        let kilobytes = fs::metadata(path)?.len().div_ceil(1000);
        report.push_str(&format!("{kilobytes:>7} kB  {}\n", path.display()));
    }
    Ok(report)
}

fn same_files(staged: &Staged<'_>, path: &Path, mut found: Vec<String>) -> Result<()> {
    found.sort();
    let expected = staged.paths();
    ensure!(
        found == expected,
        "{} holds other files than were staged:\n{found:#?}\nexpected\n{expected:#?}",
        path.display()
    );
    Ok(())
}

/// The files, not the folders, of a `dpkg-deb --contents` listing.
fn listed(listing: &str) -> Vec<String> {
    let files = listing.lines().filter(|line| line.starts_with('-'));
    files
        .filter_map(|line| line.split_whitespace().nth(5))
        .map(strip)
        .collect()
}

fn strip(path: &str) -> String {
    path.trim_start_matches("./")
        .trim_start_matches('/')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_yields_files_and_no_folders() {
        let listing = "drwxr-xr-x root/root   0 2025-01-01 00:00 ./usr/\n\
                       -rwxr-xr-x root/root 123 2025-01-01 00:00 ./usr/bin/xiezhi-agent\n";
        assert_eq!(listed(listing), ["usr/bin/xiezhi-agent"]);
        assert_eq!(strip("/etc/xiezhi/agent.yaml"), "etc/xiezhi/agent.yaml");
    }
}
