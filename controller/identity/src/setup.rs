//! Making the authority, by a person at the controller's machine: a root of our own (`init`,
//! `rotate`), or one that is held elsewhere (`request`, `import`).
//!
//! Nothing here is needed while the controller runs; the offline folder should not even be there.

use std::path::Path;

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::Authority;
use crate::certificate::{self, Certificate, date};
use crate::client::HostVerifier;
use crate::constraints;
use crate::error::IdentityError;
use crate::folder::{self, OfflineFolder, OnlineFolder, StoredKey};
use crate::key::{AuthorityKey, KeyPlace};
use crate::passphrase::Passphrase;

/// What a person should write down after the authority changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 over the root certificate's DER, hex: compare it wherever a token is used.
    pub root_fingerprint: String,
    /// When the root ends, Unix seconds.
    pub root_not_after_s: i64,
    /// When the new intermediate ends, Unix seconds: rotate before.
    pub intermediate_not_after_s: i64,
    /// Address of the online key, if it is in a PKCS#11 token.
    pub token: Option<String>,
    /// Addresses of earlier online keys that are still in a token: a person removes them there.
    pub left_in_tokens: Vec<String>,
}

/// The passphrases of the two folders; they should differ, and so should those who know them.
#[derive(Debug, Clone)]
pub struct Passphrases {
    /// Seals the intermediate's key, or is the PIN of the token that holds it; needed at every start.
    pub online: Passphrase,
    /// Seals the root's key, needed once in two years.
    pub offline: Passphrase,
}

impl Authority {
    /// Whether the online folder holds an authority. Its root is written last.
    #[must_use]
    pub fn is_there(online: &Path) -> bool {
        OnlineFolder::new(online).root().exists()
    }

    /// Makes a root in the offline folder and a first intermediate in the online folder. Afterwards the
    /// offline folder belongs into a safe.
    ///
    /// # Errors
    /// If either folder already holds an authority, or cannot be written.
    pub fn init(
        online: &Path,
        offline: &Path,
        passphrases: &Passphrases,
        now_s: i64,
    ) -> Result<Summary, IdentityError> {
        let place = KeyPlace::SealedFile;
        Self::init_in(online, offline, passphrases, &place, &[], now_s)
    }

    /// [`Authority::init`] with the intermediate's key in a place of one's choice, and with the DNS
    /// names and addresses for which [`Authority::issue_web`] may make certificates; what lies below a
    /// DNS name belongs to it.
    ///
    /// # Errors
    /// As there, or if the token cannot make the key, or a name is neither.
    pub fn init_in(
        online: &Path,
        offline: &Path,
        passphrases: &Passphrases,
        place: &KeyPlace,
        names: &[String],
        now_s: i64,
    ) -> Result<Summary, IdentityError> {
        let (online, offline) = (OnlineFolder::new(online), OfflineFolder::new(offline));
        if offline.root().exists() || offline.key().exists() {
            return Err(IdentityError::AlreadyInitialised {
                path: offline.path().to_owned(),
            });
        }
        refuse_initialised(&online)?;
        offline.create()?;
        online.create()?;
        if is_same(offline.path(), online.path())? {
            return Err(IdentityError::SameFolder);
        }
        let key = KeyPair::generate().map_err(IdentityError::Issue)?;
        let params = certificate::root(now_s)?;
        let root = params.self_signed(&key).map_err(IdentityError::Issue)?;
        let root = parse_new(root.der().clone())?;
        folder::write_private(
            &offline.key(),
            &folder::seal_key(&key, &passphrases.offline)?,
        )?;
        folder::write_public(&offline.root(), root.to_pem().as_bytes())?;
        let new = NewKey {
            place,
            secret: &passphrases.online,
            names,
        };
        let summary = sign_intermediate(&online, &root, key, &new, now_s)?;
        folder::write_public(&online.root(), root.to_pem().as_bytes())?;
        Ok(summary)
    }

    /// Makes a new intermediate with the offline root. Certificates of the old one stay valid until
    /// they end; restart the controller to issue from the new one. The new key may lie in another
    /// place than the old one, and its names may be others.
    ///
    /// # Errors
    /// If the offline folder holds another root, or a passphrase is wrong.
    pub fn rotate(
        online: &Path,
        offline: &Path,
        passphrases: &Passphrases,
        place: &KeyPlace,
        names: &[String],
        now_s: i64,
    ) -> Result<Summary, IdentityError> {
        let online = OnlineFolder::new(online);
        let (root, key) = open_root(&online, offline, &passphrases.offline)?;
        let new = NewKey {
            place,
            secret: &passphrases.online,
            names,
        };
        sign_intermediate(&online, &root, key, &new, now_s)
    }

    /// That whoever asks holds the offline root of this authority and its passphrase, which nobody has who
    /// only has the controller's machine. Nothing is signed.
    ///
    /// # Errors
    /// If the offline folder holds another root, or the passphrase is wrong.
    pub fn prove_root(
        online: &Path,
        offline: &Path,
        passphrase: &Passphrase,
    ) -> Result<(), IdentityError> {
        open_root(&OnlineFolder::new(online), offline, passphrase).map(drop)
    }

    /// Makes a key for an intermediate that a root held elsewhere is to sign, and returns the request,
    /// PEM; it also lies in the folder as `pending.csr.pem`. Asked again before [`Authority::import`], it makes a
    /// request for the same key.
    ///
    /// # Errors
    /// If the folder cannot be written, or a pending key does not open.
    pub fn request(
        online: &Path,
        passphrase: &Passphrase,
        place: &KeyPlace,
        now_s: i64,
    ) -> Result<String, IdentityError> {
        let online = OnlineFolder::new(online);
        online.create()?;
        let pending = online.pending_key();
        let key = if pending.exists() {
            pending.open(passphrase)?
        } else {
            pending.create(place, passphrase)?
        };
        let mut params = certificate::intermediate(now_s)?;
        params.use_authority_key_identifier_extension = false;
        params.serial_number = None;
        let request = params
            .serialize_request(&key)
            .map_err(|error| key.explain(error))?;
        let pem = certificate::to_pem("CERTIFICATE REQUEST", request.der());
        folder::write_public(&online.pending_request(), pem.as_bytes())?;
        Ok(pem)
    }

    /// Takes the certificate that was signed for [`Authority::request`]. The first time the root's certificate must
    /// come along; later it may, and must then be the same.
    ///
    /// # Errors
    /// [`IdentityError::Import`] says which check failed; nothing is changed then.
    pub fn import(
        online: &Path,
        passphrase: &Passphrase,
        certificate_pem: &str,
        root_pem: Option<&str>,
        now_s: i64,
    ) -> Result<Summary, IdentityError> {
        let online = OnlineFolder::new(online);
        if !online.pending_key().exists() {
            return Err(refused(
                "no request is waiting for it: run `ca request` first",
            ));
        }
        let intermediate = Certificate::from_pem(certificate_pem)
            .map_err(|detail| refused(format!("it is not a PEM certificate: {detail}")))?;
        let root = root_for_import(&online, root_pem)?;
        let pending = online.pending_key();
        let key = pending.open(passphrase)?;
        check_intermediate(&intermediate, &root, &key, now_s)?;
        let verifier = HostVerifier::new(std::slice::from_ref(&intermediate))?;
        Self::assemble(root.clone(), intermediate.clone(), key, verifier, now_s)
            .map_err(|error| refused(error.to_string()))?;
        let stored = pending.read()?;
        let left = online.install(&intermediate, &stored)?;
        folder::write_public(&online.root(), root.to_pem().as_bytes())?;
        pending.remove()?;
        folder::remove(&online.pending_request())?;
        Ok(summary(&root, &intermediate, &stored, left))
    }
}

/// The root in the offline folder with its key, if it is the one that hosts trust.
fn open_root(
    online: &OnlineFolder,
    offline: &Path,
    passphrase: &Passphrase,
) -> Result<(Certificate, KeyPair), IdentityError> {
    let offline = OfflineFolder::new(offline);
    if !online.root().exists() {
        return Err(IdentityError::NotInitialised {
            path: online.path().to_owned(),
        });
    }
    let known = folder::read_certificate(&online.root())?;
    let root = folder::read_certificate(&offline.root())?;
    if root.der != known.der {
        let (found, expected) = (root.fingerprint_text(), known.fingerprint_text());
        return Err(IdentityError::OtherRoot { found, expected });
    }
    let key = folder::open_key_of(&root, &offline.key(), passphrase)?;
    Ok((root, key))
}

fn refuse_initialised(online: &OnlineFolder) -> Result<(), IdentityError> {
    if online.root().exists() || !online.intermediates()?.is_empty() {
        return Err(IdentityError::AlreadyInitialised {
            path: online.path().to_owned(),
        });
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> Result<bool, IdentityError> {
    let resolve = |path: &Path| {
        path.canonicalize().map_err(|source| IdentityError::Read {
            path: path.to_owned(),
            source,
        })
    };
    Ok(resolve(one)? == resolve(other)?)
}

/// A key that is to be made.
struct NewKey<'a> {
    place: &'a KeyPlace,
    /// Passphrase or PIN.
    secret: &'a Passphrase,
    /// What it may sign for browsers.
    names: &'a [String],
}

fn sign_intermediate(
    online: &OnlineFolder,
    root: &Certificate,
    root_key: KeyPair,
    new: &NewKey<'_>,
    now_s: i64,
) -> Result<Summary, IdentityError> {
    let issuer = Issuer::from_ca_cert_der(&root.der, root_key).map_err(IdentityError::Issue)?;
    let mut params = certificate::intermediate(now_s)?;
    constraints::limit(&mut params, new.names)?;
    certificate::keep_within(&mut params, root)?;
    let (key, stored) = folder::new_key(new.place, new.secret)?;
    let signed = params
        .signed_by(&key, &issuer)
        .map_err(IdentityError::Issue)?;
    let intermediate = parse_new(signed.der().clone())?;
    let left = online.install(&intermediate, &stored)?;
    Ok(summary(root, &intermediate, &stored, left))
}

fn parse_new(der: CertificateDer<'static>) -> Result<Certificate, IdentityError> {
    Certificate::from_der(der).map_err(|detail| IdentityError::Certificate {
        what: "a new certificate".to_owned(),
        detail,
    })
}

fn summary(
    root: &Certificate,
    intermediate: &Certificate,
    stored: &StoredKey,
    left_in_tokens: Vec<String>,
) -> Summary {
    Summary {
        root_fingerprint: root.fingerprint_text(),
        root_not_after_s: root.not_after_s,
        intermediate_not_after_s: intermediate.not_after_s,
        token: stored.address().map(ToString::to_string),
        left_in_tokens,
    }
}

fn refused(reason: impl Into<String>) -> IdentityError {
    IdentityError::Import(reason.into())
}

/// The root that hosts know already, or the one given with the first import.
fn root_for_import(
    online: &OnlineFolder,
    root_pem: Option<&str>,
) -> Result<Certificate, IdentityError> {
    let given = root_pem
        .map(Certificate::from_pem)
        .transpose()
        .map_err(|detail| refused(format!("the root is not a PEM certificate: {detail}")))?;
    if !online.root().exists() {
        return given.ok_or_else(|| refused("give the root's certificate too, the first time"));
    }
    let known = folder::read_certificate(&online.root())?;
    match given {
        Some(given) if given.der != known.der => Err(IdentityError::OtherRoot {
            found: given.fingerprint_text(),
            expected: known.fingerprint_text(),
        }),
        _ => Ok(known),
    }
}

fn check_intermediate(
    intermediate: &Certificate,
    root: &Certificate,
    key: &AuthorityKey,
    now_s: i64,
) -> Result<(), IdentityError> {
    if !intermediate.has_key(key) {
        return Err(refused(
            "it was not made for the key of the waiting request",
        ));
    }
    let unreadable = |_| refused("it cannot be parsed");
    let (_, parsed) = X509Certificate::from_der(&intermediate.der).map_err(unreadable)?;
    let (_, parsed_root) =
        X509Certificate::from_der(&root.der).map_err(|_| refused("the root cannot be parsed"))?;
    check_root(&parsed_root, root, now_s)?;
    if !parsed.is_ca() {
        return Err(refused(
            "it is not a certificate authority (basicConstraints CA:TRUE)",
        ));
    }
    let may_sign = parsed
        .key_usage()
        .map_err(|_| refused("its key usage is unreadable"))?;
    if may_sign.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(refused(
            "it may not sign certificates (keyUsage keyCertSign)",
        ));
    }
    if parsed.issuer() != parsed_root.subject() {
        return Err(refused("its issuer is not the root"));
    }
    if parsed
        .verify_signature(Some(parsed_root.public_key()))
        .is_err()
    {
        return Err(refused("the root did not sign it"));
    }
    if now_s > intermediate.not_after_s {
        return Err(refused(format!(
            "it ended on {}",
            date(intermediate.not_after_s)
        )));
    }
    if now_s < intermediate.not_before_s {
        return Err(refused(format!(
            "it begins on {}",
            date(intermediate.not_before_s)
        )));
    }
    Ok(())
}

fn check_root(
    parsed: &X509Certificate<'_>,
    root: &Certificate,
    now_s: i64,
) -> Result<(), IdentityError> {
    if !parsed.is_ca() {
        return Err(refused("the root is not a certificate authority"));
    }
    if parsed.issuer() != parsed.subject() || parsed.verify_signature(None).is_err() {
        return Err(refused(
            "the root is not self-signed: give the end of the chain",
        ));
    }
    if now_s > root.not_after_s {
        return Err(refused(format!(
            "the root ended on {}",
            date(root.not_after_s)
        )));
    }
    Ok(())
}
