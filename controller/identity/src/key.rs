//! The private key of an authority, wherever it lies: in this process, opened from a sealed file, or
//! in a PKCS#11 token.

use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};

use crate::error::IdentityError;
use crate::pkcs11::{Pkcs11Address, TokenKey};

/// Where a new online key is made and kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeyPlace {
    /// In a file, sealed by the passphrase.
    #[default]
    SealedFile,
    /// In a PKCS#11 token, whose PIN stands in the passphrase's place. An address with `object` or
    /// `id` names a key pair that is there already; otherwise a new one is made.
    Token(Pkcs11Address),
}

/// A key that signs certificates.
#[derive(Debug)]
pub(crate) enum AuthorityKey {
    /// From a sealed file.
    File(KeyPair),
    /// In a token.
    Token(TokenKey),
}

impl AuthorityKey {
    /// rcgen's error, or what is behind it if the token is to blame.
    pub(crate) fn explain(&self, error: rcgen::Error) -> IdentityError {
        match (self, error) {
            (Self::Token(key), rcgen::Error::RemoteKeyError) => key.last_failure().into(),
            (_, error) => IdentityError::Issue(error),
        }
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::File(key) => key.der_bytes(),
            Self::Token(key) => key.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::File(key) => PublicKeyData::algorithm(key),
            Self::Token(key) => key.algorithm(),
        }
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::File(key) => key.sign(message),
            Self::Token(key) => key.sign(message),
        }
    }
}
