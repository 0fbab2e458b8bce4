//! The browsers' port: plain on loopback, TLS elsewhere, bounded everywhere.
//!
//! Whoever reaches the port may connect, so no one address gets all of it: neither of the places,
//! nor of the handshakes, nor by a request that never becomes whole ([`crate::connection`]).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::serve::Listener;
use prometheus::Registry;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::{Arrival, Bounds, Connection, Transport, accompany};
use crate::connection_audit::ConnectionAudit;
use crate::peer::TrustedProxies;
use crate::places::{Ended, Shares};

/// Bounds of the port.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Connections at one time; more wait in the kernel's queue. Default 1,024: browsers open six
    /// over HTTP/1.1 and one over HTTP/2. One address (of IPv6, one network of 64 bits) gets a
    /// quarter of them: a court behind one address has 256 pages open. Loopback, where a proxy
    /// speaks for everybody, gets three quarters.
    pub connections: usize,
    /// TLS handshakes at one time. Default 64, shared in the same way.
    pub handshakes: usize,
    /// Longest handshake. Default 10 seconds.
    pub handshake_timeout: Duration,
    /// Longest time from the connection, or from the first byte of a later request, to the end of
    /// the request's headers. Default 10 seconds.
    pub head_timeout: Duration,
    /// A connection that sends nothing of a request and takes nothing of an answer for so long is
    /// closed. Default 2 minutes; open pages get a heartbeat every 5 seconds.
    pub idle_timeout: Duration,
    /// Reverse proxies, which get the share of this machine. Default none.
    pub trusted_proxies: TrustedProxies,
    /// Where the port counts what it ends.
    pub registry: Registry,
    /// Where it tells of connections that were too slow or too many. Default nowhere.
    pub audit: ConnectionAudit,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshakes: 64,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            trusted_proxies: TrustedProxies::default(),
            registry: Registry::new(),
            audit: ConnectionAudit::default(),
        }
    }
}

/// Serves `router` until `stop` is done; then open answers get up to five seconds. Without `tls` the
/// port is plain HTTP: the caller makes sure that it is on loopback.
///
/// # Errors
/// If the listener has no address, or another port counts in the same registry.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    options: ServeOptions,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = WebListener::start(listener, tls, options)?;
    let router = router.layer(from_fn(accompany));
    let service = router.into_make_service_with_connect_info::<Arrival>();
    let (told, stopping) = tokio::sync::oneshot::channel();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        stop.await;
        told.send(()).ok();
    });
    tokio::select! {
        outcome = async { serving.await } => outcome,
        // Open pages never end by themselves.
        () = async {
            if stopping.await.is_ok() {
                sleep(Duration::from_secs(5)).await;
            } else {
                std::future::pending::<()>().await;
            }
        } => Ok(()),
    }
}

/// Hands out connections whose handshake is done.
#[derive(Debug)]
pub(crate) struct WebListener {
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
    address: SocketAddr,
    task: AbortHandle,
}

impl WebListener {
    fn start(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        options: ServeOptions,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let ended = Ended::register(&options.registry, options.audit.clone());
        let ended = ended.map_err(io::Error::other)?;
        let (sender, ready) = mpsc::channel(options.handshakes.max(1));
        let door = Door {
            tls: tls.map(TlsAcceptor::from),
            connections: Arc::new(Semaphore::new(options.connections.max(1))),
            handshakes: Arc::new(Semaphore::new(options.handshakes.max(1))),
            placed: Shares::new(
                options.connections.max(1),
                Arc::clone(&options.trusted_proxies),
            ),
            shaking: Shares::new(
                options.handshakes.max(1),
                Arc::clone(&options.trusted_proxies),
            ),
            bounds: Bounds {
                head: options.head_timeout,
                idle: options.idle_timeout,
                ended: ended.clone(),
            },
            ended,
            options,
            sender,
        };
        let task = tokio::spawn(door.keep(listener)).abort_handle();
        Ok(Self {
            ready,
            address,
            task,
        })
    }
}

impl Drop for WebListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener for WebListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The task ends only with this value.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Accepts and shakes hands.
struct Door {
    tls: Option<TlsAcceptor>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    /// Places by address, and handshakes by address.
    placed: Shares,
    shaking: Shares,
    bounds: Bounds,
    ended: Ended,
    options: ServeOptions,
    sender: mpsc::Sender<(Connection, SocketAddr)>,
}

impl Door {
    async fn keep(self, listener: TcpListener) {
        let door = Arc::new(self);
        loop {
            // Both are held before a connection is taken, so that a flood waits outside.
            let Ok(place) = Arc::clone(&door.connections).acquire_owned().await else {
                return;
            };
            let Ok(turn) = Arc::clone(&door.handshakes).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let door = Arc::clone(&door);
                    tokio::spawn(async move {
                        door.admit(stream, address, place).await;
                        drop(turn);
                    });
                }
                Err(error) => {
                    // No descriptors left, or the peer has gone already.
                    tracing::warn!(error = %error, "cannot accept a browser's connection");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn admit(&self, stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) {
        let Some(share) = self.placed.take(address.ip()) else {
            return self.ended.refused("address", address);
        };
        let Some(shaking) = self.shaking.take(address.ip()) else {
            return self.ended.refused("handshakes", address);
        };
        stream.set_nodelay(true).ok();
        let transport = match self.shake(stream, address).await {
            Ok(transport) => transport,
            Err(reason) => return self.ended.count(reason, address.ip()),
        };
        let bounds = self.bounds.clone();
        let connection = Connection::new(transport, bounds, address.ip(), (place, share));
        self.sender.send((connection, address)).await.ok();
        drop(shaking);
    }

    /// The connection when its handshake is done, or why there is none.
    async fn shake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> Result<Transport, &'static str> {
        let Some(tls) = &self.tls else {
            return Ok(Transport::Plain(stream));
        };
        match timeout(self.options.handshake_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => Ok(Transport::Tls(Box::new(stream))),
            // Scanners and browsers that refuse the certificate: nothing to be done about it.
            Ok(Err(error)) => {
                tracing::debug!(%address, error = %error, "browser handshake failed");
                Err("handshake")
            }
            Err(_) => Err("late_handshake"),
        }
    }
}
