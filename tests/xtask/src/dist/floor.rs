//! Which glibc a binary needs, read from its ELF symbols.
//!
//! A program that was linked on a new machine may ask for a symbol version that an old one lacks, and
//! then it does not start there at all. The linker writes each version that is needed into
//! `.gnu.version_r`, and each library into the dynamic section; both are checked.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::process::output;

/// The oldest glibc that released binaries run with.
pub(super) const FLOOR: (u32, u32) = (2, 28);

/// Libraries that every glibc system has; all others are linked in.
const SYSTEM_LIBRARIES: [&str; 7] = [
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libgcc_s.so.1",
    "ld-linux-x86-64.so.2",
];

/// Fails if the binary needs a newer glibc or another library; otherwise says what it needs.
pub(super) fn check(binary: &Path) -> Result<String> {
    let versions = output(
        Command::new("readelf")
            .args(["--version-info", "--wide"])
            .arg(binary),
    )?;
    let dynamic = output(
        Command::new("readelf")
            .args(["--dynamic", "--wide"])
            .arg(binary),
    )?;
    let (major, minor) = newest_glibc(&versions)?;
    ensure!(
        (major, minor) <= FLOOR,
        "{} needs glibc {major}.{minor}, later than {}.{}: something was linked against this machine's",
        binary.display(),
        FLOOR.0,
        FLOOR.1
    );
    let libraries = libraries(&dynamic);
    if let Some(other) = libraries
        .iter()
        .find(|name| !SYSTEM_LIBRARIES.contains(name))
    {
        bail!(
            "{} needs {other}, which not every host has: link it in",
            binary.display()
        );
    }
    Ok(format!(
        "glibc {major}.{minor} or later and {}",
        libraries.join(", ")
    ))
}

/// The highest `GLIBC_x.y` that `readelf --version-info` names; x.y.z counts as x.y.
fn newest_glibc(versions: &str) -> Result<(u32, u32)> {
    let mut newest = None;
    for version in versions.split("GLIBC_").skip(1) {
        let mut numbers = version.split(|letter: char| !letter.is_ascii_digit());
        let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
        let (Some(major), Some(minor)) = (number(), number()) else {
            // GLIBC_PRIVATE and GLIBC_ABI_DT_RELR bind a binary to one version or to new ones.
            let word: String = version
                .chars()
                .take_while(|letter| !letter.is_whitespace())
                .collect();
            bail!("the binary needs GLIBC_{word}, which is no version");
        };
        newest = newest.max(Some((major, minor)));
    }
    match newest {
        Some(newest) => Ok(newest),
        None => bail!("the binary names no glibc version: is it an ELF file for glibc?"),
    }
}

/// The libraries that `readelf --dynamic` names.
fn libraries(dynamic: &str) -> Vec<&str> {
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    needed
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSIONS: &str = "\
Version needs section '.gnu.version_r' contains 2 entries:
  000000: Version: 1  File: ld-linux-x86-64.so.2  Cnt: 1
  0x0010:   Name: GLIBC_2.3  Flags: none  Version: 10
  0x0020: Version: 1  File: libc.so.6  Cnt: 9
  0x0030:   Name: GLIBC_2.28  Flags: none  Version: 9
  0x0040:   Name: GLIBC_2.2.5  Flags: none  Version: 2
";

    #[test]
    fn the_newest_version_counts_by_number_and_not_by_letter() {
        assert_eq!(newest_glibc(VERSIONS).unwrap(), (2, 28));
        assert_eq!(
            newest_glibc(&VERSIONS.replace("2.28", "2.9")).unwrap(),
            (2, 9)
        );
        assert_eq!(newest_glibc("GLIBC_2.34 GLIBC_2.4").unwrap(), (2, 34));
    }

    #[test]
    fn what_is_no_version_is_an_error() {
        assert!(newest_glibc("No version information found in this file.").is_err());
        assert!(newest_glibc("Name: GLIBC_PRIVATE  Flags").is_err());
        assert!(newest_glibc("Name: GLIBC_ABI_DT_RELR").is_err());
    }

    #[test]
    fn needed_libraries_are_listed() {
        let dynamic = " 0x01 (NEEDED)   Shared library: [libc.so.6]\n 0x0e (SONAME) Library: [x]\n";
        assert_eq!(libraries(dynamic), ["libc.so.6"]);
    }

    #[test]
    fn a_program_of_this_machine_is_judged_by_its_own_symbols() {
        let me = std::env::current_exe().unwrap();
        let versions = output(
            Command::new("readelf")
                .args(["--version-info", "--wide"])
                .arg(me),
        );
        assert!(newest_glibc(&versions.unwrap()).unwrap() >= (2, 2));
    }
}
