//! The one socket from which all devices are asked, and a session with one of them.
//!
//! One socket for all: a socket per device would cost a file descriptor each, and with the library's
//! `SO_REUSEADDR` Linux may give two of them one port, so that a device's answers go to the other.
//! Answers count only if they come from the device's own address and port, with the request's number
//! and the community, or signed.
//!
//! Nothing but this module and its conversions knows the SNMP library.

mod quick;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use async_snmp::{
    Candidate, Client, ClientBuilder, EngineCache, Error, FixedCardinalityChunkStream,
    ReceiveLimits, RequestRegistration, Retry, Transport, UdpHandle, UdpTransport,
};
use bytes::Bytes;

use crate::convert;
use crate::credentials::Login;
use crate::message::{AskError, Kind, Request, Response};
use crate::reports;
use quick::Quick;

/// Receive buffer of the socket, bytes: the answers that may wait while other work is done.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Largest answer that an SNMPv3 device is told to send, bytes: what fits into a datagram.
const LARGEST_ANSWER: usize = 65_507;

/// Objects that the library may put into one request: the planner decides, not the library.
const MOST_OBJECTS: usize = 1024;

/// Something that answers requests: a device, or in tests a program that plays one.
pub trait Session {
    /// Sends `request` once and waits for its answer.
    fn request(
        &mut self,
        request: &Request,
    ) -> impl Future<Output = Result<Response, AskError>> + Send;

    /// What went over the wire in this session so far.
    fn counts(&self) -> Counts;
}

/// What went over the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams sent.
    pub requests: u64,
    /// Their bytes, without the headers of UDP and IP.
    pub bytes_out: u64,
    /// Bytes of the answers.
    pub bytes_in: u64,
}

/// Datagrams that were answers to nothing, since the socket was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strays {
    /// Late, twice, from elsewhere, with another number or another community.
    pub discarded: u64,
    /// Not SNMP at all.
    pub malformed: u64,
}

/// The socket, and what is known of the SNMPv3 devices behind it. Cheap to clone.
#[derive(Clone)]
pub struct Socket {
    v4: UdpTransport,
    v6: Option<UdpTransport>,
    engines: Arc<EngineCache>,
}

impl Socket {
    /// Opens it, for IPv4 and, where this host has it, IPv6.
    ///
    /// # Errors
    /// If no IPv4 socket can be opened.
    pub async fn open() -> Result<Self, AskError> {
        Ok(Self {
            v4: bind(Ipv4Addr::UNSPECIFIED.into()).await?,
            v6: bind(Ipv6Addr::UNSPECIFIED.into()).await.ok(),
            engines: Arc::new(EngineCache::new()),
        })
    }

    /// A session with the device at `address`; a request waits for `timeout`.
    ///
    /// # Errors
    /// If this host cannot send to such an address.
    pub fn session(
        &self,
        address: SocketAddr,
        login: &Login,
        timeout: Duration,
    ) -> Result<Snmp, AskError> {
        let transport = match (address, &self.v6) {
            (SocketAddr::V4(_), _) => &self.v4,
            (SocketAddr::V6(_), Some(v6)) => v6,
            (SocketAddr::V6(_), None) => {
                return Err(AskError::Setting("this host has no IPv6".to_owned()));
            }
        };
        let handle = transport
            .handle(address)
            .map_err(|error| convert::error(&error))?;
        let counted = Counted {
            handle: handle.strict_source(true),
            totals: Arc::default(),
        };
        let totals = Arc::clone(&counted.totals);
        let quick = login.community().filter(|_| login.has_bulk());
        let quick = quick.map(|community| Quick {
            transport: counted.clone(),
            community: community.clone(),
            timeout,
        });
        let client = ClientBuilder::new(login.auth())
            .request_timeout(timeout)
            // The planner asks again, and for less.
            .retry(Retry::none())
            .max_oids_per_request(MOST_OBJECTS)
            .engine_cache(Arc::clone(&self.engines))
            .build_with_transport(counted)
            .map_err(|error| convert::error(&error))?;
        Ok(Snmp {
            client,
            quick,
            totals,
        })
    }

    /// Forgets the SNMPv3 engine at `address`: for a device that was replaced, or whose count of
    /// restarts was reset, which looks like somebody playing back old messages.
    pub fn forget(&self, address: SocketAddr) {
        self.engines.remove(&address);
    }

    /// Datagrams that were answers to nothing.
    #[must_use]
    pub fn strays(&self) -> Strays {
        let sockets = std::iter::once(&self.v4).chain(&self.v6);
        sockets
            .map(UdpTransport::stats)
            .fold(Strays::default(), |sum, stats| Strays {
                discarded: sum.discarded + stats.discarded_datagrams,
                malformed: sum.malformed + stats.malformed_datagrams,
            })
    }
}

/// Binds to a port that nobody has: the library sets `SO_REUSEADDR`, with which the kernel would
/// give a port that somebody has.
async fn bind(address: IpAddr) -> Result<UdpTransport, AskError> {
    let unreachable = |error: std::io::Error| AskError::Unreachable(error.kind());
    let free = std::net::UdpSocket::bind((address, 0))
        .and_then(|socket| socket.local_addr())
        .map_err(unreachable)?;
    UdpTransport::builder()
        .bind(free.to_string())
        .recv_buffer_size(RECEIVE_BUFFER)
        .receive_capacity(LARGEST_ANSWER)
        .warn_on_source_mismatch(false)
        .build()
        .await
        .map_err(|error| convert::error(&error))
}

/// A session with one device.
pub struct Snmp {
    client: Client<Counted>,
    /// Of SNMPv2c.
    quick: Option<Quick>,
    totals: Arc<Totals>,
}

impl Snmp {
    async fn ask(&self, request: &Request) -> Result<Response, Box<Error>> {
        let oids: Vec<async_snmp::Oid> = request.oids.iter().map(convert::library_oid).collect();
        match request.kind {
            Kind::Get => all_of(self.client.get_many_chunks(&oids)?).await,
            Kind::Next => all_of(self.client.get_next_many_chunks(&oids)?).await,
            Kind::Bulk { repetitions } => {
                let told = self
                    .client
                    .get_bulk_with_metadata(&oids, 0, repetitions)
                    .await?;
                Ok(convert::response(told.varbinds))
            }
        }
    }
}

impl Session for Snmp {
    async fn request(&mut self, request: &Request) -> Result<Response, AskError> {
        if let (Some(quick), Kind::Bulk { repetitions }) = (&self.quick, request.kind) {
            return quick.bulk(request, repetitions).await;
        }
        self.totals.report.store(0, Ordering::Relaxed);
        let mut told = self.ask(request).await;
        if self.totals.report.load(Ordering::Relaxed) == reports::UNKNOWN_ENGINE && told.is_err() {
            // The device was replaced or set up anew; its new engine proves itself by the user's keys.
            tracing::info!(device = %self.client.peer_addr(), "SNMPv3 engine changed");
            self.totals.report.store(0, Ordering::Relaxed);
            told = match self.client.rediscover_engine().await {
                Ok(()) => self.ask(request).await,
                Err(error) => Err(error),
            };
        }
        let report = self.totals.report.load(Ordering::Relaxed);
        told.map_err(|error| match convert::error(&error) {
            AskError::Silent => reports::meaning(report).map_or(AskError::Silent, AskError::Login),
            error => error,
        })
    }

    fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: get(&self.totals.requests),
            bytes_out: get(&self.totals.bytes_out),
            bytes_in: get(&self.totals.bytes_in),
        }
    }
}

/// The library halves a request that is too big by itself; here all parts come together again.
async fn all_of(mut parts: FixedCardinalityChunkStream<Counted>) -> Result<Response, Box<Error>> {
    let mut response = Response::default();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| error.source)?;
        convert::add(&mut response, part.response.varbinds);
    }
    Ok(response)
}

#[derive(Default)]
struct Totals {
    requests: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    /// The last report among the answers that were refused; 0 for none.
    report: AtomicU8,
}

/// The library's transport, counting; it also looks at the answers that the library refuses.
#[derive(Clone)]
struct Counted {
    handle: UdpHandle,
    totals: Arc<Totals>,
}

impl Counted {
    fn count(&self, data: &[u8]) {
        self.totals.requests.fetch_add(1, Ordering::Relaxed);
        self.totals
            .bytes_out
            .fetch_add(data.len() as u64, Ordering::Relaxed);
    }
}

impl Transport for Counted {
    async fn send(&self, data: &[u8]) -> async_snmp::Result<()> {
        self.count(data);
        self.handle.send(data).await
    }

    async fn request_with<T, F>(
        &self,
        data: &[u8],
        registration: RequestRegistration,
        mut validate: F,
    ) -> async_snmp::Result<T>
    where
        T: Send,
        F: FnMut(Bytes, SocketAddr) -> async_snmp::Result<Candidate<T>> + Send,
    {
        self.count(data);
        let totals = &self.totals;
        let counting = move |answer: Bytes, source| {
            totals
                .bytes_in
                .fetch_add(answer.len() as u64, Ordering::Relaxed);
            let verdict = validate(answer.clone(), source);
            if matches!(verdict, Ok(Candidate::Reject)) {
                totals
                    .report
                    .fetch_max(reports::in_answer(&answer), Ordering::Relaxed);
            }
            verdict
        };
        self.handle.request_with(data, registration, counting).await
    }

    fn peer_addr(&self) -> SocketAddr {
        self.handle.peer_addr()
    }

    fn local_addr(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    fn is_reliable(&self) -> bool {
        false
    }

    fn receive_limits(&self) -> ReceiveLimits {
        self.handle.receive_limits()
    }

    fn send_capacity(&self) -> usize {
        self.handle.send_capacity()
    }
}
