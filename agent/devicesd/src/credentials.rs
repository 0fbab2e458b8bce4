//! How this host proves to a device that it may ask, from a file or from standard input.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_devices::{Cipher, Credentials, Digest, Secret, Security, User};
use xiezhi_document::{Document, Language, Said, Section};

use crate::Arguments;

/// Longest text with credentials, bytes.
const LONGEST: u64 = 64 << 10;

/// The credentials as text: of the file, or made of the community.
pub(crate) fn text(arguments: &Arguments) -> Result<Secret> {
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
    let (credentials, problems) = document.read(credentials);
    if !problems.is_empty() {
        bail!("\n{}", problems.shown(language).trim_end());
    }
    credentials.context("the credentials are not complete")
}

fn credentials(section: &mut Section<'_>) -> Option<Credentials> {
    let version = section.choice("version", &[("1", 1), ("2c", 2), ("3", 3)]);
    if version.is_none() {
        section.required_text("version", "1, 2c, 3");
    }
    match version? {
        3 => user(section).map(Credentials::V3),
        version => {
            let what = Said::new("the community", "团体字");
            let community = Secret::new(section.required_text("community", what)?);
            Some(if version == 1 {
                Credentials::V1 { community }
            } else {
                Credentials::V2c { community }
            })
        }
    }
}

fn user(section: &mut Section<'_>) -> Option<User> {
    let name = section.required_text("user", Said::new("the user's name", "用户名"));
    let context = section.text("context").unwrap_or_default();
    let digest = Said::new(
        "md5, sha1, sha224, sha256, sha384 or sha512",
        "md5、sha1、sha224、sha256、sha384 或 sha512",
    );
    let cipher = Said::new(
        "aes128, aes192, aes256, aes192-cisco or aes256-cisco",
        "aes128、aes192、aes256、aes192-cisco 或 aes256-cisco",
    );
    let signed = section.section("auth", |section| protocol::<Digest>(section, digest));
    let private = section.section("privacy", |section| protocol::<Cipher>(section, cipher));
    let security = match (signed, private) {
        (None, None) => Some(Security::None),
        (Some(signed), None) => {
            signed.map(|(digest, password)| Security::Authenticated { digest, password })
        }
        (Some(signed), Some(private)) => {
            signed
                .zip(private)
                .map(
                    |((digest, password), (cipher, cipher_password))| Security::Private {
                        digest,
                        password,
                        cipher,
                        cipher_password,
                    },
                )
        }
        (None, Some(_)) => {
            section.problem(
                "privacy",
                Said::new(
                    "`privacy` needs `auth` too",
                    "使用 `privacy` 时必须同时设置 `auth`",
                ),
            );
            None
        }
    };
    Some(User {
        name: name?,
        context,
        security: security?,
    })
}

fn protocol<T: std::str::FromStr>(section: &mut Section<'_>, known: Said) -> Option<(T, Secret)> {
    if !section.keys().iter().any(|key| key == "protocol") {
        section.required_text("protocol", known.clone());
    }
    let protocol = section.parsed::<T>("protocol", known);
    let what = Said::new(
        "the password, eight characters or more",
        "口令，至少 8 个字符",
    );
    let password = section.required_text("password", what).map(Secret::new);
    protocol.zip(password)
}

#[cfg(test)]
mod tests {
    use super::*;

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
