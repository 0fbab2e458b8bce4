//! Passwords of people: what is accepted, what is stored, how one is checked.
//!
//! Stored is a PHC string of argon2id with the parameters that OWASP recommends (19 MiB, 2 passes,
//! 1 lane). The rules follow MLPS 2.0 level 3, 8.1.4.1 (credentials must be complex), in the form
//! that people can live with: a long phrase needs no special signs. Checking costs tens of
//! milliseconds of CPU and 19 MiB on purpose; call it where blocking is allowed, and limit how many
//! run at once.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use crate::tokens::random;

/// Fewest characters of a password.
pub const MIN_CHARACTERS: usize = 12;
/// From this length on, a password needs no variety of signs.
pub const PHRASE_CHARACTERS: usize = 20;
/// Most bytes that are hashed, so that nobody can send a book.
pub const MAX_BYTES: usize = 1024;

/// Why a new password was not accepted, or an old one could not be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short.
    #[error("the password has {characters} characters: use at least {MIN_CHARACTERS}")]
    TooShort {
        /// How many it has.
        characters: usize,
    },
    /// Too long.
    #[error("the password is too long: use at most {MAX_BYTES} bytes")]
    TooLong,
    /// Too uniform for its length.
    #[error(
        "the password is too simple: mix three of lower case, upper case, digits and other signs, \
         or use a phrase of at least {PHRASE_CHARACTERS} characters"
    )]
    TooSimple,
    /// The same few signs over and over.
    #[error("the password repeats too few signs: use at least 6 different ones")]
    Repetitive,
    /// It contains the user's name.
    #[error("the password contains the user's name: choose another")]
    ContainsName,
    /// The stored string is no PHC string that this build can check.
    #[error("the stored password is unreadable: set a new one")]
    Stored,
    /// No randomness, or no memory.
    #[error("the password cannot be processed now: is there enough free memory?")]
    Resources,
}

impl PasswordError {
    /// A short word for programs, such as a form's field error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "password_too_short",
            Self::TooLong => "password_too_long",
            Self::TooSimple => "password_too_simple",
            Self::Repetitive => "password_repetitive",
            Self::ContainsName => "password_contains_name",
            Self::Stored => "password_unreadable",
            Self::Resources => "password_resources",
        }
    }
}

/// Says whether a new password is good enough for this user.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(password: &str, user: &str) -> Result<(), PasswordError> {
    let characters = password.chars().count();
    if characters < MIN_CHARACTERS {
        return Err(PasswordError::TooShort { characters });
    }
    if password.len() > MAX_BYTES {
        return Err(PasswordError::TooLong);
    }
    if distinct(password) < 6 {
        return Err(PasswordError::Repetitive);
    }
    if characters < PHRASE_CHARACTERS && kinds(password) < 3 {
        return Err(PasswordError::TooSimple);
    }
    let user = user.trim().to_lowercase();
    if user.chars().count() >= 3 && password.to_lowercase().contains(&user) {
        return Err(PasswordError::ContainsName);
    }
    Ok(())
}

/// A password for one use, to be handed over to its owner, who then sets one: 80 random bits in groups
/// that can be read aloud.
///
/// # Errors
/// If there is no randomness.
pub fn generate_once() -> Result<String, PasswordError> {
    let bytes: [u8; 10] = random().map_err(|_| PasswordError::Resources)?;
    let letters = data_encoding::BASE32_NOPAD
        .encode(&bytes)
        .to_ascii_lowercase();
    let mut text = String::new();
    for (index, letter) in letters.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            text.push('-');
        }
        text.push(letter);
    }
    Ok(text)
}

/// What the store keeps of a password. It does not judge it: call [`check`] first.
///
/// # Errors
/// If there is no randomness or no memory for it, or it is too long.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if password.len() > MAX_BYTES {
        return Err(PasswordError::TooLong);
    }
    let salt: [u8; 16] = random().map_err(|_| PasswordError::Resources)?;
    let hash = hasher()?
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|_| PasswordError::Resources)?;
    Ok(hash.to_string())
}

/// Whether this is the password that was stored; takes the same time either way.
///
/// # Errors
/// If what is stored cannot be checked.
pub fn verify(password: &str, stored: &str) -> Result<bool, PasswordError> {
    let stored = PasswordHash::new(stored).map_err(|_| PasswordError::Stored)?;
    if password.len() > MAX_BYTES {
        return Ok(false);
    }
    match hasher()?.verify_password(password.as_bytes(), &stored) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(PasswordError::Stored),
    }
}

/// Spends the time of one [`verify`]: for a user that does not exist, so that the answer's time does
/// not tell. The result is always `false`.
#[must_use]
pub fn verify_unknown(password: &str) -> bool {
    const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    verify(password, NOBODY).unwrap_or(false)
}

/// Whether a stored password was made with other parameters than today's: hash it anew after the
/// next successful [`verify`].
#[must_use]
pub fn is_outdated(stored: &str) -> bool {
    !stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
}

/// Argon2id with the parameters of OWASP's password storage recommendations.
fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(19_456, 2, 1, Some(32)).map_err(|_| PasswordError::Resources)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn kinds(password: &str) -> usize {
    let tests: [fn(char) -> bool; 4] = [
        char::is_lowercase,
        char::is_uppercase,
        |letter| letter.is_ascii_digit(),
        |letter| !letter.is_lowercase() && !letter.is_uppercase() && !letter.is_ascii_digit(),
    ];
    tests
        .iter()
        .filter(|test| password.chars().any(**test))
        .count()
}

fn distinct(password: &str) -> usize {
    let mut letters: Vec<char> = password.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    letters.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_what_is_wrong_with_a_password() {
        let cases = [
            ("short", Err(PasswordError::TooShort { characters: 5 })),
            ("onlylettersin", Err(PasswordError::TooSimple)),
            ("Aa1Aa1Aa1Aa1Aa1Aa1Aa1", Err(PasswordError::Repetitive)),
            ("Wang-Fang-2025-x", Err(PasswordError::ContainsName)),
            ("correct horse battery staple", Ok(())),
            ("Gansu-2025-sunny", Ok(())),
            (
                "兰州的春天总是来得很晚但是很美丽动人的",
                Err(PasswordError::TooSimple),
            ),
            ("兰州的春天总是来得很晚但是很美丽动人啊对吧", Ok(())),
        ];
        for (password, expected) in cases {
            assert_eq!(check(password, "wang-fang"), expected, "{password}");
        }
        assert_eq!(
            check(&"aB3$efgh".repeat(200), "x"),
            Err(PasswordError::TooLong)
        );
        let message = check("short", "x").unwrap_err().to_string();
        assert_eq!(message, "the password has 5 characters: use at least 12");
    }

    #[test]
    fn only_the_right_password_verifies_and_salts_differ() {
        let stored = hash("correct horse battery staple").unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(!is_outdated(&stored));
        assert_eq!(verify("correct horse battery staple", &stored), Ok(true));
        assert_eq!(verify("correct horse battery stapler", &stored), Ok(false));
        assert_eq!(verify(&"x".repeat(MAX_BYTES + 1), &stored), Ok(false));
        assert_ne!(hash("correct horse battery staple").unwrap(), stored);
    }

    #[test]
    fn nobody_has_no_password_and_a_damaged_row_is_an_error() {
        assert!(!verify_unknown("correct horse battery staple"));
        for damaged in [
            "",
            "plain",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAA",
            "$md5$x$y",
        ] {
            assert_eq!(
                verify("x", damaged),
                Err(PasswordError::Stored),
                "{damaged}"
            );
            assert!(is_outdated(damaged) || damaged.starts_with("$argon2id$v=19"));
        }
        assert!(is_outdated("$argon2id$v=19$m=4096,t=3,p=1$x$y"));
    }
}
