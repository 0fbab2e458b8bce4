//! Seals small secrets that the database keeps, such as those of second factors, so that a copy of the
//! database alone gives none of them away.
//!
//! The key is a file of its own in the data folder. Without it the secrets are lost, and second factors
//! have to be set up again; it belongs into the backup, apart from the database's.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::tokens::random;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Why a secret could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretBoxError {
    /// The key's file.
    #[error(
        "the key of stored secrets, {path}, cannot be used: it must be a file of the controller's user"
    )]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no key.
    #[error("{0} is not a key of stored secrets: restore it from the backup")]
    NotAKey(PathBuf),
    /// The secret was sealed by another key, for something else, or was changed.
    #[error(
        "a stored secret cannot be opened: was secrets.key lost or exchanged? Restore it, or reset \
         the second factor"
    )]
    Foreign,
    /// No randomness.
    #[error("the operating system gives no random numbers")]
    Random,
}

/// Seals and opens.
pub struct SecretBox(LessSafeKey);

/// Never shows the key.
impl std::fmt::Debug for SecretBox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretBox(…)")
    }
}

impl SecretBox {
    /// The one whose key is in this file, which is made if it is not there; readable for its owner only.
    ///
    /// # Errors
    /// If it cannot be read or made, or is no key.
    pub fn open(path: &Path) -> Result<Self, SecretBoxError> {
        let file = |source| SecretBoxError::File {
            path: path.to_owned(),
            source,
        };
        let mut key = Zeroizing::new(Vec::new());
        match OpenOptions::new().read(true).open(path) {
            Ok(found) => {
                found
                    .take(KEY_BYTES as u64 + 1)
                    .read_to_end(&mut key)
                    .map_err(file)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made: [u8; KEY_BYTES] = random().map_err(|_| SecretBoxError::Random)?;
                key.extend_from_slice(&made);
                write_new(path, &key).map_err(file)?;
            }
            Err(error) => return Err(file(error)),
        }
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key);
        let key = key.map_err(|_| SecretBoxError::NotAKey(path.to_owned()))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals a secret for one thing, named by `purpose`: it opens for nothing else.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<String, SecretBoxError> {
        let nonce: [u8; NONCE_BYTES] = random().map_err(|_| SecretBoxError::Random)?;
        let mut sealed = secret.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed,
            )
            .map_err(|_| SecretBoxError::Random)?;
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        Ok(BASE64.encode(&out))
    }

    /// Opens what [`SecretBox::seal`] sealed for the same purpose.
    ///
    /// # Errors
    /// [`SecretBoxError::Foreign`] if it is anything else.
    pub fn unseal(
        &self,
        purpose: &str,
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, SecretBoxError> {
        let bytes = BASE64
            .decode(sealed.as_bytes())
            .map_err(|_| SecretBoxError::Foreign)?;
        let (nonce, content) = bytes
            .split_at_checked(NONCE_BYTES)
            .ok_or(SecretBoxError::Foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretBoxError::Foreign)?;
        let mut content = Zeroizing::new(content.to_vec());
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(purpose), &mut content);
        let opened = opened.map_err(|_| SecretBoxError::Foreign)?;
        Ok(Zeroizing::new(opened.to_vec()))
    }
}

/// On the disk before anything is sealed with it.
fn write_new(path: &Path, key: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key)?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_for_the_same_purpose() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let sealed = SecretBox::open(&path)
            .unwrap()
            .seal("user:1", b"hello")
            .unwrap();
        let again = SecretBox::open(&path).unwrap();
        assert_eq!(
            again.unseal("user:1", &sealed).unwrap().as_slice(),
            b"hello"
        );
        assert!(again.unseal("user:2", &sealed).is_err());
        let other = SecretBox::open(&folder.path().join("other.key")).unwrap();
        assert!(matches!(
            other.unseal("user:1", &sealed),
            Err(SecretBoxError::Foreign)
        ));
        for damaged in ["", "AAAA", "not base64!", &sealed[..sealed.len() - 4]] {
            assert!(again.unseal("user:1", damaged).is_err(), "{damaged}");
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_key_is_named_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        std::fs::write(&path, "short").unwrap();
        let error = SecretBox::open(&path).unwrap_err();
        assert!(matches!(error, SecretBoxError::NotAKey(_)), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short");
    }
}
