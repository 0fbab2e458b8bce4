//! What an intermediate may sign, in its own certificate, signed by the root.
//!
//! People import the root into their browsers. Without these constraints a thief of the online key
//! could show them any site of the world; with them only the controller's own names, to TLS servers and
//! clients. The names of hosts are URIs, which no constraint covers: `webpki` refuses every certificate
//! below a constraint on URIs. The agents' port therefore checks them by itself (`docs/adr/016`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{CertificateParams, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree};
use rustls_pki_types::DnsName;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use xiezhi_protocol::CONTROLLER_NAME;

use crate::certificate::Certificate;
use crate::error::IdentityError;

/// Limits an intermediate to the controller's name for agents and to these names for browsers, and
/// what lies below a DNS name. Without an address among them it may sign for none.
pub(crate) fn limit(params: &mut CertificateParams, names: &[String]) -> Result<(), IdentityError> {
    let mut permitted = vec![GeneralSubtree::DnsName(CONTROLLER_NAME.to_owned())];
    let mut excluded = Vec::new();
    for name in names {
        permitted.push(match name.parse::<IpAddr>() {
            Ok(address) => GeneralSubtree::IpAddress(whole(address)),
            Err(_) => GeneralSubtree::DnsName(dns_name(name)?),
        });
    }
    if !names.iter().any(|name| name.parse::<IpAddr>().is_ok()) {
        for everywhere in [
            IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::from(Ipv6Addr::UNSPECIFIED),
        ] {
            let all = CidrSubnet::from_addr_prefix(everywhere, 0);
            excluded.push(GeneralSubtree::IpAddress(all));
        }
    }
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: excluded,
    });
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(())
}

fn whole(address: IpAddr) -> CidrSubnet {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    CidrSubnet::from_addr_prefix(address, bits)
}

fn dns_name(name: &str) -> Result<String, IdentityError> {
    DnsName::try_from(name).map_err(|_| IdentityError::Name(name.to_owned()))?;
    Ok(name.to_ascii_lowercase())
}

/// Whether an intermediate may sign for this DNS name or address. One that is older than these
/// constraints, or that another root signed without any, may.
pub(crate) fn permits(intermediate: &Certificate, name: &str) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(&intermediate.der) else {
        return false;
    };
    let constraints = match parsed.name_constraints() {
        Ok(Some(constraints)) => constraints.value,
        Ok(None) => return true,
        Err(_) => return false,
    };
    let excluded = constraints.excluded_subtrees.iter().flatten();
    let permitted = constraints.permitted_subtrees.iter().flatten();
    let mut of_its_kind = permitted
        .filter_map(|tree| covers(&tree.base, name))
        .peekable();
    let is_permitted = of_its_kind.peek().is_none() || of_its_kind.any(|covers| covers);
    let is_excluded = excluded
        .filter_map(|tree| covers(&tree.base, name))
        .any(|covers| covers);
    is_permitted && !is_excluded
}

/// Whether a subtree holds the name; `None` if it is of another kind and says nothing about it.
fn covers(base: &GeneralName<'_>, name: &str) -> Option<bool> {
    match (base, name.parse::<IpAddr>()) {
        (GeneralName::DNSName(base), Err(_)) => {
            let (name, base) = (name.to_ascii_lowercase(), base.to_ascii_lowercase());
            let above = name.strip_suffix(&base);
            Some(
                above.is_some_and(|above| {
                    above.is_empty() || above.ends_with('.') || base.is_empty()
                }),
            )
        }
        (GeneralName::IPAddress(bytes), Ok(address)) => {
            let address = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let (base, mask) = bytes.split_at_checked(bytes.len() / 2)?;
            let same = |((one, other), mask): ((&u8, &u8), &u8)| one & mask == other & mask;
            let is_same_kind = base.len() == address.len();
            Some(is_same_kind && address.iter().zip(base).zip(mask).all(same))
        }
        _ => None,
    }
}
