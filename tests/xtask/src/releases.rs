//! The programs of the version before: built from its commit, for the test of mixed versions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::process::{call, root, target};

/// What a court and a centre run.
const PROGRAMS: [&str; 2] = ["xiezhi-agent", "xiezhi-controller"];

/// Builds the programs of the last line of `tests/sim/releases` unless they are there. Without the
/// project's history there is nothing to build from, which is said in one line.
pub(crate) fn ensure_built() -> Result<()> {
    let list = root().join("tests/sim/releases");
    let text =
        std::fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let Some(commit) = last_release(&text) else {
        println!("no version was released yet: mixed versions are not tested");
        return Ok(());
    };
    let folder = target().join("releases").join(commit);
    if PROGRAMS.iter().all(|name| folder.join(name).is_file()) {
        println!("the programs of {commit} were built before");
        return Ok(());
    }
    if !is_known(commit) {
        println!(
            "no history of {commit} here (git fetch --unshallow brings it): mixed versions are \
             tested by the kept wire samples only"
        );
        return Ok(());
    }
    build(commit, &folder)
}

/// The commit of the last line that is no comment.
fn last_release(text: &str) -> Option<&str> {
    let lines = text.lines().map(str::trim);
    let mut releases = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    releases.next_back()?.split_whitespace().next()
}

fn is_known(commit: &str) -> bool {
    let found = git(&["cat-file", "-e", &format!("{commit}^{{commit}}")])
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(root());
    command
}

/// Speed of the result does not matter, speed of the build does: a minute or two on two cores.
fn build(commit: &str, folder: &Path) -> Result<()> {
    let work = folder.join("build");
    let source = work.join("source");
    std::fs::create_dir_all(&source)?;
    let packed = work.join("source.tar");
    let archive = format!("--output={}", packed.display());
    call(&mut git(&["archive", "--format=tar", &archive, commit]))?;
    call(
        Command::new("tar")
            .arg("-xf")
            .arg(&packed)
            .arg("-C")
            .arg(&source),
    )?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", work.join("target"))
        .args(["build", "--quiet", "--locked", "--bins"])
        .args(["-p", "xiezhi-agentd", "-p", "xiezhi-controllerd"])
        .args(["--config", "profile.dev.package.'*'.opt-level=0"])
        .args(["--config", "profile.dev.debug=false"]);
    call(&mut cargo)?;
    for name in PROGRAMS {
        keep(&work.join("target/debug").join(name), &folder.join(name))?;
    }
    // A gigabyte that nobody needs any more.
    std::fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))
}

/// Copies a program so that it is there wholly or not at all.
fn keep(built: &Path, kept: &Path) -> Result<()> {
    ensure!(built.is_file(), "{} was not built", built.display());
    let mut partial = PathBuf::from(kept);
    partial.set_extension("partial");
    std::fs::copy(built, &partial)?;
    Ok(std::fs::rename(&partial, kept)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_is_the_one_before_this() {
        let text = "# words\n\nabc 0.1.0\n  def  0.2.0\n# more\n";
        assert_eq!(last_release(text), Some("def"));
        assert_eq!(last_release("# nothing yet\n"), None);
    }
}
