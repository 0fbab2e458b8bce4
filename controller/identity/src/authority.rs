//! The authority as the running controller holds it: one intermediate that issues, and all the
//! intermediates whose certificates are still about.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use rustls::ServerConfig;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::{PrivateKeyDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use xiezhi_model::HostId;
use xiezhi_protocol::CONTROLLER_NAME;

use crate::certificate::{self, Certificate, HOUR_S, Validity, date};
use crate::client::HostVerifier;
use crate::constraints;
use crate::error::IdentityError;
use crate::folder::{self, OnlineFolder};
use crate::key::AuthorityKey;
use crate::passphrase::Passphrase;
use crate::request;
use crate::server::{CertificateSlot, ServerIdentity, agent_server_config};

/// Issues certificates from the online intermediate; share it in an `Arc`.
///
/// A rotation on disk takes effect with the next [`Authority::open`].
#[derive(Debug)]
pub struct Authority {
    root: Certificate,
    intermediate: Certificate,
    issuer: Issuer<'static, AuthorityKey>,
    verifier: Arc<HostVerifier>,
    slot: Arc<CertificateSlot>,
    server: Mutex<Validity>,
}

/// A certificate that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Leaf certificate followed by the intermediate, PEM.
    pub chain_pem: String,
    /// Serial number, 32 lower-case hex digits, as [`crate::Peer`] gives it; store it.
    pub serial: String,
    /// When it begins, Unix seconds.
    pub not_before_s: i64,
    /// When it ends, Unix seconds.
    pub not_after_s: i64,
}

impl Authority {
    /// Opens the online folder and makes the controller's first certificate of this run.
    ///
    /// Takes about a tenth of a second on purpose: the passphrase is stretched. If the key is in a
    /// PKCS#11 token, the passphrase is its PIN, and the token must be there.
    ///
    /// # Errors
    /// Says what is wrong with which file or with the token, or that the intermediate's time is over.
    pub fn open(online: &Path, passphrase: &Passphrase, now_s: i64) -> Result<Self, IdentityError> {
        let folder = OnlineFolder::new(online);
        let intermediates = folder.intermediates()?;
        let present = intermediates.iter().find(|one| folder.key_of(one).exists());
        let (Some(intermediate), true) = (present, folder.root().exists()) else {
            return Err(IdentityError::NotInitialised {
                path: online.to_owned(),
            });
        };
        let root = folder::read_certificate(&folder.root())?;
        let key = folder
            .key_of(intermediate)
            .open_for(intermediate, passphrase)?;
        let verifier = HostVerifier::new(&intermediates)?;
        Self::assemble(root, intermediate.clone(), key, verifier, now_s)
    }

    /// Puts the parts together and proves them: the first controller certificate is verified as an
    /// agent would before anything is served.
    pub(crate) fn assemble(
        root: Certificate,
        intermediate: Certificate,
        key: AuthorityKey,
        verifier: Arc<HostVerifier>,
        now_s: i64,
    ) -> Result<Self, IdentityError> {
        let issuer =
            Issuer::from_ca_cert_der(&intermediate.der, key).map_err(IdentityError::Issue)?;
        let chain = Chain {
            root: &root,
            intermediate: &intermediate,
            issuer: &issuer,
        };
        let (identity, validity) = chain.controller(now_s)?;
        let slot = CertificateSlot::new(identity);
        Ok(Self {
            root,
            intermediate,
            issuer,
            verifier,
            slot,
            server: Mutex::new(validity),
        })
    }

    /// Makes a host's certificate: 30 days, from an hour ago, never beyond the intermediate's end.
    /// Of the request only the public key is used.
    ///
    /// # Errors
    /// [`IdentityError::Request`] if the request is unusable (the caller's fault); otherwise the
    /// authority cannot issue now.
    pub fn issue_host(
        &self,
        csr_pem: &str,
        host: HostId,
        now_s: i64,
    ) -> Result<IssuedCertificate, IdentityError> {
        let public_key = request::public_key(csr_pem)?;
        let public_key = SubjectPublicKeyInfo::from_der(&public_key)
            .map_err(|_| IdentityError::Request("its key is unusable"))?;
        let leaf = self
            .chain()
            .sign(certificate::host(host, now_s)?, &public_key, now_s)?;
        Ok(IssuedCertificate {
            chain_pem: leaf.to_pem() + &self.intermediate.to_pem(),
            serial: leaf.serial,
            not_before_s: leaf.not_before_s,
            not_after_s: leaf.not_after_s,
        })
    }

    /// Makes the controller a new certificate and key and shows it from the next handshake on.
    ///
    /// # Errors
    /// If the intermediate's time is over; the old certificate then stays.
    pub fn issue_server(&self, now_s: i64) -> Result<(), IdentityError> {
        let (identity, validity) = self.chain().controller(now_s)?;
        self.slot.set(identity);
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = validity;
        Ok(())
    }

    /// Whether two thirds of the controller certificate's time are over: call
    /// [`Authority::issue_server`]. Ask about once an hour.
    #[must_use]
    pub fn server_certificate_due(&self, now_s: i64) -> bool {
        let server = *self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let life_s = server.not_after_s.saturating_sub(server.not_before_s);
        now_s > server.not_before_s.saturating_add(life_s / 3 * 2)
    }

    /// Makes a certificate for the browser port from this authority, for these DNS names and
    /// addresses: 90 days. Browsers trust it once [`Authority::root_pem`] is imported there.
    ///
    /// # Errors
    /// If a name is neither, or the intermediate may not sign for it (see [`Authority::permits`]), or
    /// its time is over.
    pub fn issue_web(&self, names: &[String], now_s: i64) -> Result<ServerIdentity, IdentityError> {
        let params = certificate::server(names, now_s)?;
        if let Some(name) = names.iter().find(|name| !self.permits(name)) {
            return Err(IdentityError::NotPermitted(name.clone()));
        }
        let (identity, _) = self.chain().server(params, now_s)?;
        Ok(identity)
    }

    /// Whether the intermediate may sign for this DNS name or address: it was told at
    /// [`Authority::init_in`] or [`Authority::rotate`].
    #[must_use]
    pub fn permits(&self, name: &str) -> bool {
        constraints::permits(&self.intermediate, name)
    }

    /// TLS for the agent port; see [`crate::peer_of`] for what it lets through.
    ///
    /// # Errors
    /// Never with the built-in provider.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        self.server_config_at(Arc::new(DefaultTimeProvider))
    }

    /// [`Authority::server_config`] with another clock.
    ///
    /// # Errors
    /// Never with the built-in provider.
    pub fn server_config_at(
        &self,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Arc<ServerConfig>, IdentityError> {
        agent_server_config(Arc::clone(&self.verifier), &self.slot, clock)
    }

    /// The root's certificate, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root.to_pem()
    }

    /// SHA-256 over the DER of the root's certificate; enrolment tokens carry it.
    #[must_use]
    pub fn root_fingerprint(&self) -> [u8; 32] {
        self.root.fingerprint()
    }

    /// [`Authority::root_fingerprint`] of an online folder, without opening any key.
    ///
    /// # Errors
    /// If the folder holds no authority.
    pub fn root_fingerprint_of(online: &Path) -> Result<[u8; 32], IdentityError> {
        let folder = OnlineFolder::new(online);
        if !folder.root().exists() {
            return Err(IdentityError::NotInitialised {
                path: online.to_owned(),
            });
        }
        Ok(folder::read_certificate(&folder.root())?.fingerprint())
    }

    /// When the intermediate ends, Unix seconds. Warn a person some months before: it takes someone
    /// who can open the safe.
    #[must_use]
    pub fn intermediate_not_after_s(&self) -> i64 {
        self.intermediate.not_after_s
    }

    /// Signs whatever it is given, so that tests can show what the verifier makes of it.
    #[cfg(test)]
    pub(crate) fn sign_for_test(
        &self,
        params: CertificateParams,
        key: &KeyPair,
    ) -> rustls_pki_types::CertificateDer<'static> {
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }

    fn chain(&self) -> Chain<'_> {
        Chain {
            root: &self.root,
            intermediate: &self.intermediate,
            issuer: &self.issuer,
        }
    }
}

/// What it takes to sign a leaf.
struct Chain<'a> {
    root: &'a Certificate,
    intermediate: &'a Certificate,
    issuer: &'a Issuer<'static, AuthorityKey>,
}

impl Chain<'_> {
    fn sign(
        &self,
        mut params: CertificateParams,
        public_key: &impl PublicKeyData,
        now_s: i64,
    ) -> Result<Certificate, IdentityError> {
        // A certificate that ends within the hour would be renewed for ever and help nobody.
        if now_s.saturating_add(HOUR_S) > self.intermediate.not_after_s {
            let ended = date(self.intermediate.not_after_s);
            return Err(IdentityError::IntermediateEnded { ended });
        }
        if now_s < self.intermediate.not_before_s {
            let begins = date(self.intermediate.not_before_s);
            return Err(IdentityError::IntermediateNotBegun { begins });
        }
        certificate::keep_within(&mut params, self.intermediate)?;
        let signed = params
            .signed_by(public_key, self.issuer)
            .map_err(|error| self.issuer.key().explain(error))?;
        Certificate::from_der(signed.der().clone()).map_err(|detail| IdentityError::Certificate {
            what: "a new certificate".to_owned(),
            detail,
        })
    }

    fn controller(&self, now_s: i64) -> Result<(ServerIdentity, Validity), IdentityError> {
        let (identity, validity) = self.server(certificate::controller(now_s)?, now_s)?;
        self.verify_as_agent(&identity, now_s)?;
        Ok((identity, validity))
    }

    fn server(
        &self,
        params: CertificateParams,
        now_s: i64,
    ) -> Result<(ServerIdentity, Validity), IdentityError> {
        let key = KeyPair::generate().map_err(IdentityError::Issue)?;
        let leaf = self.sign(params, &key, now_s)?;
        let validity = Validity {
            not_before_s: leaf.not_before_s,
            not_after_s: leaf.not_after_s,
        };
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| {
            IdentityError::Tls(rustls::Error::General("the new key is unusable".to_owned()))
        })?;
        // The root goes along: a host that enrols knows only its fingerprint.
        let chain = vec![
            leaf.der,
            self.intermediate.der.clone(),
            self.root.der.clone(),
        ];
        Ok((ServerIdentity::new(chain, &private)?, validity))
    }

    /// Finds every way in which an intermediate that someone else signed would be useless to agents
    /// (name constraints, usages, path length, algorithms) before the first agent does.
    fn verify_as_agent(&self, identity: &ServerIdentity, now_s: i64) -> Result<(), IdentityError> {
        let verify = || -> Result<(), webpki::Error> {
            let anchors = [webpki::anchor_from_trusted_cert(&self.root.der)?];
            let (leaf, rest) = identity
                .chain()
                .split_first()
                .ok_or(webpki::Error::BadDer)?;
            let leaf = EndEntityCert::try_from(leaf)?;
            let now = u64::try_from(now_s).map_err(|_| webpki::Error::BadDerTime)?;
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
            let usage = KeyUsage::server_auth();
            leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                rest,
                now,
                usage,
                None,
                None,
            )?;
            let name = ServerName::try_from(CONTROLLER_NAME)
                .map_err(|_| webpki::Error::MalformedDnsIdentifier)?;
            leaf.verify_is_valid_for_subject_name(&name)
        };
        verify().map_err(|error| IdentityError::Certificate {
            what: "the chain from the root to the controller".to_owned(),
            detail: format!("agents would refuse it: {error}"),
        })
    }
}
