//! Whether a host's key signed a text.

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, UnparsedPublicKey};

/// DER before the 32 bytes of an Ed25519 public key, RFC 8410: a `SubjectPublicKeyInfo`.
const SPKI_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// An Ed25519 public key, as it was recorded when the host enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads 64 lower-case hex digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }

    /// The key in a PEM file, as openssl reads it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let der = [SPKI_HEAD.as_slice(), &self.0].concat();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64.encode(&der)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    #[test]
    fn a_signature_holds_for_its_key_and_its_text_only() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = PublicKey::from_hex(&HEXLOWER.encode(pair.public_key().as_ref())).unwrap();
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        let signature = pair.sign(b"text");
        assert!(key.has_signed(b"text", signature.as_ref()));
        assert!(!key.has_signed(b"texT", signature.as_ref()));
        assert!(!key.has_signed(b"text", other.sign(b"text").as_ref()));
        for damaged in [&[][..], &[0; 64], &signature.as_ref()[1..]] {
            assert!(!key.has_signed(b"text", damaged));
        }
    }

    #[test]
    fn a_key_that_is_none_is_not_read() {
        for text in ["", "00", "key-1", &"0".repeat(66), &"G".repeat(64)] {
            assert_eq!(PublicKey::from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn the_pem_file_is_that_of_rfc_8410() {
        // The example of RFC 8410, section 10.1.
        let hex = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        let pem = PublicKey::from_hex(hex).unwrap().to_pem();
        assert!(
            pem.contains("MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="),
            "{pem}"
        );
    }
}
