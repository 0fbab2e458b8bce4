//! A browser's connection, which lasts while its requests get on.
//!
//! Bytes alone renew nothing: a header line every few seconds, or a ping, would hold a place for
//! ever. What counts is a request whose headers have come whole, a piece of its body that its reader
//! takes (each reader has a pace or an end of its own), and an answer of which something was taken.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::Version;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use crate::peer::PeerAddress;
use crate::places::{Ended, Share};
use crate::serve::WebListener;

/// So much of an answer has to be taken to count; answers to pings are far smaller.
const PIECE_BYTES: usize = 4096;

/// With what HTTP/2 begins, also over a connection to spare.
const OPENING: &[u8] = b"PRI ";

/// For how long what follows is taken for part of it: settings and their acknowledgement.
const OPENING_TIME: Duration = Duration::from_secs(2);

/// How long a connection may wait, and for what.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// For the rest of a request's headers.
    pub(crate) head: Duration,
    /// For anything else.
    pub(crate) idle: Duration,
    /// Counts connections that waited too long.
    pub(crate) ended: Ended,
}

/// What a connection is doing. The transport and the requests over it share this.
#[derive(Debug)]
struct Activity {
    /// Requests whose answers are not over.
    under_way: usize,
    /// No request has come yet.
    new: bool,
    /// Something of the first request has come, as far as can be told.
    begun: bool,
    /// HTTP/2 has begun, with which a browser says nothing but that it is there.
    opened: bool,
    /// Requests come side by side (HTTP/2), so bytes between them are not the start of one.
    multiplexed: bool,
    /// The last time a request or a piece of its body came, or something of an answer was taken.
    progress: Instant,
    /// When the first byte of a request came whose headers are not whole.
    head: Option<Instant>,
}

impl Activity {
    /// When the connection has waited too long, and for what.
    fn deadline(&self, bounds: &Bounds) -> (Instant, &'static str) {
        if self.new {
            // Browsers open connections to spare, and may never ask anything over them.
            let reason = if self.begun { "head" } else { "spare" };
            return (self.progress + bounds.head.min(bounds.idle), reason);
        }
        match self.head {
            Some(begun) => (begun + bounds.head, "head"),
            None if self.under_way > 0 => (self.progress + bounds.idle, "stalled"),
            None => (self.progress + bounds.idle, "idle"),
        }
    }
}

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Activity>>);

impl Shared {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Activity {
            under_way: 0,
            new: true,
            begun: false,
            opened: false,
            multiplexed: false,
            progress: Instant::now(),
            head: None,
        })))
    }

    fn locked(&self) -> MutexGuard<'_, Activity> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) {
        self.locked().progress = Instant::now();
    }

    fn read(&self, bytes: &[u8]) {
        let mut activity = self.locked();
        if activity.new && !bytes.is_empty() {
            // What comes at once after HTTP/2's first words is part of them.
            let opens = bytes.starts_with(OPENING) || activity.opened;
            let early = activity.progress.elapsed() < OPENING_TIME;
            activity.opened |= opens;
            activity.begun |= !(opens && early);
        }
        if activity.under_way == 0 && !activity.multiplexed && !activity.new {
            activity.head.get_or_insert_with(Instant::now);
        }
    }
}

/// What requests know about their connection.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    address: SocketAddr,
    shared: Shared,
}

impl Connected<IncomingStream<'_, WebListener>> for Arrival {
    fn connect_info(stream: IncomingStream<'_, WebListener>) -> Self {
        Self {
            address: *stream.remote_addr(),
            shared: stream.io().shared.clone(),
        }
    }
}

/// Tells the connection that a request is under way until its answer is over.
pub(crate) async fn accompany(
    ConnectInfo(arrival): ConnectInfo<Arrival>,
    mut request: Request,
    next: Next,
) -> Response {
    let under_way = UnderWay::begin(arrival.shared, request.version());
    let peer = ConnectInfo(PeerAddress(arrival.address));
    request.extensions_mut().insert(peer);
    let shared = under_way.0.clone();
    let request = request.map(|body| Body::new(Arriving { body, shared }));
    let response = next.run(request).await;
    response.map(|body| Body::new(Accompanied { body, under_way }))
}

struct UnderWay(Shared);

impl UnderWay {
    fn begin(shared: Shared, version: Version) -> Self {
        let mut activity = shared.locked();
        activity.under_way += 1;
        activity.new = false;
        activity.multiplexed = version == Version::HTTP_2;
        activity.progress = Instant::now();
        activity.head = None;
        drop(activity);
        Self(shared)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut activity = self.0.locked();
        activity.under_way = activity.under_way.saturating_sub(1);
        activity.progress = Instant::now();
    }
}

/// The body of a request; each piece that comes counts. Bytes that nobody reads do not.
struct Arriving {
    body: Body,
    shared: Shared,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && frame.data_ref().is_some_and(|data| !data.is_empty())
        {
            self.shared.progress();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer; each piece that is taken counts.
struct Accompanied {
    body: Body,
    under_way: UnderWay,
}

impl HttpBody for Accompanied {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.under_way.0.progress();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A browser's connection: ends when it has waited too long, and gives its place back.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    bounds: Bounds,
    address: IpAddr,
    shared: Shared,
    timer: Pin<Box<Sleep>>,
    /// Written since the last progress.
    written: usize,
    _place: (OwnedSemaphorePermit, Share),
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        bounds: Bounds,
        address: IpAddr,
        place: (OwnedSemaphorePermit, Share),
    ) -> Self {
        let shared = Shared::new();
        let (deadline, _) = shared.locked().deadline(&bounds);
        Self {
            transport,
            bounds,
            address,
            shared,
            timer: Box::pin(sleep_until(deadline)),
            written: 0,
            _place: place,
        }
    }

    /// Ends a wait that is too long.
    fn waited<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            let (deadline, reason) = self.shared.locked().deadline(&self.bounds);
            // Setting a timer costs; one that is early is set again when it rings.
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                self.bounds.ended.count(reason, self.address);
                let kind = io::ErrorKind::TimedOut;
                return Poll::Ready(Err(io::Error::new(kind, reason)));
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        };
        if read.is_pending() {
            return self.waited(context);
        }
        self.shared
            .read(buffer.filled().get(before..).unwrap_or_default());
        read
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
        match written {
            Poll::Pending => self.waited(context),
            Poll::Ready(Ok(count)) => {
                self.written += count;
                if self.written >= PIECE_BYTES {
                    self.written = 0;
                    self.shared.progress();
                }
                Poll::Ready(Ok(count))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
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
