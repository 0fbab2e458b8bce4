//! From the request for a session to an open one.
//!
//! A refusal here is an HTTP status with a problem body, before anything else was sent down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::StatusCode;
use tokio::sync::mpsc;
use tracing::{debug, warn};
use xiezhi_identity::tokens;
use xiezhi_model::HostId;
use xiezhi_protocol::message::{Bandwidth, Hello, Welcome};
use xiezhi_protocol::record::{self, Kind};
use xiezhi_protocol::{OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION};
use xiezhi_store::{SessionOutcome, SessionRequest};

use crate::bandwidth;
use crate::context::Context;
use crate::enrol::{check_certificate, revoked, unavailable};
use crate::fleet::{HostEntry, SessionHandle, StatusUpdate};
use crate::inbox::{Inbox, Next};
use crate::mail::{CloseReason, Mail};
use crate::problem::Refusal;
use crate::reply;
use crate::session::{End, Session};
use crate::shared::SessionShared;

/// The agent sends its hello together with the request.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Shortest and longest time between reports that presence is judged by.
const INTERVALS_MS: (u32, u32) = (1_000, 3_600_000);

/// Whose session it is to be.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) host: HostId,
    pub(crate) serial: String,
    pub(crate) address: SocketAddr,
}

/// Opens the session, or refuses it.
pub(crate) async fn greet(
    context: Arc<Context>,
    caller: Caller,
    body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> Option<Box<Session>> {
    let mut body = Some(body);
    match open(context.clone(), &caller, &mut body, &mut respond).await {
        Ok(session) => session,
        Err(refusal) => {
            context.metrics.refuse("hello");
            warn!(host = %caller.host, address = %caller.address, code = refusal.code, "session refused");
            reply::refuse(respond, &refusal);
            if let Some(body) = body {
                reply::drain(body).await;
            }
            None
        }
    }
}

async fn open(
    context: Arc<Context>,
    caller: &Caller,
    uplink: &mut Option<RecvStream>,
    respond: &mut SendResponse<Bytes>,
) -> Result<Option<Box<Session>>, Refusal> {
    let revocation = context.last_revocation();
    check_certificate(&context, caller.host, &caller.serial).await?;
    let Some(body) = uplink else { return Ok(None) };
    let (hello, inbox) = read_hello(body).await?;
    if hello.protocol < OLDEST_PROTOCOL_VERSION {
        return Err(too_old(&hello));
    }
    let entry = entry_of(&context, caller.host).await?;
    let id = tokens::identifier().map_err(|error| unavailable(&error))?;
    let epoch = begin(&context, caller.host, &id, &hello, &entry).await?;
    let own = own_bandwidth(&context, &entry).await;
    let (Ok(mut down), Some(body)) = (reply::stream(respond), uplink.take()) else {
        return Ok(None);
    };
    let (sender, mail) = mpsc::unbounded_channel();
    let handle = SessionHandle {
        id: id.clone(),
        serial: caller.serial.clone(),
        mail: sender.clone(),
    };
    if let Some(before) = entry.open(handle, &hello, caller.address.to_string(), context.now_ms()) {
        // The session before may have ended by itself.
        drop(before.mail.send(Mail::Close(CloseReason::Superseded)));
    }
    let shared = Arc::new(SessionShared::new(id.clone(), entry, epoch, sender));
    if context.last_revocation() != revocation {
        // Whoever was revoked meanwhile had no session that could be closed.
        check_again(&context, caller, &shared).await;
    }
    // After the session can be reached, so that no change falls between.
    // No budget is told as no limit: one that was taken away while the agent was not here must not
    // stay with it. What cannot be read is not told, and the agent keeps what it has.
    let site_budget = || context.bandwidth.of_site(shared.entry.site());
    let bandwidth = own.map(|own| own.or_else(site_budget).unwrap_or_default());
    let welcome = Welcome {
        protocol: hello.protocol.min(PROTOCOL_VERSION),
        session: id,
        epoch,
        time_ms: context.now_ms(),
        version: context.options.version.clone(),
        bandwidth,
    };
    if send(&mut down, &welcome).is_err() {
        shared.entry.close(&shared.id);
        return Ok(None);
    }
    debug!(host = %caller.host, address = %caller.address, epoch, "session opened");
    let mut session = Session::new(
        Arc::clone(&context),
        Arc::clone(&shared),
        body,
        inbox,
        down,
        mail,
    );
    if let Err(end) = session.report_gaps(&hello.spool) {
        session.finish(&end);
        return Ok(None);
    }
    shared.entry.status(StatusUpdate {
        skew_ms: hello.clock_ms.saturating_sub(context.now_ms()),
        spool: hello.spool,
        footprint: None,
        certificate_expires_s: hello.certificate_expires_s,
    });
    Ok(Some(Box::new(session)))
}

/// Reads records until the hello, and keeps what came behind it.
async fn read_hello(body: &mut RecvStream) -> Result<(Hello, Inbox), Refusal> {
    let mut inbox = Inbox::default();
    let mut hello = None;
    let reading = async {
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| Refusal::malformed(error.to_string()))?;
            inbox
                .take(&chunk, |kind, payload| {
                    if kind != Kind::Hello as u8 {
                        return Err(End::Protocol("the first record is no hello"));
                    }
                    hello = Some(serde_json::from_slice::<Hello>(payload));
                    Ok(Next::Wait)
                })
                .map_err(|end| Refusal::malformed(describe(&end)))?;
            // Fails only on a stream that is over; the next read says so.
            drop(body.flow_control().release_capacity(chunk.len()));
            if let Some(hello) = hello.take() {
                return hello.map_err(|error| Refusal::malformed(format!("hello: {error}")));
            }
        }
        Err(Refusal::malformed("the stream ended before the hello"))
    };
    let hello = tokio::time::timeout(HELLO_TIMEOUT, reading)
        .await
        .map_err(|_| Refusal::malformed("no hello came"))??;
    Ok((bounded(hello), inbox))
}

fn describe(end: &End) -> String {
    match end {
        End::Unreadable(error) => error.to_string(),
        End::Protocol(what) => (*what).to_owned(),
        End::Gone | End::Closed(_) => String::new(),
    }
}

/// The hello with texts of bearable length and an interval that presence can be judged by.
fn bounded(mut hello: Hello) -> Hello {
    let cut = |text: &mut String, most: usize| {
        if text.len() > most || text.chars().any(char::is_control) {
            *text = text
                .chars()
                .filter(|letter| !letter.is_control())
                .take(most / 4)
                .collect();
        }
    };
    cut(&mut hello.hostname, 253);
    cut(&mut hello.version, 64);
    cut(&mut hello.policy_root, 128);
    cut(&mut hello.previous_session, 128);
    hello.interval_ms = hello.interval_ms.clamp(INTERVALS_MS.0, INTERVALS_MS.1);
    hello
}

fn too_old(hello: &Hello) -> Refusal {
    let spoken = hello.protocol;
    let detail = format!(
        "protocol {spoken} is no longer served, {OLDEST_PROTOCOL_VERSION} to {PROTOCOL_VERSION} \
         are: upgrade the agent"
    );
    Refusal::new(StatusCode::UPGRADE_REQUIRED, "protocol_unsupported", detail)
}

async fn entry_of(context: &Context, host: HostId) -> Result<Arc<HostEntry>, Refusal> {
    if let Some(entry) = context.fleet.entry(host) {
        return Ok(entry);
    }
    // Enrolled through another process, or moments ago.
    let known = context
        .store
        .host(host)
        .await
        .map_err(|error| unavailable(&error))?;
    let known = known.ok_or_else(unknown_host)?;
    context.fleet.refresh(&known);
    context.fleet.entry(host).ok_or_else(unknown_host)
}

fn unknown_host() -> Refusal {
    let detail = "this host is not known here: enrol it again";
    Refusal::new(StatusCode::FORBIDDEN, "host_unknown", detail)
}

/// Begins the session in the store; yields its epoch.
async fn begin(
    context: &Context,
    host: HostId,
    session: &str,
    hello: &Hello,
    entry: &HostEntry,
) -> Result<u64, Refusal> {
    let request = SessionRequest {
        host,
        session: session.to_owned(),
        previous_session: hello.previous_session.clone(),
        spool_epoch: hello.epoch,
        hostname: hello.hostname.clone(),
        version: hello.version.clone(),
        policy_root: hello.policy_root.clone(),
        now_ms: context.now_ms(),
    };
    match context.desk.ask(request).await {
        Some(SessionOutcome::Started { epoch, conflict }) => {
            if let Some(conflict) = conflict {
                warn!(%host, how = conflict.word(), "identity is rolled back or cloned");
                entry.identity_conflict(context.now_ms());
            }
            Ok(epoch)
        }
        Some(SessionOutcome::Revoked) => Err(revoked()),
        Some(SessionOutcome::UnknownHost) => Err(unknown_host()),
        None => Err(Refusal::unavailable()),
    }
}

async fn check_again(context: &Context, caller: &Caller, shared: &SessionShared) {
    let certificate = check_certificate(context, caller.host, &caller.serial).await;
    let host = context.store.host(caller.host).await;
    let stands = host.is_ok_and(|host| host.is_some_and(|host| host.revoked_ms.is_none()));
    if certificate.is_err() || !stands {
        shared
            .entry
            .close_serial(&caller.serial, CloseReason::Revoked);
    }
}

/// A session without its budget is better than none: the agent keeps the one that it has.
/// The host's own budget if it has one; `None` if that cannot be told now.
async fn own_bandwidth(context: &Context, entry: &HostEntry) -> Option<Option<Bandwidth>> {
    let (store, now_ms) = (&context.store, context.now_ms());
    let budget = bandwidth::of_host_alone(store, entry.id(), now_ms).await;
    budget
        .inspect_err(|failure| {
            let error: &dyn std::error::Error = failure;
            warn!(error, host = %entry.id(), "a bandwidth budget cannot be read");
        })
        .ok()
}

fn send(down: &mut SendStream<Bytes>, welcome: &Welcome) -> Result<(), h2::Error> {
    let mut bytes = Vec::new();
    let payload = serde_json::to_vec(welcome).unwrap_or_default();
    record::write(&mut bytes, Kind::Welcome, &payload);
    down.send_data(Bytes::from(bytes), false)
}
