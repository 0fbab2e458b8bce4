//! `dist`: what is released. A tarball, a .deb and an .rpm of each binary, in `dist/`.
//!
//! The binaries run on every x86-64 Linux with glibc 2.28 or later (kernel 4.18, the age of Kylin
//! V10, UOS 20, openEuler 20.03 and RHEL 8): they are linked against that version's symbols with
//! zig's C library stubs, and the ELF files are checked afterwards, so that a newer symbol can't
//! slip in unnoticed. aarch64 is not released here: its standard library has to be fetched with
//! rustup. `tests/fresh/aarch64` shows with Debian's compiler that the agent builds for it and runs
//! under qemu; a real machine is unproven.
//!
//! Building a package runs nothing of it. The packages are read back with dpkg-deb and rpm and must
//! list exactly the staged files; `tests/fresh/packages` installs and tries them.

mod build;
mod check;
mod floor;
mod pack;
mod product;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::packages::{self, Package};
use crate::process::{phase, root};

/// Debian packages that the released files are made with.
const TOOLS: &[Package] = &[
    packages::package("dpkg", "dpkg-deb", "making the .deb"),
    packages::package("rpm", "rpmbuild", "making the .rpm"),
    packages::package("binutils", "readelf", "looking into the binaries"),
    packages::package("python3-venv", "python3", "the linker, as a Python package"),
];

/// Makes all released files; `--quick` builds with the release profile instead of the slow dist one.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let quick = match arguments {
        [] => false,
        [quick] if quick == "--quick" => true,
        _ => bail!("usage: cargo xtask dist [--quick]"),
    };
    packages::ensure(TOOLS)?;
    let out = root().join("dist");
    fs::create_dir_all(&out).context("making the folder dist")?;
    for product in product::PRODUCTS {
        let profile = if quick { "release" } else { product.profile };
        let programs = phase(&format!("build {}", product.name), || {
            build::build(product, profile)
        })?;
        for (program, (_, name)) in programs.iter().zip(product.programs()) {
            println!("{name} runs with {}", floor::check(program)?);
        }
        phase(&format!("package {}", product.name), || {
            package(product, &programs, &out)
        })?;
    }
    let sums = check::write_sums(&out)?;
    print!("{sums}");
    Ok(())
}

fn package(product: &product::Product, programs: &[PathBuf], out: &Path) -> Result<()> {
    let staged = pack::Staged::new(product, programs)?;
    let tarball = staged.tarball(out)?;
    check::tarball(&staged, &tarball)?;
    let deb = staged.deb(out)?;
    check::deb(&staged, &deb)?;
    let rpm = staged.rpm(out)?;
    check::rpm(&staged, &rpm)
}
