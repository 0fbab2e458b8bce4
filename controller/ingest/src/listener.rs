//! Accepts connections at a bearable pace and finishes their TLS handshakes.
//!
//! A handshake costs about 0.6 ms of CPU. When thousands of agents come back at once the bucket
//! paces `accept`, the kernel's queue holds the rest, and open sessions keep their share.
//!
//! What is shared by all is taken only after the source's own share: of new connections, of the
//! handshakes under way, and of the places for callers without a certificate. So one machine, or
//! one court, stops neither enrolment nor the return of the others.

use std::net::SocketAddr;
use std::sync::Arc;
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
use crate::limits::{KeyedLimit, Source, TokenBucket};
use crate::share::{Share, Shares};

/// Connections without a certificate at one time. Enrolment takes milliseconds; more are idlers.
const ANONYMOUS: usize = 1024;

/// The same for one source. A court behind one address enrols five hosts a second, which is the limit
/// of requests; over a slow line, three seconds each, that takes 15 places. Hosts that come back
/// have certificates and need none.
const ANONYMOUS_EACH: usize = 64;

/// One source may begin a quarter of all handshakes, and at once what it may in two seconds. At 500
/// a second, a thousand hosts behind one address are back in six seconds if they all come at once;
/// who is turned away tries again within half a minute to a minute, at random. Four courts that
/// connect as fast as they can are needed to slow the others down, and none is kept out.
const SOURCE_QUARTER: f64 = 0.25;
const SOURCE_BURST_SECONDS: f64 = 2.0;

/// Sources whose rate is remembered: those of the last two seconds. Beyond it new ones are turned
/// away, so this is more than there are courts.
const SOURCES: usize = 65_536;

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
        anonymous_shares: Shares::new(ANONYMOUS_EACH),
        shaking: Shares::new(context.options.handshakes_in_flight / 2),
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
    anonymous_shares: Shares,
    /// Handshakes under way by source.
    shaking: Shares,
}

impl Door {
    async fn accept_all(&self, listener: &TcpListener) {
        let started = Instant::now();
        let rate = self.context.options.handshakes_per_second;
        // The burst is what a tenth of a second allows: enough not to sleep for each connection.
        let mut bucket = TokenBucket::new(rate, (rate / 10.0).max(1.0), Duration::ZERO);
        let mut sources = source_rates(rate);
        loop {
            let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return;
            };
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(failure) => {
                    note(&failure);
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let within = allowed(&mut sources, address, started.elapsed());
            let share = within.then(|| self.shaking.take(address.ip().into()));
            let Some(share) = share.flatten() else {
                // Closed at once and unpaced: that costs far less than a handshake.
                let failed = &self.context.metrics.handshakes_failed;
                failed.with_label_values(&["address"]).inc();
                continue;
            };
            while let Err(wait) = bucket.take(started.elapsed()) {
                tokio::time::sleep(wait).await;
            }
            self.welcome(stream, address, (permit, share));
        }
    }

    fn welcome(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        shaking: (OwnedSemaphorePermit, Share),
    ) {
        let context = Arc::clone(&self.context);
        let acceptor = self.acceptor.clone();
        let anonymous = Arc::clone(&self.anonymous);
        let shares = self.anonymous_shares.clone();
        tokio::spawn(async move {
            let shaken = shake(&context, &acceptor, stream, address).await;
            drop(shaking);
            let Some((stream, peer)) = shaken else { return };
            let place = match peer {
                Peer::Anonymous => {
                    let Some(share) = shares.take(address.ip().into()) else {
                        return context.metrics.refuse("anonymous_address");
                    };
                    match anonymous.try_acquire_owned() {
                        Ok(place) => Some((place, share)),
                        Err(_) => return context.metrics.refuse("anonymous"),
                    }
                }
                Peer::Host { .. } => None,
            };
            // Boxed, so that the handshake's state does not stay for the life of the session.
            Box::pin(connection::serve(context, stream, address, peer)).await;
            drop(place);
        });
    }
}

/// New connections of each source, of `rate` a second in all.
fn source_rates(rate: f64) -> KeyedLimit<Source> {
    let each = rate * SOURCE_QUARTER;
    KeyedLimit::new(each, (each * SOURCE_BURST_SECONDS).max(1.0), SOURCES)
}

/// Whether a source may begin one more handshake now. This machine always may: load tests and
/// proxies speak for many.
fn allowed(sources: &mut KeyedLimit<Source>, address: SocketAddr, now: Duration) -> bool {
    let ip = address.ip().to_canonical();
    ip.is_loopback() || sources.take(ip.into(), now).is_ok()
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
    fn a_court_that_floods_the_port_leaves_most_of_the_handshakes_to_others() {
        let mut sources = source_rates(500.0);
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
        let mut passed = 0;
        // Ten seconds of a thousand connections a second.
        for ms in 0..10_000 {
            let now = Duration::from_millis(ms);
            passed += u32::from(allowed(&mut sources, at("10.0.0.1"), now));
        }
        assert!((1450..=1550).contains(&passed), "{passed}");
        let now = Duration::from_secs(10);
        assert!(allowed(&mut sources, at("10.0.0.2"), now));
        while allowed(&mut sources, at("10.0.0.1"), now) {}
        assert!(!allowed(&mut sources, at("::ffff:10.0.0.1"), now));
    }

    #[test]
    fn a_thousand_hosts_behind_one_address_are_admitted_within_ten_seconds() {
        let mut sources = source_rates(500.0);
        let court = SocketAddr::from(([10, 0, 0, 1], 1));
        let mut waiting = 1000;
        let mut ms = 0;
        while waiting > 0 {
            // Each tries again and again; agents try within a minute.
            while waiting > 0 && allowed(&mut sources, court, Duration::from_millis(ms)) {
                waiting -= 1;
            }
            ms += 100;
        }
        assert!(ms <= 10_000, "{ms} ms");
    }

    #[test]
    fn this_machine_has_no_rate_of_its_own() {
        let mut sources = source_rates(4.0);
        let here = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!((0..100).all(|_| allowed(&mut sources, here, Duration::ZERO)));
    }
}
