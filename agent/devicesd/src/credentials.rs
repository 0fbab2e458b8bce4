//! How this host proves to a device that it may ask, from a file or from standard input.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_devices::config::login;
use xiezhi_devices::{Credentials, Secret};
use xiezhi_document::{Document, Language, Said};

use crate::Arguments;

/// Longest text with credentials, bytes.
const LONGEST: u64 = 64 << 10;

/// The credentials as text: of the file, or made of the community.
pub(crate) fn text(arguments: &Arguments) -> Result<Secret> {
    if let Some(login) = &arguments.login {
        return Ok(login.clone());
    }
    match (&arguments.credentials, arguments.community.as_deref()) {
        (Some(path), None) if path == Path::new("-") => standard_input().map(Secret::new),
        (Some(path), None) => file(path).map(Secret::new),
        (None, Some("-")) => {
            let community = standard_input()?;
            let community = community.trim_end_matches(['\r', '\n']);
            // Single quotes, doubled, are the one way to write any text in YAML.
            let quoted = community.replace('\'', "''");
            Ok(Secret::new(format!("version: 2c\ncommunity: '{quoted}'\n")))
        }
        (None, Some(_)) => bail!(
            "a community on the command line can be read by every user of this host: \
             use `--community -` and type it, or `--credentials FILE`"
        ),
        (Some(_), Some(_)) => bail!("--credentials and --community: give one of them"),
        (None, None) => bail!("how to log in is missing: --credentials FILE or --community -"),
    }
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(LONGEST)
        .read_to_string(&mut text)
        .context("reading credentials from standard input")?;
    ensure!(!text.trim().is_empty(), "standard input had no credentials");
    Ok(text)
}

fn file(path: &Path) -> Result<String> {
    let reading = || format!("reading {}", path.display());
    let mode = fs::metadata(path).with_context(reading)?.mode();
    ensure!(
        mode & 0o077 == 0,
        "{0} can be read by others: chmod 600 {0}",
        path.display()
    );
    fs::read_to_string(path).with_context(reading)
}

/// Reads credentials from `text`, which came from `name`.
pub(crate) fn read(name: &str, text: &Secret, language: Language) -> Result<Credentials> {
    let document = Document::parse(name, text.reveal());
    let open = |_: &str| -> Result<Secret, Said> {
        Err(Said::new(
            "a sealed value belongs into devices.d; write the secret itself here",
            "密封的值只能写在 devices.d 中，此处请直接写明文",
        ))
    };
    let (credentials, problems) = document.read(|section| login::credentials(section, &open));
    if !problems.is_empty() {
        bail!("\n{}", problems.shown(language).trim_end());
    }
    credentials.context("the credentials are not complete")
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_devices::{Cipher, Digest, Security, User};

    fn parse(text: &str) -> Result<Credentials> {
        read(
            "device.yaml",
            &Secret::new(text.to_owned()),
            Language::English,
        )
    }

    #[test]
    fn all_versions_are_read() {
        let secret = |text: &str| Secret::new(text.to_owned());
        assert_eq!(
            parse("version: 2c\ncommunity: 'it''s: me'\n").unwrap(),
            Credentials::V2c {
                community: secret("it's: me")
            }
        );
        let text = "version: 3\nuser: xz\nauth: {protocol: sha256, password: one-password}\n\
                    privacy: {protocol: aes128, password: another-one}\n";
        assert_eq!(
            parse(text).unwrap(),
            Credentials::V3(User {
                name: "xz".to_owned(),
                context: String::new(),
                security: Security::Private {
                    digest: Digest::Sha256,
                    password: secret("one-password"),
                    cipher: Cipher::Aes128,
                    cipher_password: secret("another-one"),
                },
            })
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_the_secret() {
        let text = "version: 3\nuser: xz\nauth: {protocol: sha999, password: hidden-password}\n\
                    privacy: {password: hidden-password}\ncolour: red\n";
        let told = parse(text).unwrap_err().to_string();
        for part in [
            "device.yaml:3:18: `protocol` must be md5, sha1",
            "device.yaml:4:10: `protocol` is missing: aes128",
            "device.yaml:5:1: unknown key `colour`",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(!told.contains("hidden"), "{told}");
    }
}
