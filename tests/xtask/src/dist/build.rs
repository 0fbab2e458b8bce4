//! Builds a binary against an old glibc, whatever this machine has.
//!
//! cargo-zigbuild drives zig as linker and C compiler; zig knows the symbols of every glibc version.
//! Both come as Python packages into a folder of their own below `target/`, at fixed versions.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::floor::FLOOR;
use super::product::Product;
use crate::process::{call, root, target};

const TOOLS: [&str; 2] = ["cargo-zigbuild==0.24.0", "ziglang==0.17.1"];
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Builds the product's programs, each alone, so that no other's choice of features gets into it, and
/// returns their paths, its own first.
pub(super) fn build(product: &Product, profile: &str) -> Result<Vec<PathBuf>> {
    product
        .programs()
        .map(|(package, name)| build_one(package, name, profile))
        .collect()
}

fn build_one(package: &str, name: &str, profile: &str) -> Result<PathBuf> {
    let tools = tools()?;
    let (major, minor) = FLOOR;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path)))
        .context("extending the search path")?;
    let mut command = Command::new("cargo-zigbuild");
    command
        .current_dir(root())
        .env("PATH", path)
        .arg("zigbuild");
    command.args(["--locked", "--profile", profile, "--package", package]);
    command.arg(format!("--target={TRIPLE}.{major}.{minor}"));
    // A profiler or a sanitizer of the caller's has no place in a release.
    command.env_remove("RUSTFLAGS");
    call(&mut command)?;
    Ok(target().join(TRIPLE).join(profile).join(name))
}

/// The folder with the tools' programs; fetched the first time.
fn tools() -> Result<PathBuf> {
    let folder = target().join("dist-tools");
    let programs = folder.join("bin");
    if programs.join("cargo-zigbuild").exists() && programs.join("python-zig").exists() {
        return Ok(programs);
    }
    call(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .context("making a Python environment (Debian: apt-get install python3-venv)")?;
    call(
        Command::new(programs.join("pip"))
            .args(["install", "--quiet"])
            .args(TOOLS),
    )
    .context("fetching the linker from PyPI")?;
    Ok(programs)
}
