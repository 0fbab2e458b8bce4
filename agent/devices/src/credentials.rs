//! How this host proves to a device that it may ask.
//!
//! Secrets are wiped when they are dropped and never shown: not by `Debug`, not in an error, not in a
//! log. Keys are derived from passwords once per [`Login`], which costs a few milliseconds each, so a
//! login is shared by all devices that have the same user.
//!
//! DES and 3DES are left out: DES is broken, and both need a counter that survives restarts.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_snmp::{Auth, AuthProtocol, Community, MasterKeys, PrivProtocol, UsmConfig};
use zeroize::Zeroizing;

/// Fewest characters of an SNMPv3 password (RFC 3414, section 11.2).
const SHORTEST_PASSWORD: usize = 8;

/// Most octets of an SNMPv3 user's name (RFC 3414, section 2.4).
const LONGEST_NAME: usize = 32;

/// Something that nobody but the device may read; wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps `text`, and wipes it in the end.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself: for sealing it, or for sending it to its device.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// A protocol's version with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// SNMPv1, which has no GETBULK and no 64-bit counters.
    V1 {
        /// Its community, which everybody on the line can read.
        community: Secret,
    },
    /// SNMPv2c.
    V2c {
        /// Its community, which everybody on the line can read.
        community: Secret,
    },
    /// SNMPv3.
    V3(User),
}

/// An SNMPv3 user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name, 1 to 32 octets.
    pub name: String,
    /// Context; empty on almost all devices.
    pub context: String,
    /// How messages are protected.
    pub security: Security,
}

/// How messages are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Not at all (noAuthNoPriv).
    None,
    /// Forgeries are found out, everybody can read (authNoPriv).
    Authenticated {
        /// How they are signed.
        digest: Digest,
        /// Eight characters or more.
        password: Secret,
    },
    /// Nobody else can read them either (authPriv).
    Private {
        /// How they are signed.
        digest: Digest,
        /// Eight characters or more.
        password: Secret,
        /// How they are encrypted.
        cipher: Cipher,
        /// Eight characters or more; often the same as the other.
        cipher_password: Secret,
    },
}

/// How SNMPv3 messages are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// HMAC-MD5-96: broken, for devices that have nothing else.
    Md5,
    /// HMAC-SHA-96.
    Sha1,
    /// HMAC-128-SHA-224.
    Sha224,
    /// HMAC-192-SHA-256.
    Sha256,
    /// HMAC-256-SHA-384.
    Sha384,
    /// HMAC-384-SHA-512.
    Sha512,
}

/// How SNMPv3 messages are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128.
    Aes128,
    /// AES-192, its key made longer as net-snmp does.
    Aes192,
    /// AES-256, its key made longer as net-snmp does.
    Aes256,
    /// AES-192, its key made longer as Cisco, H3C and others do.
    Aes192Cisco,
    /// AES-256, its key made longer as Cisco, H3C and others do.
    Aes256Cisco,
}

/// Credentials that cannot work with any device. Says nothing of the secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// No community.
    #[error("the community is empty")]
    NoCommunity,
    /// No name, or one that is too long.
    #[error("the user's name must have 1 to {LONGEST_NAME} octets")]
    Name,
    /// A short password.
    #[error("an SNMPv3 password must have at least {SHORTEST_PASSWORD} characters")]
    ShortPassword,
    /// Not one of [`Digest`].
    #[error("not a way to sign: md5, sha1, sha224, sha256, sha384 and sha512 are")]
    UnknownDigest,
    /// Not one of [`Cipher`].
    #[error("not a way to encrypt: aes128, aes192, aes256, aes192-cisco and aes256-cisco are")]
    UnknownCipher,
    /// The SNMP library does not take them.
    #[error("these protocols cannot be used together")]
    Unusable,
}

impl FromStr for Digest {
    type Err = BadCredentials;

    fn from_str(text: &str) -> Result<Self, BadCredentials> {
        Ok(match text {
            "md5" => Self::Md5,
            "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return Err(BadCredentials::UnknownDigest),
        })
    }
}

impl FromStr for Cipher {
    type Err = BadCredentials;

    fn from_str(text: &str) -> Result<Self, BadCredentials> {
        Ok(match text {
            "aes128" => Self::Aes128,
            "aes192" => Self::Aes192,
            "aes256" => Self::Aes256,
            "aes192-cisco" => Self::Aes192Cisco,
            "aes256-cisco" => Self::Aes256Cisco,
            _ => return Err(BadCredentials::UnknownCipher),
        })
    }
}

impl Digest {
    /// Its word in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

impl Cipher {
    /// Its word in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Aes128 => "aes128",
            Self::Aes192 => "aes192",
            Self::Aes256 => "aes256",
            Self::Aes192Cisco => "aes192-cisco",
            Self::Aes256Cisco => "aes256-cisco",
        }
    }
}

/// Credentials that are ready for use, with keys derived from the passwords. Cheap to clone.
#[derive(Clone)]
pub struct Login {
    auth: Arc<Auth>,
    has_bulk: bool,
}

impl Login {
    /// Makes ready: a few milliseconds of computing for each password.
    ///
    /// # Errors
    /// If no device can accept these credentials.
    pub fn new(credentials: &Credentials) -> Result<Self, BadCredentials> {
        let has_bulk = !matches!(credentials, Credentials::V1 { .. });
        let auth = match credentials {
            Credentials::V1 { community } => Auth::v1(checked_community(community)?),
            Credentials::V2c { community } => Auth::v2c(checked_community(community)?),
            Credentials::V3(user) => Auth::Usm(user_of(user)?),
        };
        Ok(Self {
            auth: Arc::new(auth),
            has_bulk,
        })
    }

    pub(crate) fn auth(&self) -> Auth {
        (*self.auth).clone()
    }

    /// Its community.
    pub(crate) fn community(&self) -> Option<&Community> {
        match &*self.auth {
            Auth::Community { community, .. } => Some(community),
            Auth::Usm(_) => None,
        }
    }

    /// Its SNMPv3 user.
    pub(crate) fn user(&self) -> Option<&UsmConfig> {
        match &*self.auth {
            Auth::Community { .. } => None,
            Auth::Usm(user) => Some(user),
        }
    }

    /// Whether the protocol has GETBULK.
    #[must_use]
    pub fn has_bulk(&self) -> bool {
        self.has_bulk
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login(***)")
    }
}

fn checked_community(community: &Secret) -> Result<&str, BadCredentials> {
    let text = community.reveal();
    if text.is_empty() {
        return Err(BadCredentials::NoCommunity);
    }
    Ok(text)
}

fn user_of(user: &User) -> Result<UsmConfig, BadCredentials> {
    if !(1..=LONGEST_NAME).contains(&user.name.len()) {
        return Err(BadCredentials::Name);
    }
    let config = UsmConfig::new(user.name.clone()).context_name(user.context.clone());
    let keys = match &user.security {
        Security::None => return Ok(config),
        Security::Authenticated { digest, password } => signing_keys(*digest, password)?,
        Security::Private {
            digest,
            password,
            cipher,
            cipher_password,
        } => signing_keys(*digest, password)?
            .with_privacy(library_cipher(*cipher), checked_password(cipher_password)?)
            .map_err(|_| BadCredentials::Unusable)?,
    };
    config
        .with_master_keys(keys)
        .map_err(|_| BadCredentials::Unusable)
}

fn signing_keys(digest: Digest, password: &Secret) -> Result<MasterKeys, BadCredentials> {
    let password = checked_password(password)?;
    MasterKeys::new(library_digest(digest), password).map_err(|_| BadCredentials::Unusable)
}

fn checked_password(password: &Secret) -> Result<&[u8], BadCredentials> {
    let octets = password.reveal().as_bytes();
    if octets.len() < SHORTEST_PASSWORD {
        return Err(BadCredentials::ShortPassword);
    }
    Ok(octets)
}

fn library_digest(digest: Digest) -> AuthProtocol {
    match digest {
        Digest::Md5 => AuthProtocol::Md5,
        Digest::Sha1 => AuthProtocol::Sha1,
        Digest::Sha224 => AuthProtocol::Sha224,
        Digest::Sha256 => AuthProtocol::Sha256,
        Digest::Sha384 => AuthProtocol::Sha384,
        Digest::Sha512 => AuthProtocol::Sha512,
    }
}

fn library_cipher(cipher: Cipher) -> PrivProtocol {
    match cipher {
        Cipher::Aes128 => PrivProtocol::Aes128,
        Cipher::Aes192 => PrivProtocol::Aes192Blumenthal,
        Cipher::Aes256 => PrivProtocol::Aes256Blumenthal,
        Cipher::Aes192Cisco => PrivProtocol::Aes192Reeder,
        Cipher::Aes256Cisco => PrivProtocol::Aes256Reeder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn user(name: &str, password: &str) -> Credentials {
        Credentials::V3(User {
            name: name.to_owned(),
            context: String::new(),
            security: Security::Private {
                digest: Digest::Sha256,
                password: secret(password),
                cipher: Cipher::Aes256,
                cipher_password: secret("another-hidden-word"),
            },
        })
    }

    #[test]
    fn secrets_are_never_shown() {
        let all = [
            Credentials::V1 {
                community: secret("hidden-community"),
            },
            Credentials::V2c {
                community: secret("hidden-community"),
            },
            user("reader", "hidden-password"),
        ];
        for credentials in all {
            let login = Login::new(&credentials).unwrap();
            for shown in [format!("{credentials:?}"), format!("{login:?}")] {
                assert!(!shown.contains("hidden"), "{shown}");
            }
        }
        for (bad, what) in [
            (user("", "hidden-password"), BadCredentials::Name),
            (user("reader", "hidden"), BadCredentials::ShortPassword),
            (
                Credentials::V2c {
                    community: secret(""),
                },
                BadCredentials::NoCommunity,
            ),
        ] {
            let error = Login::new(&bad).unwrap_err();
            assert_eq!(error, what);
            assert!(!format!("{error} {error:?}").contains("hidden"));
        }
    }

    #[test]
    fn names_of_protocols_are_read() {
        assert_eq!("sha256".parse(), Ok(Digest::Sha256));
        assert_eq!("aes256-cisco".parse(), Ok(Cipher::Aes256Cisco));
        assert_eq!("des".parse::<Cipher>(), Err(BadCredentials::UnknownCipher));
        assert_eq!("".parse::<Digest>(), Err(BadCredentials::UnknownDigest));
    }
}
