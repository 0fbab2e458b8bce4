//! Who is at the other end of a connection, or behind a proxy that is trusted.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::Response;

use crate::state::AppState;

/// Remote address of a connection, as the listener saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// Addresses of reverse proxies whose `X-Forwarded-For` is believed; of nobody else's it is.
pub type TrustedProxies = Arc<BTreeSet<IpAddr>>;

/// For whom a trusted proxy passed a request on.
#[derive(Debug, Clone, Copy)]
struct Forwarded(IpAddr);

/// The address of the request's connection, or of whom a trusted proxy names; unspecified if it came
/// over none.
pub(crate) fn address_of(extensions: &Extensions) -> IpAddr {
    if let Some(Forwarded(address)) = extensions.get() {
        return *address;
    }
    extensions
        .get::<ConnectInfo<PeerAddress>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
            peer.0.0.ip().to_canonical()
        })
}

/// Notes for whom a trusted proxy speaks, before anybody asks for the address.
pub(crate) async fn behind_proxy(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let trusted = &state.inner.options.trusted_proxies;
    let peer = address_of(request.extensions());
    if trusted.contains(&peer)
        && let Some(address) = forwarded(request.headers(), trusted)
    {
        request.extensions_mut().insert(Forwarded(address));
    }
    next.run(request).await
}

/// The last address that no trusted proxy has. Each proxy appends whom it heard from, so that what
/// stands further to the left is what somebody claims. An entry that is no address ends the search:
/// what is left of it is not to be believed either.
fn forwarded(headers: &HeaderMap, trusted: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let mut found = None;
    let lines: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|line| line.to_str().unwrap_or_default())
        .collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = address_in(entry.trim()) else {
            break;
        };
        found = Some(address);
        if !trusted.contains(&address) {
            break;
        }
    }
    found
}

/// `192.0.2.1`, `2001:db8::1`, or either with a port.
fn address_in(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|both| both.ip());
    let found = bare().or_else(with_port)?;
    Some(found.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_callers() {
        let trusted: BTreeSet<IpAddr> = ["10.0.0.9", "10.0.0.8"]
            .map(|one| one.parse().unwrap())
            .into();
        let cases: [(&[&str], Option<&str>); 13] = [
            (&["192.0.2.7"], Some("192.0.2.7")),
            // What a caller claims stands to the left.
            (&["1.1.1.1, 192.0.2.7"], Some("192.0.2.7")),
            (&["1.1.1.1", "192.0.2.7"], Some("192.0.2.7")),
            (&["192.0.2.7, 10.0.0.8"], Some("192.0.2.7")),
            (&["192.0.2.7, 10.0.0.8, 10.0.0.9"], Some("192.0.2.7")),
            (&["10.0.0.8"], Some("10.0.0.8")),
            (&["192.0.2.7:4711"], Some("192.0.2.7")),
            (&["[2001:db8::1]:4711"], Some("2001:db8::1")),
            (&["::ffff:192.0.2.7"], Some("192.0.2.7")),
            (&["1.1.1.1, unknown"], None),
            (&["1.1.1.1, nonsense, 10.0.0.8"], Some("10.0.0.8")),
            (&[""], None),
            (&[], None),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let found = forwarded(&headers, &trusted);
            let expected = expected.map(|one| one.parse().unwrap());
            assert_eq!(found, expected, "{lines:?}");
        }
    }
}
