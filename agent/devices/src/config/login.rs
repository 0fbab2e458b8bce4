//! Credentials as people write them: of one device, or a set with a name that many devices share.

use xiezhi_document::{Said, Section};

use crate::credentials::{Cipher, Credentials, Digest, Secret, Security, User};
use crate::sealed::PREFIX;

/// Opens a sealed value, or says what to do.
pub type Opener<'a> = dyn Fn(&str) -> Result<Secret, Said> + 'a;

/// Reads the keys of one login from `section`; `open` opens sealed values.
///
/// What is wrong is a problem of the section, which never holds a secret.
pub fn credentials(section: &mut Section<'_>, open: &Opener<'_>) -> Option<Credentials> {
    let version = section.choice("version", &[("1", 1), ("2c", 2), ("3", 3)]);
    if version.is_none() {
        section.required_text("version", "1, 2c, 3");
    }
    match version? {
        3 => user(section, open).map(Credentials::V3),
        version => {
            let what = Said::new("the community", "团体字");
            let community = secret(section, "community", what, open)?;
            Some(if version == 1 {
                Credentials::V1 { community }
            } else {
                Credentials::V2c { community }
            })
        }
    }
}

fn user(section: &mut Section<'_>, open: &Opener<'_>) -> Option<User> {
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
    let signed = section.section("auth", |section| protocol::<Digest>(section, digest, open));
    let private = section.section("privacy", |section| {
        protocol::<Cipher>(section, cipher, open)
    });
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

fn protocol<T: std::str::FromStr>(
    section: &mut Section<'_>,
    known: Said,
    open: &Opener<'_>,
) -> Option<(T, Secret)> {
    if !section.keys().iter().any(|key| key == "protocol") {
        section.required_text("protocol", known.clone());
    }
    let protocol = section.parsed::<T>("protocol", known);
    let what = Said::new(
        "the password, eight characters or more",
        "口令，至少 8 个字符",
    );
    let password = secret(section, "password", what, open);
    protocol.zip(password)
}

/// A secret under `key`, opened if it is sealed.
fn secret(section: &mut Section<'_>, key: &str, what: Said, open: &Opener<'_>) -> Option<Secret> {
    let text = section.required_text(key, what)?;
    if !text.starts_with(PREFIX) {
        return Some(Secret::new(text));
    }
    match open(&text) {
        Ok(secret) => Some(secret),
        Err(said) => {
            section.problem(key, said);
            None
        }
    }
}
