//! Certificates as this crate reads them, and the moulds in which it makes them.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use ring::digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use xiezhi_model::HostId;
use xiezhi_protocol::CONTROLLER_NAME;

use crate::error::IdentityError;
use crate::peer::host_uri;
use crate::tokens::random;

pub(crate) const HOUR_S: i64 = 3600;
pub(crate) const DAY_S: i64 = 24 * HOUR_S;
/// Every certificate begins this long before it is made, for clocks that are a little behind.
pub(crate) const BACKDATED_S: i64 = HOUR_S;
pub(crate) const ROOT_LIFE_S: i64 = 3652 * DAY_S;
pub(crate) const INTERMEDIATE_LIFE_S: i64 = 730 * DAY_S;
pub(crate) const SERVER_LIFE_S: i64 = 90 * DAY_S;
pub(crate) const HOST_LIFE_S: i64 = 30 * DAY_S;

/// A parsed certificate of the authority.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    /// Lower-case hex.
    pub(crate) serial: String,
    pub(crate) not_before_s: i64,
    pub(crate) not_after_s: i64,
    public_key: Vec<u8>,
}

/// When a certificate holds, Unix seconds; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before_s: i64,
    pub(crate) not_after_s: i64,
}

/// The validity of a DER certificate, if it is one.
pub(crate) fn validity(der: &[u8]) -> Option<Validity> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(Validity {
        not_before_s: parsed.validity().not_before.timestamp(),
        not_after_s: parsed.validity().not_after.timestamp(),
    })
}

/// SHA-256 over a certificate's DER.
pub(crate) fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    out
}

/// Unix seconds as a person reads them.
pub(crate) fn date(unix_s: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_s).map_or_else(
        |_| unix_s.to_string(),
        |time| format!("{} UTC", time.date()),
    )
}

impl Certificate {
    /// The first certificate of a PEM text; says what is wrong with it otherwise.
    pub(crate) fn from_pem(text: &str) -> Result<Self, String> {
        match CertificateDer::from_pem_slice(text.as_bytes()) {
            Ok(der) => Self::from_der(der),
            Err(rustls_pki_types::pem::Error::NoItemsFound) => {
                Err("there is no BEGIN CERTIFICATE in it".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn from_der(der: CertificateDer<'static>) -> Result<Self, String> {
        let (rest, parsed) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err("something follows the certificate".to_owned());
        }
        let serial = HEXLOWER.encode(parsed.raw_serial());
        let not_before_s = parsed.validity().not_before.timestamp();
        let not_after_s = parsed.validity().not_after.timestamp();
        let public_key = parsed.public_key().raw.to_vec();
        Ok(Self {
            serial,
            not_before_s,
            not_after_s,
            public_key,
            der: der.clone(),
        })
    }

    pub(crate) fn to_pem(&self) -> String {
        to_pem("CERTIFICATE", &self.der)
    }

    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.der)
    }

    pub(crate) fn fingerprint_text(&self) -> String {
        HEXLOWER.encode(&self.fingerprint())
    }

    pub(crate) fn has_key(&self, key: &impl PublicKeyData) -> bool {
        self.public_key == key.subject_public_key_info()
    }
}

/// PEM with lines of 64 letters.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, remainder) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = remainder;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// What every certificate made here has in common: a random serial number of 16 bytes whose DER
/// form has exactly these bytes, and a time that begins a little in the past.
fn mould(name: &str, now_s: i64, life_s: i64) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial: [u8; 16] = random()?;
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = moment(now_s.saturating_sub(BACKDATED_S))?;
    params.not_after = moment(now_s.saturating_add(life_s))?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn moment(unix_s: i64) -> Result<OffsetDateTime, IdentityError> {
    OffsetDateTime::from_unix_timestamp(unix_s)
        .map_err(|_| IdentityError::Issue(rcgen::Error::Time))
}

/// Ends a certificate no later, and begins it no earlier, than its issuer's.
pub(crate) fn keep_within(
    params: &mut CertificateParams,
    issuer: &Certificate,
) -> Result<(), IdentityError> {
    params.not_before = params.not_before.max(moment(issuer.not_before_s)?);
    params.not_after = params.not_after.min(moment(issuer.not_after_s)?);
    Ok(())
}

pub(crate) fn root(now_s: i64) -> Result<CertificateParams, IdentityError> {
    let name = format!("Xiezhi Root CA {}", HEXLOWER.encode(&random::<4>()?));
    let mut params = mould(&name, now_s, ROOT_LIFE_S)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = false;
    Ok(params)
}

/// Also the mould of a request for one: the name is unique, so that certificates of an earlier
/// intermediate are never tried with the key of a later one.
pub(crate) fn intermediate(now_s: i64) -> Result<CertificateParams, IdentityError> {
    let name = format!(
        "Xiezhi Intermediate CA {}",
        HEXLOWER.encode(&random::<4>()?)
    );
    let mut params = mould(&name, now_s, INTERMEDIATE_LIFE_S)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

pub(crate) fn host(host: HostId, now_s: i64) -> Result<CertificateParams, IdentityError> {
    let mut params = mould(&host.to_string(), now_s, HOST_LIFE_S)?;
    let uri = host_uri(host)
        .as_str()
        .try_into()
        .map_err(IdentityError::Issue)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

pub(crate) fn controller(now_s: i64) -> Result<CertificateParams, IdentityError> {
    server(&[CONTROLLER_NAME.to_owned()], now_s)
}

pub(crate) fn server(names: &[String], now_s: i64) -> Result<CertificateParams, IdentityError> {
    let mut params = mould("Xiezhi controller", now_s, SERVER_LIFE_S)?;
    for name in names {
        params.subject_alt_names.push(alternative_name(name)?);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn alternative_name(name: &str) -> Result<SanType, IdentityError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let wrong = || IdentityError::Name(name.to_owned());
    rustls_pki_types::DnsName::try_from(name).map_err(|_| wrong())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| wrong())?))
}
