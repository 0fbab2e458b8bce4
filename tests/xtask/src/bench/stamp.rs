//! The row `stamp-accuracy`: how near STAMP comes to what a line does.
//!
//! The line is a relay of ours between two namespaces that notes by its own clock how long each packet was under
//! way. `ping` and a TWAMP Light sender in Python measure it at the same time.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::load::field;
use super::span::machine_load;
use super::{Size, verdict};
use crate::packages::{self, Package, package};
use crate::process::{call, cargo, output, root, target};

/// How long each of the two lines is measured, seconds.
const SECONDS: &str = "60";

/// Most that the median round trip may differ from the line's own, milliseconds.
const BAR_MS: f64 = 0.2;

const NEEDED: &[Package] = &[
    package("iproute2", "ip", "network namespaces"),
    package("iputils-ping", "ping", "peer of the figure stamp-accuracy"),
    package(
        "python3-minimal",
        "python3",
        "peer of the figure stamp-accuracy",
    ),
];

pub(super) fn accuracy(_: &Size) -> Result<()> {
    packages::ensure(NEEDED)?;
    let example = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "xiezhi-links",
        "--example",
        "accuracy",
    ];
    call(&mut cargo(&example))?;
    let script = root().join("agent/links/tests/twamp_light.py");
    let mut measure = Command::new(target().join("release/examples/accuracy"));
    let said = output(measure.arg(SECONDS).arg(script))?;
    print!("{said}");
    println!("machine load {}", machine_load());
    let number = |name: &str| field(&said, name).with_context(|| format!("no {name} was said"));
    let same = |ours: &str, line: &str| Ok::<_, anyhow::Error>(number(ours)? == number(line)?);
    let exact = same("ours_lost_there", "line_lost_there")?
        && same("ours_lost_back", "line_lost_back")?
        && number("lost_idle")? == 0.0;
    let error = number("ours_error_ms")?.abs();
    verdict(
        "stamp-accuracy",
        &format!(
            "{error:.3} ms from the line's own median, {} of {} and {} of {} losses there and back",
            number("ours_lost_there")?,
            number("line_lost_there")?,
            number("ours_lost_back")?,
            number("line_lost_back")?,
        ),
        &format!(
            "{:.3} ms, {} of {} losses (ping), {:.3} ms, {} of {} (TWAMP Light in Python)",
            number("ping_error_ms")?.abs(),
            number("ping_lost")?,
            number("ping_line_lost")?,
            number("python_error_ms")?.abs(),
            number("python_lost")?,
            number("python_line_lost")?,
        ),
        "0.2 ms, every loss",
        error <= BAR_MS && exact,
    );
    Ok(())
}
