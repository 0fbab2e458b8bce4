//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::Extensions;
use axum::serve::IncomingStream;

use crate::serve::WebListener;

/// Remote address of a connection, as the listener saw it. A proxy's headers are not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

impl Connected<IncomingStream<'_, WebListener>> for PeerAddress {
    fn connect_info(stream: IncomingStream<'_, WebListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// The address of the request's connection; unspecified if it came over none.
pub(crate) fn address_of(extensions: &Extensions) -> IpAddr {
    extensions
        .get::<ConnectInfo<PeerAddress>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
            peer.0.0.ip().to_canonical()
        })
}
