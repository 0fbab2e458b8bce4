//! Certificate requests from callers who may be anyone.

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;

use super::csr;
use crate::IdentityError;
use crate::certificate::to_pem;
use crate::request::public_key;

fn refusal(pem: &str) -> &'static str {
    match public_key(pem) {
        Err(IdentityError::Request(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn der(pem: &str) -> Vec<u8> {
    CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

#[test]
fn a_key_that_the_sender_does_not_hold_is_refused() {
    let (mine, victims) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut request = der(&csr(&mine));
    let at = request
        .windows(mine.public_key_raw().len())
        .position(|bytes| bytes == mine.public_key_raw())
        .unwrap();
    request[at..at + victims.public_key_raw().len()].copy_from_slice(victims.public_key_raw());
    let refused = refusal(&to_pem("CERTIFICATE REQUEST", &request));
    assert_eq!(
        refused,
        "its signature does not prove possession of the key"
    );
}

#[test]
fn only_p256_keys_are_taken() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        assert_eq!(
            refusal(&csr(&key)),
            "its key is not ECDSA P-256 with SHA-256"
        );
    }
    let rsa = include_str!("../../tests/kept/rsa-2048.csr.pem");
    assert_eq!(refusal(rsa), "its key is not ECDSA P-256 with SHA-256");
}

#[test]
fn what_is_no_request_is_called_so() {
    assert_eq!(refusal(""), "it is not a PEM certificate request");
    assert_eq!(refusal(&"x".repeat(9000)), "it is longer than 8 KiB");
    let garbage = to_pem("CERTIFICATE REQUEST", b"garbage");
    assert_eq!(refusal(&garbage), "it is not a certificate request");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    assert_eq!(
        refusal(&certificate.pem()),
        "it is not a PEM certificate request"
    );
    let mut longer = der(&csr(&key));
    longer.push(0);
    assert_eq!(
        refusal(&to_pem("CERTIFICATE REQUEST", &longer)),
        "something follows it"
    );
}

#[test]
fn a_flipped_bit_never_yields_another_key() {
    let key = KeyPair::generate().unwrap();
    let request = der(&csr(&key));
    for bit in 0..request.len() * 8 {
        let mut changed = request.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // The tags around what is signed are not signed, and the parser is lenient about one bit
        // of them; the key is never another.
        match public_key(&to_pem("CERTIFICATE REQUEST", &changed)) {
            Ok(found) => assert_eq!(found, key.subject_public_key_info(), "bit {bit}"),
            Err(error) => assert!(matches!(error, IdentityError::Request(_)), "bit {bit}"),
        }
    }
}

proptest! {
    #[test]
    fn garbage_is_refused_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(public_key(&to_pem("CERTIFICATE REQUEST", &bytes)).is_err());
        prop_assert!(public_key(&String::from_utf8_lossy(&bytes)).is_err());
    }

    #[test]
    fn a_cut_or_spliced_request_is_refused(
        cut in any::<prop::sample::Index>(),
        insert in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let request = der(&csr(&KeyPair::generate().unwrap()));
        let at = cut.index(request.len());
        prop_assert!(public_key(&to_pem("CERTIFICATE REQUEST", &request[..at])).is_err());
        let mut spliced = request.clone();
        spliced.splice(at..at, insert);
        prop_assert!(public_key(&to_pem("CERTIFICATE REQUEST", &spliced)).is_err());
    }
}
