//! The operating system's name and version.
//!
//! Source: os-release(5), in `/etc` or else in `/usr/lib`.

use super::{Cadence, Collector};
use crate::error::CollectError;
use crate::facts::OsRelease;
use crate::readings::Readings;
use crate::root::HostRoot;

/// Labels of `node_os_info`, in their order, and the keys that they come from.
const LABELS: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];

pub(super) struct Os;

impl Collector for Os {
    fn name(&self) -> &'static str {
        "os"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let release = OsRelease::read(out.files)?;
        let labels = LABELS.map(|(label, key)| (label, release.get(key)));
        out.samples.put("node_os_info", &labels, 1.0);
        if let Some(version) = major_minor(release.get("VERSION_ID")) {
            let labels = [
                ("id", release.get("ID")),
                ("id_like", release.get("ID_LIKE")),
                ("name", release.get("NAME")),
            ];
            out.samples.put("node_os_version", &labels, version);
        }
        Ok(())
    }
}

/// `22.04.3` is 22.04; text that does not start with a digit is nothing.
fn major_minor(version: &str) -> Option<f64> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let major = parts.next().filter(|part| is_number(part))?;
    let has_minor = version.as_bytes().get(major.len()) == Some(&b'.');
    let minor = parts
        .next()
        .filter(|part| has_minor && is_number(part))
        .unwrap_or("0");
    format!("{major}.{minor}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major_minor;

    #[test]
    fn version_is_major_and_minor() {
        assert_eq!(major_minor("12"), Some(12.0));
        assert_eq!(major_minor("22.04.3"), Some(22.04));
        assert_eq!(major_minor("10-SP1"), Some(10.0));
        assert_eq!(major_minor("V10"), None);
        assert_eq!(major_minor(""), None);
    }
}
