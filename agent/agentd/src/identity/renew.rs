//! Renewal: a new key and a new certificate before the old one ends, or up to 180 days after.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls_pki_types::CertificateDer;
use xiezhi_protocol::RENEW_PATH;
use xiezhi_protocol::enrol::{Issued, RenewRequest};

use super::client;
use super::enrol::certificate_request;
use super::files::{HostRecord, IdentityFiles};
use super::time::TrustedTime;
use super::verifier::{Anchor, tls_config};

/// Asks for a new certificate with the present one. What comes back waits as `next-…` until a
/// session was opened with it; until then the old one stays in use.
///
/// # Errors
/// The controller refused or cannot be reached; the present identity is unchanged.
pub(crate) async fn renew(
    files: &IdentityFiles,
    record: &HostRecord,
    time: &Arc<TrustedTime>,
) -> Result<()> {
    let key = rcgen::KeyPair::generate().context("making a new key")?;
    let body = RenewRequest {
        csr_pem: certificate_request(&key)?,
    };
    let root: CertificateDer<'static> = files.root()?;
    let credentials = files.credentials("")?;
    let tls = tls_config(Anchor::Root(root), Arc::clone(time), Some(credentials))?;
    let issued: Issued = client::post(&record.controller, RENEW_PATH, tls, &body)
        .await
        .context("renewing the certificate")?;
    time.learn(issued.time_ms)?;
    let renewed = HostRecord {
        not_before_s: issued.not_before_s,
        not_after_s: issued.not_after_s,
        ..record.clone()
    };
    files.write_next(&key.serialize_pem(), &issued.chain_pem, None, &renewed)
}
