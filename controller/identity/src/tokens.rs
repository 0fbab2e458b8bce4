//! Random secrets that a database must recognise and never hold: enrolment tokens, session
//! identifiers, one-time login codes.
//!
//! A stored row holds a [`SecretHash`], plain SHA-256: the secrets have at least 100 random bits, so
//! that there is nothing to guess and nothing to slow down. Passwords are another matter: see
//! [`crate::password`].

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ring::digest;
use xiezhi_protocol::enrol::Token;

use crate::IdentityError;

/// SHA-256 of a secret, as a row holds it; its text is 64 lower-case hex digits.
///
/// Comparing two takes the same time wherever they differ.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

/// A text that is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stored secret: 64 lower-case hex digits are expected")]
pub struct ParseSecretHashError;

/// A new enrolment token for hosts that are to trust the root with this fingerprint, and what the
/// store keeps of it.
///
/// # Errors
/// If the operating system gives no random numbers.
pub fn generate(root_fingerprint: [u8; 32]) -> Result<(Token, SecretHash), IdentityError> {
    let token = Token {
        id: random()?,
        secret: random()?,
        root_fingerprint,
    };
    let hash = hash_secret(&token.secret);
    Ok((token, hash))
}

/// What the store keeps of a secret's bytes.
#[must_use]
pub fn hash_secret(secret: &[u8]) -> SecretHash {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
    SecretHash(out)
}

/// What the store keeps of a secret that arrives as text, such as a cookie's or a login code's.
/// A login code may be typed with spaces, hyphens and capitals; identifiers have none of these.
#[must_use]
pub fn hash_text(secret: &str) -> SecretHash {
    let plain = |letter: &char| !letter.is_whitespace() && *letter != '-';
    let secret: String = secret.chars().filter(plain).collect();
    hash_secret(secret.to_ascii_lowercase().as_bytes())
}

/// What the store keeps of a token's secret as an enrolment request carries it: in hex. `None` if
/// it is no token secret.
#[must_use]
pub fn hash_token_secret(secret_hex: &str) -> Option<SecretHash> {
    let bytes = HEXLOWER.decode(secret_hex.as_bytes()).ok()?;
    let secret: [u8; 16] = bytes.try_into().ok()?;
    Some(hash_secret(&secret))
}

/// A new identifier of a browser's session, for its cookie, and what the store keeps of it: 256
/// random bits.
///
/// # Errors
/// If the operating system gives no random numbers.
pub fn web_session() -> Result<(String, SecretHash), IdentityError> {
    let text = HEXLOWER.encode(&random::<32>()?);
    let hash = hash_text(&text);
    Ok((text, hash))
}

/// A new identifier that is not secret, such as an agent session's: 128 random bits, hex.
///
/// # Errors
/// If the operating system gives no random numbers.
pub fn identifier() -> Result<String, IdentityError> {
    Ok(HEXLOWER.encode(&random::<16>()?))
}

/// A new code that signs a person in once, in groups that can be read aloud, and what the store
/// keeps of it: 120 random bits.
///
/// # Errors
/// If the operating system gives no random numbers.
pub fn login_code() -> Result<(String, SecretHash), IdentityError> {
    let letters = BASE32_NOPAD.encode(&random::<15>()?).to_ascii_lowercase();
    let mut text = String::with_capacity(29);
    for (index, letter) in letters.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            text.push('-');
        }
        text.push(letter);
    }
    let hash = hash_text(&text);
    Ok((text, hash))
}

/// What every API token begins with, so that a leaked one is recognised in a file or a log.
pub const API_TOKEN_PREFIX: &str = "xza_";

/// A new token of a program, and what the store keeps of it: 256 random bits.
///
/// # Errors
/// If the operating system gives no random numbers.
pub fn api_token() -> Result<(String, SecretHash), IdentityError> {
    let text = format!("{API_TOKEN_PREFIX}{}", HEXLOWER.encode(&random::<32>()?));
    let hash = hash_secret(text.as_bytes());
    Ok((text, hash))
}

/// What the store keeps of a token as a program presents it. `None` if it has not the form of one.
#[must_use]
pub fn hash_api_token(text: &str) -> Option<SecretHash> {
    let digits = text.strip_prefix(API_TOKEN_PREFIX)?;
    (digits.len() == 64).then(|| hash_secret(text.as_bytes()))
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| IdentityError::Random)?;
    Ok(bytes)
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        let difference = self
            .0
            .iter()
            .zip(other.0)
            .fold(0, |sum, (one, two)| sum | (one ^ two));
        std::hint::black_box(difference) == 0
    }
}

impl Eq for SecretHash {}

impl fmt::Display for SecretHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretHash(…)")
    }
}

impl FromStr for SecretHash {
    type Err = ParseSecretHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| ParseSecretHashError)?;
        bytes.try_into().map(Self).map_err(|_| ParseSecretHashError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_the_root_and_is_recognised_by_its_hash_alone() {
        let (token, stored) = generate([7; 32]).unwrap();
        assert_eq!(token.root_fingerprint, [7; 32]);
        let sent = HEXLOWER.encode(&token.secret);
        assert_eq!(hash_token_secret(&sent), Some(stored));
        assert_eq!(stored.to_string().parse(), Ok(stored));
        let (other, other_stored) = generate([7; 32]).unwrap();
        assert_ne!(stored, other_stored);
        assert_ne!(token.id, other.id);
        for wrong in ["", "00", &format!("{sent}00"), "zz"] {
            assert_eq!(hash_token_secret(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hashes_differ_if_any_bit_of_the_secret_does() {
        let stored = hash_secret(&[0; 16]);
        for bit in 0..128 {
            let mut secret = [0; 16];
            secret[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(hash_secret(&secret), stored);
        }
        assert_eq!(format!("{stored:?}"), "SecretHash(…)");
        assert_eq!("00".parse::<SecretHash>(), Err(ParseSecretHashError));
    }

    #[test]
    fn a_login_code_may_be_typed_as_people_type() {
        let (code, stored) = login_code().unwrap();
        assert_eq!(code.len(), 29, "{code}");
        assert_eq!(
            hash_text(&format!(" {} \n", code.to_uppercase().replace('-', " "))),
            stored
        );
        assert_ne!(hash_text(&code[1..]), stored);
    }

    #[test]
    fn session_identifiers_are_long_and_never_repeat() {
        let (one, stored) = web_session().unwrap();
        assert_eq!(one.len(), 64);
        assert_eq!(hash_text(&one), stored);
        assert_ne!(web_session().unwrap().0, one);
        assert_eq!(identifier().unwrap().len(), 32);
        assert_ne!(identifier().unwrap(), identifier().unwrap());
    }
}
