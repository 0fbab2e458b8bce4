//! Every route × every role × several scopes: how many were tried, and whether anything leaked.
//!
//! The matrix is generated from the list of routes by a test of the interface, which this runs.

use anyhow::{Context as _, Result};

use super::verdict;
use crate::process::cargo;

const TEST: &str = "tests::matrix::no_role_reaches_what_its_scope_does_not_hold_by_any_route";

/// Runs the matrix and reads what it says of itself.
pub(super) fn matrix() -> Result<()> {
    let arguments = ["test", "--quiet", "--package", "xiezhi-api", "--lib", "--"];
    let mut command = cargo(&arguments);
    command.args(["--exact", TEST, "--nocapture"]);
    let output = command.output().context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (tried, all, wrong) = said.lines().find_map(read).with_context(|| {
        let also = String::from_utf8_lossy(&output.stderr);
        format!("the matrix did not say what it tried:\n{said}\n{also}")
    })?;
    if wrong > 0 {
        println!("{said}");
    }
    verdict(
        "authorisation-matrix",
        &format!("{tried} tried of {all}, {wrong} leaks"),
        "–",
        "all and 0 leaks",
        tried == all && tried > 0 && wrong == 0 && output.status.success(),
    );
    Ok(())
}

/// `matrix: 4800 tried of 4800, 0 wrong`, wherever it stands in a line.
fn read(line: &str) -> Option<(u64, u64, u64)> {
    let (_, rest) = line.split_once("matrix: ")?;
    let (tried, rest) = rest.split_once(" tried of ")?;
    let (all, rest) = rest.split_once(", ")?;
    let wrong = rest.strip_suffix(" wrong")?;
    Some((tried.parse().ok()?, all.parse().ok()?, wrong.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_matrix_is_read_and_no_other() {
        let line = "test a ... matrix: 48 tried of 50, 1 wrong";
        assert_eq!(read(line), Some((48, 50, 1)));
        assert_eq!(read("running 1 test"), None);
    }
}
