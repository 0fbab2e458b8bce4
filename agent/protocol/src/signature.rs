//! What an agent signs when it makes a batch of security events, and how the signature travels.
//!
//! The agent signs a short text, not the batch's bytes: a court's expert can read it, and check it
//! with `sha256sum` and `openssl` alone. It ends in a line feed, and so does each of its lines:
//!
//! ```text
//! xiezhi-batch-1
//! host 17
//! epoch 3
//! stream security
//! seq 42
//! time 1790000001000
//! sha256 0f3a…
//! ```
//!
//! The first line is the version of the text. `host` and `epoch` are what the agent knew when it made
//! the batch. The controller may count the batch in a later epoch, or know the machine as another
//! host after it enrolled anew; therefore both travel with the signature and are kept with it
//! (`docs/adr/007`). `sha256` is over the batch's content as JSON, before compression.
//!
//! Nothing here signs or verifies: keys are the agent's and the controller's business.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;

use crate::batch::Stream;

/// First line of the text: its version.
const VERSION_LINE: &str = "xiezhi-batch-1";

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Longest identifier of a host in a signature.
pub const MAX_HOST_BYTES: usize = 64;

/// A batch's signature and what it says beyond the batch itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSignature {
    /// Who the agent was when it made the batch; see [`is_host_name`].
    pub host: String,
    /// Epoch that its spool believed in then; 0 before its first session.
    pub epoch: u64,
    /// Ed25519 over [`Statement::to_text`].
    pub bytes: [u8; SIGNATURE_BYTES],
}

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    /// As [`BatchSignature::host`].
    pub host: &'a str,
    /// As [`BatchSignature::epoch`].
    pub epoch: u64,
    /// Stream of the batch.
    pub stream: Stream,
    /// Its number.
    pub seq: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: i64,
    /// SHA-256 over its content, the JSON before compression.
    pub content_sha256: [u8; 32],
}

impl Statement<'_> {
    /// The text whose UTF-8 bytes are signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{VERSION_LINE}\nhost {}\n", self.host);
        let (stream, digest) = (self.stream.name(), HEXLOWER.encode(&self.content_sha256));
        // Writing to a String cannot fail.
        let written = write!(
            text,
            "epoch {}\nstream {stream}\nseq {}\ntime {}\nsha256 {digest}\n",
            self.epoch, self.seq, self.time_ms
        );
        debug_assert!(written.is_ok());
        text
    }
}

/// Whether a text may name the host in a signature: no line break may make two lines of one.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    (1..=MAX_HOST_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_that_of_the_first_release() {
        let statement = Statement {
            host: "17",
            epoch: 3,
            stream: Stream::Security,
            seq: 42,
            time_ms: -5,
            content_sha256: [0xab; 32],
        };
        let expected = format!(
            "xiezhi-batch-1\nhost 17\nepoch 3\nstream security\nseq 42\ntime -5\nsha256 {}\n",
            "ab".repeat(32)
        );
        assert_eq!(statement.to_text(), expected);
    }

    #[test]
    fn a_name_that_could_forge_a_line_is_none() {
        for good in ["17", "0a-Z", &"9".repeat(64)] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", "1\nepoch 9", "1 2", "院", &"9".repeat(65)] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
