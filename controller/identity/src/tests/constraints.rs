//! What a thief of the online key cannot do with it, shown by handshakes with the stolen signature.

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use xiezhi_model::HostId;
use xiezhi_protocol::CONTROLLER_NAME;

use super::{Agent, At, Fixture, anonymous, days, meet, meet_as};
use crate::certificate;
use crate::{Authority, CertificateSlot, IdentityError, ServerIdentity, web_server_config};

const NAMES: [&str; 3] = ["monitor.gs-01.test", "10.1.2.3", "fd00::1"];

/// What a browser that trusts the root says to a server with this chain that calls itself `name`.
fn browser(
    authority: &Authority,
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    name: &str,
) -> Result<(), Error> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let slot = CertificateSlot::new(ServerIdentity::new(chain, &key).unwrap());
    let mut client = anonymous(authority, days(0));
    client.alpn_protocols = vec![b"h2".to_vec()];
    let met = meet_as(client.into(), &web_server_config(&slot).unwrap(), name);
    met.client.map(drop)
}

/// Signs for `name` with the online key, past every check of ours.
fn visit(authority: &Authority, name: &str) -> Result<(), Error> {
    let key = KeyPair::generate().unwrap();
    let params = certificate::server(&[name.to_owned()], days(0)).unwrap();
    let leaf = authority.sign_for_test(params, &key);
    browser(authority, vec![leaf, intermediate(authority)], &key, name)
}

fn intermediate(authority: &Authority) -> CertificateDer<'static> {
    Agent::enrolled(authority, 1, days(0)).chain.remove(1)
}

fn is_constraint(result: &Result<(), Error>) -> bool {
    let Err(Error::InvalidCertificate(CertificateError::Other(other))) = result else {
        return false;
    };
    other.to_string().contains("NameConstraintViolation")
}

#[test]
fn the_online_key_signs_for_the_controllers_own_names_only() {
    let authority = Fixture::for_names(&NAMES).open();
    for name in NAMES
        .into_iter()
        .chain([CONTROLLER_NAME, "a.monitor.gs-01.test"])
    {
        assert_eq!(visit(&authority, name), Ok(()), "{name}");
        assert!(authority.permits(name), "{name}");
    }
    for name in [
        "bank.example",
        "gs-01.test",
        "xmonitor.gs-01.test",
        "10.1.2.4",
        "fd00::2",
    ] {
        let result = visit(&authority, name);
        assert!(is_constraint(&result), "{name}: {result:?}");
        assert!(!authority.permits(name), "{name}");
        let refused = authority
            .issue_web(&[name.to_owned()], days(0))
            .unwrap_err();
        assert!(
            matches!(refused, IdentityError::NotPermitted(_)),
            "{refused}"
        );
    }
    // An authority for DNS names alone signs for no address, of either kind.
    let authority = Fixture::for_names(&["monitor.gs-01.test"]).open();
    for address in ["10.1.2.3", "::1"] {
        assert!(is_constraint(&visit(&authority, address)), "{address}");
        assert!(!authority.permits(address));
    }
}

#[test]
fn the_online_key_makes_no_further_authority() {
    let authority = Fixture::new().open();
    let mut params = certificate::intermediate(days(0)).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let below = authority.sign_for_test(params, &key);
    let issuer = Issuer::from_ca_cert_der(&below, key).unwrap();

    let leaf = certificate::controller(days(0))
        .unwrap()
        .signed_by(&leaf_key, &issuer)
        .unwrap();
    let chain = vec![leaf.der().clone(), below.clone(), intermediate(&authority)];
    let result = browser(&authority, chain, &leaf_key, CONTROLLER_NAME);
    let text = format!("{result:?}");
    assert!(text.contains("PathLenConstraintViolated"), "{text}");

    let host = certificate::host(HostId(17), days(0)).unwrap();
    let leaf = host.signed_by(&leaf_key, &issuer).unwrap();
    let agent = Agent {
        chain: vec![leaf.der().clone(), below, intermediate(&authority)],
        key: leaf_key,
    };
    let server = authority
        .server_config_at(std::sync::Arc::new(At(days(0))))
        .unwrap();
    let met = meet(agent.client(&authority, days(0)), &server);
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(met.refusal(), unknown);
}

#[test]
fn the_online_key_signs_for_tls_and_nothing_else() {
    let authority = Fixture::new().open();
    let der = intermediate(&authority);
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let usages = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usages.server_auth && usages.client_auth);
    assert!(!usages.any && !usages.code_signing && !usages.email_protection);
    let key_usage = parsed.key_usage().unwrap().unwrap();
    assert!(key_usage.critical && key_usage.value.key_cert_sign());
    assert!(!key_usage.value.digital_signature());
    let basic = parsed.basic_constraints().unwrap().unwrap();
    assert_eq!(
        (basic.critical, basic.value.path_len_constraint),
        (true, Some(0))
    );
    assert!(parsed.name_constraints().unwrap().unwrap().critical);
    // A leaf for something else is refused by either side.
    let key = KeyPair::generate().unwrap();
    let mut params = certificate::controller(days(0)).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let leaf = authority.sign_for_test(params, &key);
    let chain = vec![leaf, intermediate(&authority)];
    let result = browser(&authority, chain, &key, CONTROLLER_NAME);
    assert!(
        format!("{result:?}").contains("InvalidPurpose"),
        "{result:?}"
    );
}
