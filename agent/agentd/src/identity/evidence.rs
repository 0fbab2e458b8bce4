//! Signing batches of security events with the host's evidence key.
//!
//! Whoever gets hold of the controller, or only of its database, can then not invent or change what a
//! host reported. The key is made at enrolment, its public half is recorded there, and it stays.

use anyhow::{Context as _, Result};
use ring::digest::{SHA256, digest};
use ring::signature::Ed25519KeyPair;
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::signature::{BatchSignature, Statement, is_host_name};

use super::files::IdentityFiles;

/// The key, and whose it is.
pub(crate) struct EvidenceSigner {
    key: Ed25519KeyPair,
    host: String,
}

/// Which batch is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Epoch that the spool believes in.
    pub(crate) epoch: u64,
    /// Stream of the batch.
    pub(crate) stream: Stream,
    /// Its number.
    pub(crate) seq: u64,
    /// Its time, Unix milliseconds.
    pub(crate) time_ms: i64,
}

impl EvidenceSigner {
    /// Reads the key of this host.
    ///
    /// # Errors
    /// Says what to do. An agent without it reports all the same, unsigned.
    pub(crate) fn load(files: &IdentityFiles, host: &str) -> Result<Self> {
        let path = files.path("evidence.key");
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let key = Ed25519KeyPair::from_pkcs8(&bytes)
            .ok()
            .context("evidence.key is damaged: remove it and enrol again with --force")?;
        anyhow::ensure!(is_host_name(host), "host.json names no host: enrol again");
        let host = host.to_owned();
        Ok(Self { key, host })
    }

    /// Signs a batch's content.
    pub(crate) fn sign(&self, place: Place, content: &[u8]) -> BatchSignature {
        let mut content_sha256 = [0; 32];
        content_sha256.copy_from_slice(digest(&SHA256, content).as_ref());
        let Place {
            epoch,
            stream,
            seq,
            time_ms,
        } = place;
        let statement = Statement {
            host: &self.host,
            epoch,
            stream,
            seq,
            time_ms,
            content_sha256,
        };
        let signature = self.key.sign(statement.to_text().as_bytes());
        let mut bytes = [0; xiezhi_protocol::signature::SIGNATURE_BYTES];
        bytes.copy_from_slice(signature.as_ref());
        BatchSignature {
            host: self.host.clone(),
            epoch,
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, KeyPair as _, UnparsedPublicKey};
    use xiezhi_protocol::batch::{encode_signed_events, read_events};

    use super::*;

    #[test]
    fn a_batch_is_signed_with_the_key_of_the_identity_folder() {
        let folder = tempfile::tempdir().unwrap();
        let files = IdentityFiles::below(folder.path());
        files.create().unwrap();
        assert!(EvidenceSigner::load(&files, "17").is_err(), "no key yet");
        let random = ring::rand::SystemRandom::new();
        let key = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        std::fs::write(files.path("evidence.key"), key.as_ref()).unwrap();
        assert!(EvidenceSigner::load(&files, "1\n7").is_err(), "no name");
        let signer = EvidenceSigner::load(&files, "17").unwrap();
        let place = Place {
            epoch: 3,
            stream: Stream::Security,
            seq: 5,
            time_ms: 9,
        };
        let mut bytes = Vec::new();
        let sign = |content: &[u8]| Some(signer.sign(place, content));
        encode_signed_events(5, 9, &[], &mut bytes, sign).unwrap();
        let signature = read_events(&bytes).unwrap().signature.unwrap();
        assert_eq!((signature.host.as_str(), signature.epoch), ("17", 3));
        let digest = data_encoding::HEXLOWER.encode(digest(&SHA256, b"[]").as_ref());
        let text = format!(
            "xiezhi-batch-1\nhost 17\nepoch 3\nstream security\nseq 5\ntime 9\nsha256 {digest}\n"
        );
        UnparsedPublicKey::new(&ED25519, signer.key.public_key())
            .verify(text.as_bytes(), &signature.bytes)
            .unwrap();
    }
}
