//! Accepts connections at a bearable pace and finishes their TLS handshakes.
//!
//! A handshake costs about 0.6 ms of CPU. When thousands of agents come back at once the bucket
//! paces `accept`, the kernel's queue holds the rest, and open sessions keep their share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};
use xiezhi_identity::{Peer, peer_of};

use crate::connection;
use crate::context::Context;
use crate::limits::{Source, TokenBucket};

/// Connections without a certificate at one time. Enrolment takes milliseconds; more are idlers.
const ANONYMOUS: usize = 1024;

/// Wait after `accept` failed, mostly for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// A line that nothing came over for so long is asked whether the other kernel is still there. Reports
/// come every 15 s, so a healthy session of the usual interval is never asked.
const ASK_AFTER: Duration = Duration::from_secs(45);
/// Time between two such questions, and how many stay unanswered before the connection is over.
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASK_TIMES: u32 = 3;
/// Sent data that nobody confirms for so long ends the connection too. Before the silence of a host is
/// judged: a session over a cut line must not speak for a host that nobody can hear.
const UNCONFIRMED: Duration = Duration::from_secs(75);

/// Accepts until `stop` changes.
pub(crate) async fn run(
    context: Arc<Context>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(failure) = notice_dead_lines(&listener) {
        let error: &dyn std::error::Error = &failure;
        warn!(
            error,
            "a cut line is noticed late: the kernel does not watch connections"
        );
    }
    let door = Door {
        acceptor: TlsAcceptor::from(tls),
        in_flight: Arc::new(Semaphore::new(context.options.handshakes_in_flight.max(1))),
        anonymous: Arc::new(Semaphore::new(ANONYMOUS)),
        shaking: Arc::default(),
        context,
    };
    let accepting = door.accept_all(&listener);
    tokio::select! {
        () = accepting => {}
        _ = stop.changed() => {}
    }
}

/// Has the kernel end connections whose line is dead; accepted ones inherit it from the listener.
///
/// An agent that hangs while its kernel answers keeps its session, so that the two differ.
fn notice_dead_lines(listener: &TcpListener) -> rustix::io::Result<()> {
    let unconfirmed_ms = u32::try_from(UNCONFIRMED.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(listener, ASK_EVERY)?;
    sockopt::set_tcp_keepcnt(listener, ASK_TIMES)?;
    sockopt::set_tcp_user_timeout(listener, unconfirmed_ms)
}

struct Door {
    context: Arc<Context>,
    acceptor: TlsAcceptor,
    in_flight: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
    /// Handshakes under way by source.
    shaking: Arc<Mutex<HashMap<Source, usize>>>,
}

impl Door {
    async fn accept_all(&self, listener: &TcpListener) {
        let started = Instant::now();
        let rate = self.context.options.handshakes_per_second;
        // The burst is what a tenth of a second allows: enough not to sleep for each connection.
        let mut bucket = TokenBucket::new(rate, (rate / 10.0).max(1.0), Duration::ZERO);
        loop {
            while let Err(wait) = bucket.take(started.elapsed()) {
                tokio::time::sleep(wait).await;
            }
            let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, address)) => self.welcome(stream, address, permit),
                Err(failure) => {
                    note(&failure);
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit) {
        let context = Arc::clone(&self.context);
        let acceptor = self.acceptor.clone();
        let anonymous = Arc::clone(&self.anonymous);
        let most = (context.options.handshakes_in_flight / 2).max(1);
        let Some(share) = Share::take(&self.shaking, address.ip().into(), most) else {
            context
                .metrics
                .handshakes_failed
                .with_label_values(&["address"])
                .inc();
            return;
        };
        tokio::spawn(async move {
            let shaken = shake(&context, &acceptor, stream, address).await;
            drop((permit, share));
            let Some((stream, peer)) = shaken else { return };
            let place = match peer {
                Peer::Anonymous => match anonymous.try_acquire_owned() {
                    Ok(place) => Some(place),
                    Err(_) => return context.metrics.refuse("anonymous"),
                },
                Peer::Host { .. } => None,
            };
            // Boxed, so that the handshake's state does not stay for the life of the session.
            Box::pin(connection::serve(context, stream, address, peer)).await;
            drop(place);
        });
    }
}

/// One source's share of the handshakes under way; given back on drop.
struct Share {
    shaking: Arc<Mutex<HashMap<Source, usize>>>,
    source: Source,
}

impl Share {
    fn take(
        shaking: &Arc<Mutex<HashMap<Source, usize>>>,
        source: Source,
        most: usize,
    ) -> Option<Self> {
        let mut counts = shaking.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self {
            shaking: Arc::clone(shaking),
            source,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shaking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

fn note(failure: &std::io::Error) {
    let error: &dyn std::error::Error = failure;
    warn!(error, "cannot accept connections, trying again");
}

async fn shake(
    context: &Context,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, Peer)> {
    let failed = |reason: &'static str| {
        context
            .metrics
            .handshakes_failed
            .with_label_values(&[reason])
            .inc();
    };
    // Acknowledgements are small and must not wait for more. A failure costs some delay only.
    drop(stream.set_nodelay(true));
    let limit = context.options.handshake_timeout;
    let stream = match tokio::time::timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(failure)) => {
            let error: &dyn std::error::Error = &failure;
            debug!(%address, error, "handshake failed");
            failed("tls");
            return None;
        }
        Err(_) => {
            failed("timeout");
            return None;
        }
    };
    context.metrics.handshakes.inc();
    let Ok(peer) = peer_of(stream.get_ref().1.peer_certificates(), context.now_s()) else {
        failed("name");
        return None;
    };
    Some((stream, peer))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[tokio::test]
    async fn accepted_connections_notice_a_dead_line() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        notice_dead_lines(&listener).unwrap();
        let _agent = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), ASK_AFTER);
        assert_eq!(sockopt::tcp_keepcnt(&accepted).unwrap(), ASK_TIMES);
        let silent_ms = i64::from(sockopt::tcp_user_timeout(&accepted).unwrap());
        assert!(silent_ms < xiezhi_model::presence::SILENT_AFTER_MS);
        let asked = ASK_AFTER + ASK_EVERY * ASK_TIMES;
        assert!((asked.as_millis() as i64) < xiezhi_model::presence::SILENT_AFTER_MS);
    }

    #[test]
    fn one_source_never_takes_more_than_its_share() {
        let shaking = Arc::default();
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        let (one, two) = (source("2001:db8::1"), source("10.0.0.2"));
        let held: Vec<_> = (0..2)
            .map(|_| Share::take(&shaking, one, 2).unwrap())
            .collect();
        assert!(Share::take(&shaking, one, 2).is_none());
        assert!(Share::take(&shaking, source("2001:db8::2"), 2).is_none());
        assert!(Share::take(&shaking, two, 2).is_some());
        drop(held);
        assert!(shaking.lock().unwrap().is_empty());
        assert!(Share::take(&shaking, one, 2).is_some());
    }
}
