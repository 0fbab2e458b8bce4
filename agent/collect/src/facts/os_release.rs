//! The operating system's own description, os-release(5).

use crate::bytes::{lines, text};
use crate::error::CollectError;
use crate::files::{Base, Files};

/// Most bytes of a value that are kept; real ones have less than a hundred.
const MAX_VALUE_BYTES: usize = 256;

/// Keys and values, unquoted.
#[derive(Debug, Default)]
pub(crate) struct OsRelease {
    values: Vec<(String, String)>,
}

impl OsRelease {
    /// From `/etc/os-release`, or `/usr/lib/os-release` if that is absent.
    pub(crate) fn read(files: &mut Files) -> Result<Self, CollectError> {
        match files.read(Base::Root, "etc/os-release") {
            Err(error) if error.is_not_found() => {}
            content => return Ok(Self::parse(content?)),
        }
        Ok(Self::parse(files.read(Base::Root, "usr/lib/os-release")?))
    }

    fn parse(content: &[u8]) -> Self {
        let mut values = Vec::new();
        for line in lines(content).take(64) {
            let line = text(line);
            let Some((key, value)) = line.trim().split_once('=') else {
                continue;
            };
            if !key.starts_with('#') {
                values.push((key.to_owned(), unquote(value)));
            }
        }
        Self { values }
    }

    /// The value of a key; empty if there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        let found = self.values.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// Takes off the quotes and the backslashes of the shell.
fn unquote(value: &str) -> String {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let mut plain = String::new();
    if let Some(literal) = inner('\'') {
        plain.push_str(literal);
    } else {
        let mut characters = inner('"').unwrap_or(value).chars();
        while let Some(character) = characters.next() {
            let escaped = if character == '\\' {
                characters.next()
            } else {
                None
            };
            plain.push(escaped.unwrap_or(character));
        }
    }
    let end = plain.floor_char_boundary(MAX_VALUE_BYTES);
    plain.truncate(end);
    plain
}

#[cfg(test)]
mod tests {
    use super::OsRelease;

    #[test]
    fn values_are_unquoted_as_the_shell_does() {
        let content = b"NAME=\"Kylin \\\"V10\\\"\"\n# ID=no\nID='kylin'\nVERSION_ID=V10\nbroken\n";
        let release = OsRelease::parse(content);
        assert_eq!(release.get("NAME"), "Kylin \"V10\"");
        assert_eq!(release.get("ID"), "kylin");
        assert_eq!(release.get("VERSION_ID"), "V10");
        assert_eq!(release.get("VARIANT"), "");
    }
}
