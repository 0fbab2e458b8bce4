//! `cargo xtask tidy`: form that no compiler checks.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{output, root};

/// Longest source file; near 500 lines there is a seam.
const MAX_LINES: usize = 600;

/// Checks every file that git knows or would add.
pub(crate) fn run() -> Result<()> {
    let listed = output(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root()),
    )?;
    let mut problems = Vec::new();
    for name in listed.lines().filter(|name| root().join(name).is_file()) {
        if let Some(kind) = kind(name) {
            let text = std::fs::read_to_string(root().join(name))
                .with_context(|| format!("cannot read {name} as text"))?;
            check(name, kind, &text, &mut problems);
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{} problems:\n  {}", problems.len(), problems.join("\n  "));
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rust,
    Script,
    Manifest,
    Text,
}

fn kind(name: &str) -> Option<Kind> {
    if name.contains("/vendor/") || name.ends_with(".snap") {
        return None;
    }
    match Path::new(name).extension()?.to_str()? {
        "rs" => Some(Kind::Rust),
        "js" => Some(Kind::Script),
        "css" => Some(Kind::Text),
        "toml" if name.ends_with("Cargo.toml") => Some(Kind::Manifest),
        "md" | "sql" | "yaml" | "yml" => Some(Kind::Text),
        _ => None,
    }
}

fn check(name: &str, kind: Kind, text: &str, problems: &mut Vec<String>) {
    let lines = text.lines().count();
    if matches!(kind, Kind::Rust | Kind::Script) && lines > MAX_LINES {
        problems.push(format!("{name}: {lines} lines; look for the seam"));
    }
    if kind == Kind::Rust && !text.starts_with("//!") {
        problems.push(format!(
            "{name}: does not begin with `//!`: what this is and why"
        ));
    }
    let member =
        kind == Kind::Manifest && text.contains("[package]") && !name.starts_with("tests/fuzz");
    if member && !text.contains("[lints]\nworkspace = true") {
        problems.push(format!("{name}: the workspace's lints are missing"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(why) = leftover(name, line) {
            problems.push(format!("{name}:{}: {why}", number + 1));
        }
        if line.ends_with([' ', '\t']) && kind != Kind::Text {
            problems.push(format!(
                "{name}:{}: blanks at the end of the line",
                number + 1
            ));
        }
    }
}

/// Marks of unfinished work. This file names them and is not looked at.
fn leftover(name: &str, line: &str) -> Option<&'static str> {
    if name == "tests/xtask/src/tidy.rs" {
        return None;
    }
    ["todo!(", "unimplemented!(", "FIXME", "XXX"]
        .iter()
        .any(|mark| line.contains(mark))
        .then_some("unfinished work")
}
