//! `cargo xtask test`: everything that must hold before a change lands.

use std::io::ErrorKind;

use anyhow::{Context as _, Result};

use crate::process::{call, cargo, have_for_cargo, phase, target};
use crate::{deps, docs, fuzzer, packages, releases, tidy, web};

/// Where random cases and faults begin unless the environment says otherwise: a change is judged by the
/// same ones wherever it is tried. `cargo nextest run` draws new ones at each run.
const SEEDS: [&str; 2] = ["PROPTEST_RNG_SEED", "XIEZHI_SEED"];

/// Runs all checks. `--quick` leaves out what takes minutes (lints, documentation, real processes).
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let quick = arguments.iter().any(|argument| argument == "--quick");
    if !quick {
        phase("packages", || packages::ensure(packages::TEST))?;
        phase("the fuzzer of the interface", fuzzer::ensure)?;
    }
    phase("form", || {
        call(&mut cargo(&["fmt", "--all", "--check"]))?;
        tidy::run()
    })?;
    phase("dependencies", deps::run)?;
    if !quick {
        phase("scripts and style sheets of the pages", web::run)?;
        phase("lints", || {
            call(&mut cargo(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))
        })?;
    }
    phase("build", || {
        call(&mut cargo(&["build", "--quiet", "--workspace", "--bins"]))?;
        call(&mut cargo(&["test", "--quiet", "--workspace", "--no-run"]))
    })?;
    if !quick {
        phase("programs of the version before", releases::ensure_built)?;
    }
    phase("tests", || {
        let mut command = if have_for_cargo("cargo-nextest") {
            cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])
        } else {
            cargo(&["test", "--workspace", "--no-fail-fast"])
        };
        if quick {
            command.args(["--exclude", "xiezhi-e2e", "--exclude", "xiezhi-sim"]);
        } else {
            // A peer that is missing must not make its comparison pass in silence.
            command.env("XIEZHI_REQUIRE_PEERS", "1");
            // What every screen looked like stays, for whoever wants to see it.
            command.env("XIEZHI_SCREENS", "1");
            empty_screens()?;
        }
        for name in SEEDS {
            let seed = std::env::var(name).unwrap_or_else(|_| "1".to_owned());
            println!("{name}={seed}");
            command.env(name, seed);
        }
        call(&mut command)
    })?;
    if !quick {
        phase("documentation", docs::run)?;
    }
    Ok(())
}

/// Empties the folder where the browser's tests leave a picture of each screen in each look: every
/// picture has its own name, so the folder never grows beyond one run.
fn empty_screens() -> Result<()> {
    let folder = target().join("screens");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("emptying {}", folder.display()))
        }
        _ => Ok(()),
    }
}
