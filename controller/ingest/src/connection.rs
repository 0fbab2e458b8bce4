//! Drives one connection: whatever it is for, one task.
//!
//! A connection that opens no session ends after half a minute: it enrols, renews, or wastes time.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tracing::info;
use xiezhi_identity::Peer;
use xiezhi_protocol::enrol::EnrolResponse;
use xiezhi_protocol::{DIRECTIVES_PATH, ENROL_PATH, RENEW_PATH, UPLINK_PATH};

use crate::context::Context;
use crate::enrol;
use crate::greeting::{Caller, greet};
use crate::problem::Refusal;
use crate::reply;
use crate::session::{End, Input, Session};

/// Requests of one connection that are under way besides its session.
const UNDER_WAY: usize = 4;

/// Streams that a connection may have: two of a session, a renewal, and room for one retry each.
const STREAMS: u32 = 8;

/// Unread bytes that the agent may have under way on one stream, and in all.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 128 * 1024;

/// Paths are fixed and agents send hardly any headers.
const HEADER_LIST: u32 = 8 * 1024;

/// Last words are given this long to leave.
const FAREWELL: Duration = Duration::from_millis(500);

type Http = h2::server::Connection<TlsStream<TcpStream>, Bytes>;
type Work = Pin<Box<dyn Future<Output = Option<Box<Session>>> + Send>>;

/// Serves a connection until it ends.
pub(crate) async fn serve(
    context: Arc<Context>,
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    peer: Peer,
) {
    let lifetime = context.options.unauthenticated_lifetime;
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST)
        .max_concurrent_reset_streams(STREAMS as usize)
        .max_send_buffer_size(STREAM_WINDOW as usize);
    let handshake = builder.handshake::<_, Bytes>(stream);
    let Ok(Ok(http)) = tokio::time::timeout(lifetime, handshake).await else {
        context.metrics.refuse("http2");
        return;
    };
    let deadline = Some(Box::pin(tokio::time::sleep(lifetime)));
    let mut connection = Connection {
        context,
        http,
        address,
        peer,
        deadline,
        work: Vec::new(),
        session: None,
        early_directives: None,
    };
    connection.run().await;
}

struct Connection {
    context: Arc<Context>,
    http: Http,
    address: SocketAddr,
    peer: Peer,
    /// When the connection ends unless it has opened a session.
    deadline: Option<Pin<Box<Sleep>>>,
    work: Vec<Work>,
    session: Option<Box<Session>>,
    /// The directive stream of a session that is not open yet.
    early_directives: Option<(RecvStream, SendResponse<Bytes>)>,
}

enum Turn {
    Request(Box<(Request<RecvStream>, SendResponse<Bytes>)>),
    /// Work is done; it may have opened a session.
    Done(Option<Box<Session>>),
    Session(Input),
    Over,
}

impl Connection {
    async fn run(&mut self) {
        loop {
            match std::future::poll_fn(|task| self.poll(task)).await {
                Turn::Request(request) => self.route(request.0, request.1),
                Turn::Done(None) => {}
                Turn::Done(Some(session)) => self.open(session),
                Turn::Session(input) => self.session_input(input),
                Turn::Over => return,
            }
            if self.session.is_none() && self.deadline.is_none() {
                self.say_goodbye().await;
                return;
            }
        }
    }

    fn poll(&mut self, task: &mut Task<'_>) -> Poll<Turn> {
        // Also reads and writes the connection itself, so it is asked on every turn.
        match self.http.poll_accept(task) {
            Poll::Ready(Some(Ok(request))) => return Poll::Ready(Turn::Request(Box::new(request))),
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Turn::Over),
            Poll::Pending => {}
        }
        if let Some(session) = &mut self.session {
            if let Poll::Ready(input) = session.poll(task) {
                return Poll::Ready(Turn::Session(input));
            }
        } else if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(task).is_ready()
        {
            return Poll::Ready(Turn::Over);
        }
        for at in 0..self.work.len() {
            let Some(work) = self.work.get_mut(at) else {
                break;
            };
            if let Poll::Ready(session) = work.as_mut().poll(task) {
                drop(self.work.swap_remove(at));
                return Poll::Ready(Turn::Done(session));
            }
        }
        Poll::Pending
    }

    fn route(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        match self.admit(request.method(), request.uri().path()) {
            Ok(route) => self.take(route, request.into_body(), respond),
            Err(refusal) => {
                self.context.metrics.refuse("request");
                reply::refuse(respond, &refusal);
                if self.work.len() < UNDER_WAY {
                    self.work.push(Box::pin(async move {
                        reply::drain(request.into_body()).await;
                        None
                    }));
                }
            }
        }
    }

    /// Who may ask for what.
    fn admit(&self, method: &Method, path: &str) -> Result<Route, Refusal> {
        let route = match path {
            UPLINK_PATH => Route::Uplink(self.caller(false)?),
            DIRECTIVES_PATH => {
                self.caller(false)?;
                Route::Directives
            }
            RENEW_PATH => Route::Renew(self.caller(true)?),
            ENROL_PATH => Route::Enrol,
            _ => {
                let detail = "agents are served here; pages are on another port";
                return Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", detail));
            }
        };
        if method != Method::POST {
            let detail = "only POST is served here";
            return Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                detail,
            ));
        }
        if self.work.len() >= UNDER_WAY {
            return Err(Refusal::rate_limited(Duration::ZERO));
        }
        // The deadline goes when a session opens, so one connection never opens two.
        if matches!(route, Route::Uplink(_)) && self.deadline.is_none() {
            let detail = "this connection has a session already";
            return Err(Refusal::new(StatusCode::CONFLICT, "session_open", detail));
        }
        Ok(route)
    }

    fn caller(&self, even_expired: bool) -> Result<Caller, Refusal> {
        match &self.peer {
            Peer::Anonymous => {
                let detail = "show the host's certificate; a new host enrols first";
                Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "certificate_required",
                    detail,
                ))
            }
            // A session outlives its certificate by as long as it holds; a new one does not begin.
            Peer::Host { not_after_s, .. }
                if !even_expired && *not_after_s < self.context.now_s() =>
            {
                let detail = "this certificate has expired: renew it first";
                Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "certificate_expired",
                    detail,
                ))
            }
            Peer::Host { host, serial, .. } => Ok(Caller {
                host: *host,
                serial: serial.clone(),
                address: self.address,
            }),
        }
    }

    fn take(&mut self, route: Route, mut body: RecvStream, respond: SendResponse<Bytes>) {
        let context = Arc::clone(&self.context);
        let address = self.address;
        match route {
            Route::Uplink(caller) => {
                self.work
                    .push(Box::pin(greet(context, caller, body, respond)));
            }
            Route::Directives => self.attach(body, respond),
            Route::Enrol => self.work.push(Box::pin(async move {
                let outcome = match reply::read_body(&mut body).await {
                    Ok(body) => enrol::enrol(&context, address.ip(), &body).await,
                    Err(refusal) => Err(refusal),
                };
                match outcome {
                    Ok(answer @ EnrolResponse::Pending { .. }) => {
                        reply::json(respond, StatusCode::ACCEPTED, &answer);
                    }
                    Ok(answer) => reply::json(respond, StatusCode::OK, &answer),
                    Err(refusal) => refuse(&context, address, respond, &refusal),
                }
                reply::drain(body).await;
                None
            })),
            Route::Renew(caller) => self.work.push(Box::pin(async move {
                let outcome = match reply::read_body(&mut body).await {
                    Ok(body) => enrol::renew(&context, caller.host, &caller.serial, &body).await,
                    Err(refusal) => Err(refusal),
                };
                match outcome {
                    Ok(answer) => reply::json(respond, StatusCode::OK, &answer),
                    Err(refusal) => refuse(&context, address, respond, &refusal),
                }
                reply::drain(body).await;
                None
            })),
        }
    }

    fn attach(&mut self, body: RecvStream, mut respond: SendResponse<Bytes>) {
        let Some(session) = &mut self.session else {
            self.early_directives = Some((body, respond));
            return;
        };
        if let Ok(down) = reply::stream(&mut respond) {
            session.attach(body, down);
        }
    }

    fn open(&mut self, session: Box<Session>) {
        if self.session.is_some() {
            return;
        }
        self.deadline = None;
        self.session = Some(session);
        if let Some((body, respond)) = self.early_directives.take() {
            self.attach(body, respond);
        }
        // What came together with the hello.
        let outcome = self.session.as_mut().map(|session| session.read(&[]));
        self.settle(outcome.unwrap_or(Ok(())));
    }

    fn session_input(&mut self, input: Input) {
        let outcome = self.session.as_mut().map(|session| session.handle(input));
        self.settle(outcome.unwrap_or(Ok(())));
    }

    fn settle(&mut self, outcome: Result<(), End>) {
        if let Err(end) = outcome
            && let Some(mut session) = self.session.take()
        {
            session.finish(&end);
        }
    }

    /// Lets last words leave, then ends the connection.
    async fn say_goodbye(&mut self) {
        self.http.graceful_shutdown();
        let closed = std::future::poll_fn(|task| self.http.poll_closed(task));
        // Whether or not the agent closes its side, the connection ends here.
        drop(tokio::time::timeout(FAREWELL, closed).await);
    }
}

enum Route {
    Uplink(Caller),
    Directives,
    Enrol,
    Renew(Caller),
}

fn refuse(context: &Context, address: SocketAddr, respond: SendResponse<Bytes>, refusal: &Refusal) {
    context.metrics.refuse("identity");
    info!(%address, code = refusal.code, "certificate refused");
    reply::refuse(respond, refusal);
}
