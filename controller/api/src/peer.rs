//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::connect_info::ConnectInfo;
use axum::http::Extensions;

/// Remote address of a connection, as the listener saw it. A proxy's headers are not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The address of the request's connection; unspecified if it came over none.
pub(crate) fn address_of(extensions: &Extensions) -> IpAddr {
    extensions
        .get::<ConnectInfo<PeerAddress>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
            peer.0.0.ip().to_canonical()
        })
}
