//! Certificates and database rows for thousands of hosts at once.
//!
//! Enrolling 20,000 hosts over the network would measure enrolment, which is paced on purpose. This
//! does what enrolment does, with the controller's own libraries, before the controller starts.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use xiezhi_identity::{Authority, Passphrase, tokens};
use xiezhi_model::{Actor, AuditEntry, CertificateRecord, EnrolmentToken};
use xiezhi_protocol::ALPN;
use xiezhi_store::{NewHost, Store};

use super::province::now_ms;

/// What one simulated host needs to open a session.
#[derive(Clone)]
pub struct Credentials {
    /// Its number at the controller.
    pub host: i64,
    /// Its own name for itself.
    pub hostname: String,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    root: CertificateDer<'static>,
}

impl Credentials {
    /// TLS 1.3 with this host's certificate, believing the controller's root only.
    ///
    /// # Errors
    /// The certificate is unusable.
    pub fn tls(&self) -> Result<Arc<rustls::ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone())?;
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// Adds `count` simulated hosts, spread over all sites in turn, to the controller whose data folder
/// this is; it must not be running.
///
/// # Errors
/// The data folder is not one that `xiezhi-controller init` made, or has no sites.
pub async fn prepare(data_dir: &Path, passphrase: &str, count: usize) -> Result<Vec<Credentials>> {
    let now = now_ms();
    let passphrase = Passphrase::new(passphrase)?;
    let authority = Authority::open(&data_dir.join("authority"), &passphrase, now / 1000)?;
    let store = Store::open(&format!("sqlite://{}", data_dir.join("state.db").display())).await?;
    let sites = store.sites().await?;
    // One key for all: a certificate is what tells hosts apart, and only the controller is measured.
    let key = rcgen::KeyPair::generate()?;
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&key)?
        .pem()?;
    let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let private = Arc::new(private);
    let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes())?;
    let mut all = Vec::with_capacity(count);
    let mut site_tokens = Vec::new();
    for site in &sites {
        let (token, hash) = tokens::generate(authority.root_fingerprint())?;
        let uses = u32::try_from(count)?;
        let record = EnrolmentToken {
            id: token.id_text(),
            secret_hash: hash.to_string(),
            site: site.id,
            uses,
            uses_left: uses,
            expires_ms: now + 86_400_000,
            needs_approval: false,
            simulated: true,
            created_ms: now,
            created_by: "system".to_owned(),
            revoked_ms: None,
        };
        store
            .create_token(&record, audit("token.create", &record.id))
            .await?;
        site_tokens.push((site, record.id));
    }
    for index in 0..count {
        let (site, token) = site_tokens
            .get(index % site_tokens.len().max(1))
            .context("there are no sites")?;
        let id = store.reserve_host_id().await?;
        let issued = authority.issue_host(&csr, id, now / 1000)?;
        let hostname = format!("{}-host-{:02}", site.key, index / site_tokens.len() + 1);
        let host = NewHost {
            id,
            token: token.clone(),
            hostname: hostname.clone(),
            machine: format!("simulated-{}", id.0),
            evidence_key: format!("{:064x}", id.0),
            policy_root: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate: CertificateRecord {
                serial: issued.serial,
                host: id,
                not_before_s: issued.not_before_s,
                not_after_s: issued.not_after_s,
                issued_ms: now,
                revoked_ms: None,
                chain_pem: issued.chain_pem.clone(),
            },
        };
        store
            .enrol(&host, now, audit("host.enrolled", &format!("host:{id}")))
            .await?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
            .collect::<Result<_, _>>()?;
        let (key, root) = (Arc::clone(&private), root.clone());
        all.push(Credentials {
            host: id.0,
            hostname,
            chain,
            key,
            root,
        });
    }
    store.close().await;
    Ok(all)
}

fn audit(action: &str, subject: &str) -> AuditEntry {
    AuditEntry::new(now_ms(), Actor::System, action, subject)
}
