//! A certificate request from a host: only its public key is used, and only if the sender proves to
//! hold the private one.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256,
};
use x509_parser::prelude::FromDer;

use crate::error::IdentityError;

/// An agent's request has about 300 bytes of PEM; this leaves room for other tools'.
const MAX_PEM_BYTES: usize = 8 * 1024;

/// Reads a PEM request, checks its own signature, and returns its public key as an SPKI structure.
/// Names, extensions and attributes that it asks for are ignored: the controller alone decides them.
pub(crate) fn public_key(csr_pem: &str) -> Result<Vec<u8>, IdentityError> {
    if csr_pem.len() > MAX_PEM_BYTES {
        return Err(IdentityError::Request("it is longer than 8 KiB"));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|_| IdentityError::Request("it is not a PEM certificate request"))?;
    let (rest, request) = X509CertificationRequest::from_der(&der)
        .map_err(|_| IdentityError::Request("it is not a certificate request"))?;
    if !rest.is_empty() {
        return Err(IdentityError::Request("something follows it"));
    }
    let key = &request.certification_request_info.subject_pki;
    let curve = key
        .algorithm
        .parameters
        .as_ref()
        .and_then(|curve| curve.as_oid().ok());
    let is_p256 = key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
        && curve.is_some_and(|curve| curve == OID_EC_P256)
        && request.signature_algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256;
    if !is_p256 {
        return Err(IdentityError::Request(
            "its key is not ECDSA P-256 with SHA-256",
        ));
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.subject_public_key.data)
        .verify(
            request.certification_request_info.raw,
            &request.signature_value.data,
        )
        .map_err(|_| {
            IdentityError::Request("its signature does not prove possession of the key")
        })?;
    Ok(key.raw.to_vec())
}
