//! The browsers' port: plain on loopback, TLS elsewhere, bounded everywhere.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::peer::PeerAddress;

/// Bounds of the port.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Connections at one time; more wait in the kernel's queue. Default 1,024: browsers open six
    /// over HTTP/1.1 and one over HTTP/2.
    pub connections: usize,
    /// TLS handshakes at one time. Default 64.
    pub handshakes: usize,
    /// Longest handshake. Default 10 seconds.
    pub handshake_timeout: Duration,
    /// A connection over which nothing moves for so long is closed. Default 2 minutes; open pages
    /// get a heartbeat every 5 seconds.
    pub idle_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshakes: 64,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
        }
    }
}

/// Serves `router` until `stop` is done; then open answers get up to five seconds. Without `tls` the
/// port is plain HTTP: the caller makes sure that it is on loopback.
///
/// # Errors
/// If the listener has no address.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    options: ServeOptions,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = WebListener::start(listener, tls, options)?;
    let service = router.into_make_service_with_connect_info::<PeerAddress>();
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
        let (sender, ready) = mpsc::channel(options.handshakes.max(1));
        let door = Door {
            tls: tls.map(TlsAcceptor::from),
            connections: Arc::new(Semaphore::new(options.connections.max(1))),
            handshakes: Arc::new(Semaphore::new(options.handshakes.max(1))),
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
        stream.set_nodelay(true).ok();
        let transport = match &self.tls {
            None => Transport::Plain(stream),
            Some(tls) => match timeout(self.options.handshake_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => Transport::Tls(Box::new(stream)),
                // Scanners and browsers that refuse the certificate: nothing to be done about it.
                Ok(Err(error)) => {
                    tracing::debug!(%address, error = %error, "browser handshake failed");
                    return;
                }
                Err(_) => return,
            },
        };
        let connection = Connection::new(transport, self.options.idle_timeout, place);
        self.sender.send((connection, address)).await.ok();
    }
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A browser's connection: ends when nothing moves for too long, and gives its place back.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    idle_timeout: Duration,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(transport: Transport, idle_timeout: Duration, place: OwnedSemaphorePermit) -> Self {
        let idle = Box::pin(sleep_until(Instant::now() + idle_timeout));
        Self {
            transport,
            idle_timeout,
            idle,
            _place: place,
        }
    }

    /// Something moved.
    fn moved(&mut self) {
        let until = Instant::now() + self.idle_timeout;
        // Setting a timer costs; once a second is exact enough.
        if until.duration_since(self.idle.deadline()) > Duration::from_secs(1) {
            self.idle.as_mut().reset(until);
        }
    }

    fn expired(&mut self, context: &mut Context<'_>) -> bool {
        self.idle.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        };
        match read {
            Poll::Pending if self.expired(context) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "idle connection",
            ))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(outcome) => {
                self.moved();
                Poll::Ready(outcome)
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        };
        if written.is_ready() {
            self.moved();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
