//! Secrets in files that a copy of the file does not give away.
//!
//! A secret is sealed with AES-256-GCM under a random key that lies elsewhere, so a copied folder of
//! devices, an old backup or a screen that is looked over shows nothing. Who may read the key's file may
//! read the secrets: that is this host's root and the program that asks devices.

use data_encoding::BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::credentials::Secret;

/// What a sealed value begins with.
pub const PREFIX: &str = "sealed:";

/// What a key's file begins with.
const KEY_PREFIX: &str = "xiezhi-devices-key-1:";

/// What is sealed beside the secret, so that nothing else that was sealed with the key passes for one.
const PURPOSE: &[u8] = b"xiezhi device secret 1";

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Why a secret could not be sealed or opened. Says nothing of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The file holds no key.
    #[error("this is no key of sealed secrets")]
    Key,
    /// The value is not what sealing yields.
    #[error("the sealed value is damaged: it was cut or changed")]
    Damaged,
    /// The value does not open.
    #[error("it was sealed with another key, or was changed")]
    OtherKey,
}

/// The key of all sealed secrets of a host.
pub struct Key(LessSafeKey);

impl Key {
    /// The text of a new key's file.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn generate() -> Result<Secret, SealError> {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        SystemRandom::new()
            .fill(bytes.as_mut_slice())
            .map_err(|_| SealError::Random)?;
        let text = Zeroizing::new(BASE64.encode(bytes.as_slice()));
        Ok(Secret::new(format!("{KEY_PREFIX}{}\n", text.as_str())))
    }

    /// Reads a key's file.
    ///
    /// # Errors
    /// [`SealError::Key`].
    pub fn parse(text: &Secret) -> Result<Self, SealError> {
        let text = text.reveal().trim_end().strip_prefix(KEY_PREFIX);
        let bytes = text.and_then(|text| BASE64.decode(text.as_bytes()).ok());
        let bytes = Zeroizing::new(bytes.ok_or(SealError::Key)?);
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SealError::Key)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals a secret; the text goes into a file as it is.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, secret: &Secret) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| SealError::Random)?;
        let mut bytes = Zeroizing::new(secret.reveal().as_bytes().to_vec());
        let number = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(number, Aad::from(PURPOSE), &mut *bytes)
            .map_err(|_| SealError::Random)?;
        let whole = [nonce.as_slice(), &bytes].concat();
        Ok(format!("{PREFIX}{}", BASE64.encode(&whole)))
    }

    /// Opens what [`Key::seal`] made.
    ///
    /// # Errors
    /// [`SealError::Damaged`] or [`SealError::OtherKey`].
    pub fn open(&self, sealed: &str) -> Result<Secret, SealError> {
        let text = sealed.strip_prefix(PREFIX).ok_or(SealError::Damaged)?;
        let whole = BASE64
            .decode(text.trim().as_bytes())
            .map_err(|_| SealError::Damaged)?;
        let (nonce, rest) = whole
            .split_at_checked(NONCE_LEN)
            .ok_or(SealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(PURPOSE), &mut bytes)
            .map_err(|_| SealError::OtherKey)?;
        let text = std::str::from_utf8(opened).map_err(|_| SealError::Damaged)?;
        Ok(Secret::new(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::parse(&Key::generate().unwrap()).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_key_alone() {
        let (key, other) = (key(), self::key());
        let secret = Secret::new("团体字 with 'quotes'".to_owned());
        let sealed = key.seal(&secret).unwrap();
        assert_eq!(key.open(&sealed), Ok(secret.clone()));
        assert_eq!(other.open(&sealed), Err(SealError::OtherKey));
        assert_ne!(
            key.seal(&secret).unwrap(),
            sealed,
            "equal secrets do not look equal"
        );
        for bad in [
            "sealed:",
            "sealed:%%%",
            "plain",
            &sealed[..sealed.len() - 8],
        ] {
            assert!(key.open(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        for bad in [
            "",
            "xiezhi-devices-key-1:",
            "xiezhi-devices-key-1:AAAA",
            "AAAA",
        ] {
            let told = Key::parse(&Secret::new(bad.to_owned())).err();
            assert_eq!(told, Some(SealError::Key), "{bad}");
        }
    }
}
