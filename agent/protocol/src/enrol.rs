//! Bodies of enrolment and renewal, and the text of an enrolment token.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};

/// Prefix of every enrolment token, so that a pasted secret is recognised for what it is.
pub const TOKEN_PREFIX: &str = "xz1-";

/// What hosts without a machine-id tell as its digest: agents of every release digest an empty id so.
/// It names no machine, and two hosts that tell it need not be one.
pub const NO_MACHINE: &str = "18ea2bb45db42a26cdbe5002bca969b9305ad50a529ddbdc531f40eeea04dc6a";

/// What an enrolment token carries. The controller stores only a digest of the secret; the agent
/// needs the fingerprint to know the controller before it trusts anything that it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Which token; not secret.
    pub id: [u8; 8],
    /// What proves it.
    pub secret: [u8; 16],
    /// SHA-256 over the DER of the controller's root certificate.
    pub root_fingerprint: [u8; 32],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Token({})", self.id_text())
    }
}

/// Why a token's text was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours.
    #[error("this is not an enrolment token: one begins with {TOKEN_PREFIX}")]
    Prefix,
    /// Cut short, run on or mistyped.
    #[error("the enrolment token is incomplete or mistyped: copy it again, whole")]
    Damaged,
}

impl Token {
    /// The token's text: prefix, then lower-case base32 of id, secret, fingerprint and a checksum.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::with_capacity(60);
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.root_fingerprint);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        format!(
            "{TOKEN_PREFIX}{}",
            BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
        )
    }

    /// Reads [`Token::to_text`]; spaces and line breaks around it are ignored.
    ///
    /// # Errors
    /// Says whether it is no token at all or a damaged one.
    pub fn from_text(text: &str) -> Result<Self, TokenError> {
        let text = text
            .trim()
            .strip_prefix(TOKEN_PREFIX)
            .ok_or(TokenError::Prefix)?;
        let bytes = BASE32_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .map_err(|_| TokenError::Damaged)?;
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Damaged)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(TokenError::Damaged);
        }
        let (id, rest) = content
            .split_first_chunk::<8>()
            .ok_or(TokenError::Damaged)?;
        let (secret, rest) = rest.split_first_chunk::<16>().ok_or(TokenError::Damaged)?;
        let root_fingerprint = rest.try_into().map_err(|_| TokenError::Damaged)?;
        Ok(Self {
            id: *id,
            secret: *secret,
            root_fingerprint,
        })
    }

    /// The token's identifier as lists and logs show it.
    #[must_use]
    pub fn id_text(&self) -> String {
        HEXLOWER.encode(&self.id)
    }
}

/// Body of a request to enrol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// Hex of [`Token::id`].
    pub token_id: String,
    /// Hex of [`Token::secret`].
    pub token_secret: String,
    /// Certificate request, PEM; only its public key is used.
    pub csr_pem: String,
    /// Public key with which the agent signs evidence, Ed25519, hex.
    pub evidence_key: String,
    /// Signature of that key over [`EnrolRequest::evidence_statement`], hex: who asks holds it. Empty
    /// from an agent of the first release, which knew no proof.
    #[serde(default)]
    pub evidence_proof: String,
    /// The host's own name.
    pub hostname: String,
    /// Digest of `/etc/machine-id`; [`NO_MACHINE`] of a host that has none.
    pub machine: String,
    /// Agent's version.
    pub version: String,
    /// Fingerprint of the policy root that was installed on the host; empty means observe-only.
    #[serde(default)]
    pub policy_root: String,
}

impl EnrolRequest {
    /// The text that the evidence key signs. It names the token and, by its digest, the certificate
    /// request with the host's own fresh key, so that a proof that was overheard serves nobody else.
    ///
    /// `request_sha256` is over the bytes of [`EnrolRequest::csr_pem`].
    #[must_use]
    pub fn evidence_statement(&self, request_sha256: &[u8; 32]) -> String {
        format!(
            "xiezhi-enrol-1\ntoken {}\nkey {}\nrequest-sha256 {}\n",
            self.token_id,
            self.evidence_key,
            HEXLOWER.encode(request_sha256)
        )
    }
}

/// Answer to a request to enrol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum EnrolResponse {
    /// The host is known from now on.
    Issued(Issued),
    /// A person must approve first; ask again with the same body.
    Pending {
        /// Seconds to wait before asking again.
        retry_after_s: u32,
    },
}

/// A certificate and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Identifier that the controller gave this host.
    pub host: String,
    /// Name of the site, for the person who enrols.
    pub site: String,
    /// Leaf certificate followed by the intermediate, PEM.
    pub chain_pem: String,
    /// Root certificate, PEM; its digest must be the one that the token carries.
    pub root_pem: String,
    /// Controller's clock, Unix milliseconds.
    pub time_ms: i64,
    /// When the leaf certificate begins and ends, Unix seconds.
    pub not_before_s: i64,
    /// When the leaf certificate ends, Unix seconds.
    pub not_after_s: i64,
}

/// Body of a request to renew; the caller is known by its present certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// Certificate request, PEM; a new key is made for every renewal.
    pub csr_pem: String,
}

/// Every refusal on the agent's paths, whatever its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Short word that a program can act on: `token_unknown`, `token_used_up`, `token_expired`,
    /// `rate_limited`, `host_exists`, `revoked`, `certificate_expired`, `malformed`, …
    pub code: String,
    /// One sentence for a person that says what to do.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            id: [1; 8],
            secret: [2; 16],
            root_fingerprint: [3; 32],
        }
    }

    #[test]
    fn a_token_survives_its_text_and_never_shows_its_secret() {
        let text = token().to_text();
        assert_eq!(Token::from_text(&format!("  {text}\n")), Ok(token()));
        assert!(!format!("{:?}", token()).contains("02"));
    }

    #[test]
    fn what_the_evidence_key_signs_is_this_text_for_ever() {
        let body = r#"{"token_id":"0101","token_secret":"02","csr_pem":"C","evidence_key":"ab",
            "hostname":"h","machine":"m","version":"0.1.0"}"#;
        let request: EnrolRequest = serde_json::from_str(body).unwrap();
        assert_eq!(request.evidence_proof, "", "the first release sent none");
        assert_eq!(
            request.evidence_statement(&[0xcd; 32]),
            format!(
                "xiezhi-enrol-1\ntoken 0101\nkey ab\nrequest-sha256 {}\n",
                "cd".repeat(32)
            )
        );
    }

    #[test]
    fn any_single_mistyped_character_is_noticed() {
        let text = token().to_text();
        assert_eq!(Token::from_text("abc"), Err(TokenError::Prefix));
        for position in TOKEN_PREFIX.len()..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(
                Token::from_text(&changed),
                Err(TokenError::Damaged),
                "{position}"
            );
            assert_eq!(
                Token::from_text(&text[..position]),
                Err(TokenError::Damaged)
            );
        }
    }
}
