//! `cargo xtask docs`: reference documentation without a warning, and its examples run.

use anyhow::Result;

use crate::process::{call, cargo};

/// Builds the documentation and runs the examples in it.
pub(crate) fn run() -> Result<()> {
    call(
        cargo(&[
            "doc",
            "--quiet",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ])
        .env(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private_intra_doc_links",
        ),
    )?;
    call(&mut cargo(&["test", "--quiet", "--workspace", "--doc"]))
}
