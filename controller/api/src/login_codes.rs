//! One-time login codes: for an address printed on a terminal that signs its reader in.

use std::sync::{Mutex, PoisonError};

use xiezhi_identity::IdentityError;
use xiezhi_identity::tokens::{self, SecretHash};

/// Codes outstanding at one time; the oldest gives way.
const MOST: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct LoginCodes(Mutex<Vec<Code>>);

#[derive(Debug)]
struct Code {
    hash: SecretHash,
    user: String,
    until_ms: i64,
}

impl LoginCodes {
    pub(crate) fn issue(&self, user: &str, until_ms: i64) -> Result<String, IdentityError> {
        let (text, hash) = tokens::login_code()?;
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() >= MOST {
            codes.remove(0);
        }
        codes.push(Code {
            hash,
            user: user.to_owned(),
            until_ms,
        });
        Ok(text)
    }

    /// The user of a valid code, which is used up by this.
    pub(crate) fn take(&self, text: &str, now_ms: i64) -> Option<String> {
        let hash = tokens::hash_text(text);
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|code| code.until_ms > now_ms);
        let found = codes.iter().position(|code| code.hash == hash)?;
        Some(codes.remove(found).user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_not_after_its_time() {
        let codes = LoginCodes::default();
        let code = codes.issue("admin", 1000).unwrap();
        assert_eq!(codes.take("not-it", 10), None);
        assert_eq!(codes.take(&code, 10).as_deref(), Some("admin"));
        assert_eq!(codes.take(&code, 10), None);
        let late = codes.issue("admin", 1000).unwrap();
        assert_eq!(codes.take(&late, 1000), None);
    }

    #[test]
    fn the_oldest_code_gives_way() {
        let codes = LoginCodes::default();
        let first = codes.issue("admin", 1000).unwrap();
        for _ in 0..MOST {
            codes.issue("admin", 1000).unwrap();
        }
        assert_eq!(codes.take(&first, 10), None);
    }
}
