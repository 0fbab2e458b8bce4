//! `cargo xtask deps`: who may import whom, one TLS provider per binary, licences.
//!
//! The rules are those of ARCHITECTURE.md; each check names the rule that it holds.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::{call, cargo, have_for_cargo, output, root};

/// Crates that hold rules and nouns only: data and `now` in, findings out.
const PURE: &[&str] = &[
    "xiezhi-model",
    "xiezhi-protocol",
    "xiezhi-evidence",
    "xiezhi-promql",
    "xiezhi-document",
    "xiezhi-profiles",
];

/// What a pure crate never needs: runtimes, sockets, databases.
const IMPURE: &[&str] = &["tokio", "sqlx", "reqwest", "h2", "axum", "rustls", "nix"];

/// Libraries report typed errors and read no command line; only programs use these.
const FOR_PROGRAMS: &[&str] = &["anyhow", "clap", "lexopt", "tracing-subscriber"];

struct Member {
    name: String,
    /// First part of its path: `agent`, `controller`, …
    house: String,
    is_program: bool,
    /// Ordinary dependencies; those of tests and build scripts are free.
    dependencies: BTreeSet<String>,
}

/// Checks the whole workspace and reports every problem.
pub(crate) fn run() -> Result<()> {
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("reading cargo metadata")?;
    let members = members(&metadata)?;
    let mut problems = Vec::new();
    check_layers(&members, &mut problems);
    check_kinds(&members, &mut problems);
    check_providers(&metadata, &members, &mut problems)?;
    check_licences(&metadata, &members, &mut problems)?;
    if !problems.is_empty() {
        bail!("{} problems:\n  {}", problems.len(), problems.join("\n  "));
    }
    check_with_cargo_deny()
}

/// A second opinion, also on what is not shipped, from the tool that reads the licence texts too.
fn check_with_cargo_deny() -> Result<()> {
    if !have_for_cargo("cargo-deny") {
        println!(
            "cargo-deny is not installed, so licences and bans were checked for what is shipped only; \
             install it with: cargo install cargo-deny --locked"
        );
        return Ok(());
    }
    // Not `advisories`: their database comes from outside, and a check must not depend on a network.
    let check = ["licenses", "bans", "sources"];
    call(cargo(&["deny", "--log-level", "error", "check"]).args(check))
        .context("deny.toml says what is allowed, and why")
}

fn members(metadata: &Value) -> Result<Vec<Member>> {
    let packages = list(metadata, "packages");
    let mut members = Vec::new();
    for package in packages
        .iter()
        .filter(|package| package["source"].is_null())
    {
        let manifest = text(package, "manifest_path");
        let path = std::path::Path::new(&manifest)
            .strip_prefix(root())
            .context("member outside")?;
        let house = path
            .components()
            .next()
            .map(|part| part.as_os_str().to_string_lossy());
        let is_program = list(package, "targets")
            .iter()
            .any(|target| list(target, "kind").iter().any(|kind| kind == "bin"));
        let dependencies = list(package, "dependencies")
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| text(dependency, "name"))
            .collect();
        let (name, house) = (
            text(package, "name"),
            house.unwrap_or_default().into_owned(),
        );
        members.push(Member {
            name,
            house,
            is_program,
            dependencies,
        });
    }
    Ok(members)
}

/// Rules 1, 2 and 6: protocol imports nothing of ours; agent and controller never import each
/// other; nothing shipped imports tests.
fn check_layers(members: &[Member], problems: &mut Vec<String>) {
    let houses: BTreeMap<&str, &str> = members
        .iter()
        .map(|member| (member.name.as_str(), member.house.as_str()))
        .collect();
    for member in members.iter().filter(|member| member.house != "tests") {
        for dependency in &member.dependencies {
            let Some(&house) = houses.get(dependency.as_str()) else {
                continue;
            };
            let name = &member.name;
            if name == "xiezhi-protocol" {
                problems.push(format!("rule 1: {name} imports {dependency}"));
            }
            let crossing = matches!(
                (member.house.as_str(), house),
                ("agent", "controller" | "dashboards") | ("controller", "agent")
            );
            if crossing && dependency != "xiezhi-protocol" {
                problems.push(format!("rule 2: {name} imports {dependency}"));
            }
            if house == "tests" {
                problems.push(format!(
                    "rule 6: {name} is shipped and imports {dependency}"
                ));
            }
        }
    }
}

/// Rules 3 and 4: pure crates stay pure; libraries leave configuration and `anyhow` to programs.
fn check_kinds(members: &[Member], problems: &mut Vec<String>) {
    for member in members.iter().filter(|member| member.house != "tests") {
        for dependency in &member.dependencies {
            let (name, dependency) = (&member.name, dependency.as_str());
            if PURE.contains(&name.as_str()) && IMPURE.contains(&dependency) {
                problems.push(format!("rule 3: {name} is pure and imports {dependency}"));
            }
            if !member.is_program && FOR_PROGRAMS.contains(&dependency) {
                problems.push(format!(
                    "rule 4: {name} is a library and imports {dependency}"
                ));
            }
        }
    }
}

/// ADR 001: ring in every program, and nothing else.
fn check_providers(metadata: &Value, members: &[Member], problems: &mut Vec<String>) -> Result<()> {
    for member in members
        .iter()
        .filter(|member| member.is_program && member.house != "tests")
    {
        let shipped = shipped(metadata, &member.name)?;
        for other in ["aws-lc-rs", "openssl-sys", "native-tls"] {
            if shipped.iter().any(|package| text(package, "name") == other) {
                problems.push(format!(
                    "ADR 001: {} contains {other} next to ring",
                    member.name
                ));
            }
        }
    }
    Ok(())
}

/// Every licence of what is shipped is one that deny.toml lists.
fn check_licences(metadata: &Value, members: &[Member], problems: &mut Vec<String>) -> Result<()> {
    let deny = std::fs::read_to_string(root().join("deny.toml")).context("reading deny.toml")?;
    let deny: toml::Table = deny.parse().context("reading deny.toml")?;
    let licences = deny
        .get("licenses")
        .and_then(toml::Value::as_table)
        .context("no [licenses]")?;
    let words = |value: Option<&toml::Value>| -> Vec<String> {
        let list = value
            .and_then(toml::Value::as_array)
            .cloned()
            .unwrap_or_default();
        list.iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let allowed = words(licences.get("allow"));
    let exceptions = licences
        .get("exceptions")
        .and_then(toml::Value::as_array)
        .cloned();
    let mut seen = BTreeSet::new();
    for member in members
        .iter()
        .filter(|member| member.is_program && member.house != "tests")
    {
        for package in shipped(metadata, &member.name)? {
            let (name, licence) = (text(package, "name"), text(package, "license"));
            let mut here = allowed.clone();
            for exception in exceptions.iter().flatten() {
                if exception.get("crate").and_then(toml::Value::as_str) == Some(&name) {
                    here.extend(words(exception.get("allow")));
                }
            }
            if !permits(&licence, &here) && seen.insert(name.clone()) {
                problems.push(format!("licence: {name} is under `{licence}`"));
            }
        }
    }
    Ok(())
}

/// Whether an SPDX expression can be met with the allowed licences. `AND` binds tighter than `OR`;
/// parentheses are met by checking their inside first.
fn permits(expression: &str, allowed: &[String]) -> bool {
    if let Some(open) = expression.rfind('(') {
        let (before, inside) = expression.split_at(open);
        let Some((inside, after)) = inside.get(1..).and_then(|rest| rest.split_once(')')) else {
            return false;
        };
        // "MIT" is always allowed and "none" never is, so either stands for the inside's answer.
        let answer = if permits(inside, allowed) {
            "MIT"
        } else {
            "none"
        };
        return permits(&format!("{before}{answer}{after}"), allowed);
    }
    expression.replace('/', " OR ").split(" OR ").any(|option| {
        option
            .split(" AND ")
            .all(|licence| allowed.iter().any(|word| word == licence.trim()))
    })
}

/// The packages that end up in a program: ordinary dependencies, followed from it.
fn shipped<'a>(metadata: &'a Value, program: &str) -> Result<Vec<&'a Value>> {
    let packages: BTreeMap<String, &Value> = list(metadata, "packages")
        .iter()
        .map(|package| (text(package, "id"), package))
        .collect();
    let nodes: BTreeMap<String, &Value> = list(&metadata["resolve"], "nodes")
        .iter()
        .map(|node| (text(node, "id"), node))
        .collect();
    let start = packages
        .iter()
        .find(|(_, package)| text(package, "name") == program)
        .map(|(id, _)| id.clone())
        .with_context(|| format!("no package {program}"))?;
    let mut open = vec![start];
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        for dependency in nodes.get(&id).map_or(&[][..], |node| list(node, "deps")) {
            if list(dependency, "dep_kinds")
                .iter()
                .any(|kind| kind["kind"].is_null() && for_linux(kind))
            {
                open.push(text(dependency, "pkg"));
            }
        }
    }
    let shipped = found.iter().filter_map(|id| packages.get(id).copied());
    Ok(shipped
        .filter(|package| !package["source"].is_null())
        .collect())
}

/// Whether a dependency is used on Linux; a `cfg` that names only other systems is not ours.
fn for_linux(kind: &Value) -> bool {
    let Some(target) = kind["target"].as_str() else {
        return true;
    };
    ![
        "windows",
        "macos",
        "apple",
        "wasm",
        "android",
        "hermit",
        "redox",
        "wasi",
        "target_os = \"ios\"",
    ]
    .iter()
    .any(|system| target.contains(system) && !target.contains("not(") && !target.contains("unix"))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::permits;

    #[test]
    fn licence_expressions_are_met_or_not() {
        let allowed = ["MIT", "Apache-2.0", "ISC"].map(str::to_owned);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("(GPL-2.0 OR GPL-3.0) AND ISC", false),
            ("", false),
        ] {
            assert_eq!(permits(expression, &allowed), expected, "{expression}");
        }
    }
}
