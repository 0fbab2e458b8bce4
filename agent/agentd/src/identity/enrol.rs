//! Enrolment: from a token to an identity.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use data_encoding::HEXLOWER;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tracing::{info, warn};
use xiezhi_protocol::ENROL_PATH;
use xiezhi_protocol::enrol::{EnrolRequest, EnrolResponse, Issued, Token};

use super::client;
use super::files::{HostRecord, IdentityFiles, write};
use super::time::TrustedTime;
use super::verifier::{Anchor, anchored, fingerprint, tls_config};

/// How often it is tried again, and the middle of the first wait; each later one is twice as long, so
/// that all waits together are 45 s at most.
const RETRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// What a person gave on the command line.
pub(crate) struct Enrolment {
    /// `https://host:port`.
    pub(crate) controller: String,
    /// Text of the token.
    pub(crate) token: String,
    /// Fingerprint of the root of signed policy, see [`fingerprint_of`]; empty means observe-only.
    pub(crate) policy_root: String,
    /// Replace an existing identity.
    pub(crate) force: bool,
}

/// Makes the host's keys, shows the token and stores the identity that comes back.
///
/// Whenever it ends early, even after the controller has recorded the host, the same command tried
/// again brings it to its end: the keys are on the disk before the controller hears of them.
///
/// # Errors
/// Each says what to do; no identity is stored unless all went well.
pub(crate) async fn enrol(request: &Enrolment, state_dir: &Path) -> Result<Issued> {
    let token = Token::from_text(&request.token)?;
    let address = client::address_of(&request.controller)?;
    let files = IdentityFiles::below(state_dir);
    files.mend()?;
    if files.is_enrolled() && !request.force {
        let record = files.record()?;
        bail!(
            "this host is already host {} of {}; --force makes a new identity, and the old one must \
             then be revoked at the controller",
            record.host,
            record.site
        );
    }
    let policy_root = request.policy_root.clone();
    files.create()?;
    let key_pem = files.enrolment_key(|| {
        let key = rcgen::KeyPair::generate().context("making the host's key")?;
        Ok(key.serialize_pem())
    })?;
    let key = rcgen::KeyPair::from_pem(&key_pem)
        .context("enrol-key.pem is damaged: remove it and enrol again")?;
    let evidence = evidence_key(&files)?;
    let mut body = EnrolRequest {
        token_id: token.id_text(),
        token_secret: HEXLOWER.encode(&token.secret),
        csr_pem: certificate_request(&key)?,
        evidence_key: HEXLOWER.encode(evidence.public_key().as_ref()),
        evidence_proof: String::new(),
        hostname: hostname(),
        machine: machine_digest(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        policy_root: policy_root.clone(),
    };
    body.evidence_proof = proof(&evidence, &body);
    let time = Arc::new(TrustedTime::open(files.path("time")));
    let issued = ask(&address, &token, &time, &body).await?;
    check(&issued, &token)?;
    let record = HostRecord {
        host: issued.host.clone(),
        site: issued.site.clone(),
        controller: address,
        policy_root,
        not_before_s: issued.not_before_s,
        not_after_s: issued.not_after_s,
    };
    time.learn(issued.time_ms)?;
    files.write_next(&key_pem, &issued.chain_pem, Some(&issued.root_pem), &record)?;
    files.adopt_next()?;
    Ok(issued)
}

/// Asks until a person has decided, if one must.
async fn ask(
    address: &str,
    token: &Token,
    time: &Arc<TrustedTime>,
    body: &EnrolRequest,
) -> Result<Issued> {
    loop {
        let answer = patiently(FIRST_WAIT, async || {
            let anchor = Anchor::Fingerprint(token.root_fingerprint);
            let tls = tls_config(anchor, Arc::clone(time), None)?;
            client::post(address, ENROL_PATH, tls, body).await
        });
        match answer.await? {
            EnrolResponse::Issued(issued) => return Ok(issued),
            EnrolResponse::Pending { retry_after_s } => {
                info!("waiting for a person to approve this host in the controller's browser page");
                tokio::time::sleep(Duration::from_secs(u64::from(retry_after_s.clamp(1, 300))))
                    .await;
            }
        }
    }
}

/// Tries again, at random and ever later, while the connection is only cut off: many hosts that enrol
/// at once find the controller busy.
async fn patiently<T>(
    first_wait: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    for retry in 0..RETRIES {
        match attempt().await {
            Err(error) if error.is::<client::CutOff>() => {
                warn!("the controller is busy or unreachable, trying again within seconds");
                let wait = first_wait * 2_u32.pow(retry);
                // Without random numbers the middle is as good as any.
                let draw = getrandom::u32().unwrap_or(u32::MAX / 2);
                tokio::time::sleep(wait.mul_f64(0.5 + f64::from(draw) / f64::from(u32::MAX))).await;
            }
            done => return done,
        }
    }
    attempt().await
}

fn check(issued: &Issued, token: &Token) -> Result<()> {
    let root = CertificateDer::from_pem_slice(issued.root_pem.as_bytes())
        .context("the controller sent no usable root certificate")?;
    if !anchored(&root, &token.root_fingerprint) {
        bail!("the controller's root is not the one that the token names: ask for a new token");
    }
    Ok(())
}

/// A request with the key's proof of possession; names in it are the controller's to choose.
pub(super) fn certificate_request(key: &rcgen::KeyPair) -> Result<String> {
    let parameters = rcgen::CertificateParams::default();
    let request = parameters
        .serialize_request(key)
        .context("making the certificate request")?;
    request.pem().context("writing the certificate request")
}

/// Shows that this host holds the key that it wants recorded.
fn proof(key: &Ed25519KeyPair, request: &EnrolRequest) -> String {
    let mut digest = [0; 32];
    let whole = ring::digest::digest(&ring::digest::SHA256, request.csr_pem.as_bytes());
    digest.copy_from_slice(whole.as_ref());
    let statement = request.evidence_statement(&digest);
    HEXLOWER.encode(key.sign(statement.as_bytes()).as_ref())
}

/// The key that signs evidence; it is made once and stays.
fn evidence_key(files: &IdentityFiles) -> Result<Ed25519KeyPair> {
    let path = files.path("evidence.key");
    if !path.exists() {
        let random = ring::rand::SystemRandom::new();
        let key = Ed25519KeyPair::generate_pkcs8(&random)
            .ok()
            .context("the operating system gives no random numbers")?;
        write(&path, key.as_ref())?;
    }
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ed25519KeyPair::from_pkcs8(&bytes)
        .ok()
        .context("evidence.key is damaged: remove it and enrol again")
}

/// Fingerprint of the root certificate or key of signed policy in `file`.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn fingerprint_of(file: &Path) -> Result<String> {
    let text = std::fs::read(file)
        .with_context(|| format!("reading the policy root {}", file.display()))?;
    let der = CertificateDer::from_pem_slice(&text).map_or(CertificateDer::from(text), |der| der);
    Ok(HEXLOWER.encode(&fingerprint(&der)))
}

/// The host's own name for itself.
pub(crate) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// SHA-256 of the machine id under a name of our own: the id itself is meant to stay on the host.
pub(crate) fn machine_digest() -> String {
    digest_of(&std::fs::read_to_string("/etc/machine-id").unwrap_or_default())
}

/// Without an id it is [`xiezhi_protocol::enrol::NO_MACHINE`].
fn digest_of(id: &str) -> String {
    // What systemd writes into an image whose machines get their id at the first boot.
    let id = Some(id.trim()).filter(|&id| id != "uninitialized");
    let text = format!("xiezhi machine {}", id.unwrap_or_default());
    HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_an_id_says_so_in_the_agreed_word() {
        use xiezhi_protocol::enrol::NO_MACHINE;
        for none in ["", "\n", "uninitialized\n"] {
            assert_eq!(digest_of(none), NO_MACHINE, "{none:?}");
        }
        assert_ne!(digest_of("0123456789abcdef0123456789abcdef\n"), NO_MACHINE);
    }

    #[tokio::test]
    async fn a_connection_that_was_cut_is_tried_again_and_a_refusal_is_not() {
        let mut tries = 0;
        let answered = patiently(Duration::ZERO, async || {
            tries += 1;
            if tries < 3 {
                return Err(client::CutOff::of("c:1").into());
            }
            Ok(tries)
        });
        assert_eq!(answered.await.unwrap(), 3);

        let mut tries = 0;
        let refused = patiently(Duration::ZERO, async || {
            tries += 1;
            Err(anyhow::anyhow!("the token is used up")) as Result<()>
        });
        assert!(refused.await.is_err());
        assert_eq!(tries, 1);

        let mut tries = 0;
        let cut = patiently(Duration::ZERO, async || {
            tries += 1;
            Err(client::CutOff::of("c:1").into()) as Result<()>
        });
        assert!(cut.await.unwrap_err().is::<client::CutOff>());
        assert_eq!(tries, RETRIES + 1);
    }
}
