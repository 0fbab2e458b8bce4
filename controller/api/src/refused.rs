//! Requests that are refused for what they are: writes of other sites' pages, writes without the right,
//! bodies beyond their bound or too slow, sessions that never were; and connections that are ended because
//! nothing moves over them. Each is audited, at a bounded rate.
//!
//! The first of each kind within ten minutes is an entry; the rest are counted, and an entry at the end
//! says how many there were. Every account has a share of kinds of its own, so has every network from
//! which somebody signed in, and all other networks have small ones: a flood fills the share of who makes
//! it and hides nobody else's. Beyond a share only the number is kept, with the account's or the
//! network's name. Refused sign-ins are audited apart ([`crate::refusals`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use xiezhi_model::{Actor, AuditEntry};

use crate::attempts::masked;
use crate::peer::address_of;
use crate::problem::RefusedBy;
use crate::state::{AppState, Inner};

const REFUSED: &str = "request.refuse";

/// After it the counts are written down, and the next of each kind is an entry of its own again.
const PERIOD: Duration = Duration::from_secs(600);

/// The code of what an account may do, but not so often.
pub(crate) const TOO_OFTEN: &str = "too_often";

/// The code of a guess at a second factor.
pub(crate) const WRONG_SECOND_CODE: &str = "wrong_second_code";

/// The code of a body that stopped on its way, whatever its request is answered.
const TOO_SLOW: &str = "too_slow";

/// What a refusal is about that is of a connection and of no request.
const CONNECTION: &str = "(connection)";

/// The codes of files beyond an account's share of the places, and of those that gave way to others.
const CROWDING: [&str; 3] = ["too_many_uploads", "too_many_exports", "crowded_out"];

/// Longest path that is written down, in characters.
const MOST_PATH: usize = 200;

/// What is learnt of a request's caller on its way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note(Arc<Mutex<Noted>>);

#[derive(Debug, Clone, Default)]
struct Noted {
    account: Option<String>,
    /// By which token a program asks for it: number and name.
    by_token: Option<String>,
    /// It brought the identifier of a session that is not there.
    is_forged: bool,
    /// The last that was asked of its body is not there yet.
    is_waiting: bool,
    /// It was given up while its body did not come.
    is_slow: bool,
}

impl Note {
    fn locked(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose session it is.
    pub(crate) fn account(extensions: &Extensions, name: &str) {
        if let Some(note) = extensions.get::<Self>() {
            note.is(name);
        }
    }

    /// Whose token it is, and which.
    pub(crate) fn program(extensions: &Extensions, name: &str, token: &str) {
        if let Some(note) = extensions.get::<Self>() {
            note.is(name);
            note.locked().by_token = Some(token.to_owned());
        }
    }

    /// It is given up now: its sender is slow if what is missing is its body.
    pub(crate) fn late(&self) {
        let mut noted = self.locked();
        noted.is_slow = noted.is_waiting;
    }

    /// Whose it is, by a session or a password that is right.
    pub(crate) fn is(&self, name: &str) {
        self.locked().account = Some(name.to_owned());
    }

    /// Nobody's session it is.
    pub(crate) fn forged(extensions: &Extensions) {
        if let Some(note) = extensions.get::<Self>() {
            note.locked().is_forged = true;
        }
    }
}

/// Whose share a refusal counts in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Party {
    /// Somebody with a session.
    Account(String),
    /// A network from which somebody signed in lately.
    Home(IpAddr),
    /// Any other network.
    Stranger(IpAddr),
}

impl Party {
    /// Kinds that are told apart within one period.
    fn most_kinds(&self) -> usize {
        match self {
            Self::Account(_) | Self::Home(_) => 20,
            Self::Stranger(_) => 5,
        }
    }

    /// Parties of this sort that have a share. Sessions and home networks cannot be invented.
    fn most_parties(&self) -> usize {
        match self {
            Self::Account(_) | Self::Home(_) => 1000,
            Self::Stranger(_) => 20,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn actor(&self, address: Option<IpAddr>) -> Actor {
        match self {
            Self::Account(name) => Actor::User(name.clone()),
            Self::Home(network) | Self::Stranger(network) => Actor::Address(match address {
                Some(address) => address.to_string(),
                None => network_text(*network),
            }),
        }
    }
}

/// How a network is written, so that nobody takes it for a machine's address.
fn network_text(network: IpAddr) -> String {
    match network {
        IpAddr::V4(_) => format!("{network}/24"),
        IpAddr::V6(_) => format!("{network}/64"),
    }
}

/// What somebody did, as far as it is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    code: &'static str,
    address: IpAddr,
    /// Method and route.
    what: String,
    /// By which token.
    by_token: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    shares: HashMap<Party, Share>,
    /// What came of parties that have no share.
    others: u64,
    is_open: bool,
}

#[derive(Debug, Default)]
struct Share {
    /// How often each kind came after its first.
    kinds: HashMap<Kind, u64>,
    /// What came of kinds beyond the share.
    others: u64,
}

impl Share {
    /// Whether it is an entry of its own.
    fn note(&mut self, kind: Kind, most: usize) -> bool {
        let has_room = self.kinds.len() < most;
        if let Some(repeats) = self.kinds.get_mut(&kind) {
            *repeats = repeats.saturating_add(1);
        } else if has_room {
            self.kinds.insert(kind, 0);
            return true;
        } else {
            self.others = self.others.saturating_add(1);
        }
        false
    }
}

/// What to do with one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    /// An entry of its own.
    write: bool,
    /// It is the first of a period.
    opened: bool,
}

impl Refused {
    fn locked(&self) -> MutexGuard<'_, Period> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, party: &Party, kind: Kind) -> Verdict {
        let mut period = self.locked();
        let opened = !std::mem::replace(&mut period.is_open, true);
        let is_known = period.shares.contains_key(party);
        let alike = |one: &&Party| one.is_like(party);
        let has_room =
            is_known || period.shares.keys().filter(alike).count() < party.most_parties();
        let write = if has_room {
            let share = period.shares.entry(party.clone()).or_default();
            share.note(kind, party.most_kinds())
        } else {
            period.others = period.others.saturating_add(1);
            false
        };
        Verdict { write, opened }
    }

    fn close(&self) -> Period {
        std::mem::take(&mut *self.locked())
    }
}

/// Looks at each answer on its way out.
pub(crate) async fn watch(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let note = Note::default();
    request.extensions_mut().insert(note.clone());
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(MOST_PATH).collect();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let address = address_of(request.extensions());
    let request = request.map(|body| {
        let note = note.clone();
        Body::new(Watched { body, note })
    });
    let response = next.run(request).await;
    let Some(code) = refused_as(&method, &response, &note) else {
        return response;
    };
    let noted = note.locked().clone();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let kind = Kind {
        code,
        address,
        what: format!("{method} {route}"),
        by_token: noted.by_token,
    };
    if let Some(entry) = take_note(&state.inner, noted.account, &kind) {
        write(&state.inner, entry.with("path", path)).await;
    }
    response
}

/// Notes a connection that was ended for what it did.
pub(crate) fn connection(inner: &Arc<Inner>, code: &'static str, address: IpAddr) {
    let kind = Kind {
        code,
        address: address.to_canonical(),
        what: CONNECTION.to_owned(),
        by_token: None,
    };
    if let Some(entry) = take_note(inner, None, &kind) {
        let inner = Arc::clone(inner);
        tokio::spawn(async move { write(&inner, entry).await });
    }
}

/// Counts a refusal; the entry to write if it is the first of its kind.
fn take_note(inner: &Arc<Inner>, account: Option<String>, kind: &Kind) -> Option<AuditEntry> {
    let party = party_of(inner, account, kind.address);
    let verdict = inner.refused.note(&party, kind.clone());
    if verdict.opened {
        tokio::spawn(sum_up_later(Arc::downgrade(inner)));
    }
    verdict.write.then(|| entry(inner, &party, kind))
}

/// The body of a request, of which is known whether somebody waits for it.
struct Watched {
    body: Body,
    note: Note,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.note.locked().is_waiting = polled.is_pending();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn party_of(inner: &Inner, account: Option<String>, address: IpAddr) -> Party {
    if let Some(name) = account {
        return Party::Account(name);
    }
    let network = masked(address, 24);
    match inner.attempts.is_home(address, inner.clock.now_ms()) {
        true => Party::Home(network),
        false => Party::Stranger(network),
    }
}

/// The word for a refusal that is audited.
fn refused_as(method: &Method, response: &Response, note: &Note) -> Option<&'static str> {
    if note.locked().is_slow {
        return Some(TOO_SLOW);
    }
    let RefusedBy(code) = *response.extensions().get()?;
    let is_write = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match response.status() {
        // Files that come too slowly among them.
        StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT
            if is_write =>
        {
            Some(code)
        }
        // A guess by who has an open session and the password.
        StatusCode::UNPROCESSABLE_ENTITY if code == WRONG_SECOND_CODE => Some(code),
        StatusCode::TOO_MANY_REQUESTS if is_write && code == TOO_OFTEN => Some(code),
        // Who takes so many places that the rest have fewer, or had to give one back.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            if CROWDING.contains(&code) =>
        {
            Some(code)
        }
        StatusCode::UNAUTHORIZED if note.locked().is_forged => Some("unknown_session"),
        _ => None,
    }
}

fn entry(inner: &Inner, party: &Party, kind: &Kind) -> AuditEntry {
    let actor = party.actor(Some(kind.address));
    let entry = AuditEntry::new(inner.clock.now_ms(), actor, REFUSED, &*kind.what)
        .with("code", kind.code)
        .with("address", kind.address.to_string());
    match &kind.by_token {
        None => entry,
        Some(token) => entry.with("by_token", token),
    }
}

async fn write(inner: &Inner, entry: AuditEntry) {
    if let Err(error) = inner.store.append_audit(entry).await {
        let error = crate::problem::chain(&error);
        tracing::warn!(error, "a refused request could not be audited");
    }
}

async fn sum_up_later(inner: Weak<Inner>) {
    tokio::time::sleep(PERIOD).await;
    if let Some(inner) = inner.upgrade() {
        sum_up(&inner).await;
    }
}

/// Writes down how often each kind came after its first.
pub(crate) async fn sum_up(inner: &Inner) {
    let period = inner.refused.close();
    let now_ms = inner.clock.now_ms();
    let several = |actor, number: u64| {
        AuditEntry::new(now_ms, actor, REFUSED, "(several)").with("number", number.to_string())
    };
    for (party, share) in &period.shares {
        let repeated = share.kinds.iter().filter(|(_, repeats)| **repeats > 0);
        for (kind, repeats) in repeated {
            let entry = entry(inner, party, kind).with("repeats", repeats.to_string());
            write(inner, entry).await;
        }
        if share.others > 0 {
            write(inner, several(party.actor(None), share.others)).await;
        }
    }
    if period.others > 0 {
        write(inner, several(Actor::System, period.others)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "unknown_session";

    fn forged(number: u32) -> (Party, Kind) {
        let address = IpAddr::V4(number.into());
        let what = "GET /api/v1/me".to_owned();
        let kind = Kind {
            code: CODE,
            address,
            what,
            by_token: None,
        };
        (Party::Stranger(masked(address, 24)), kind)
    }

    #[test]
    fn the_first_of_each_kind_is_written_and_the_rest_of_a_flood_is_counted_by_network() {
        let refused = Refused::default();
        let note = |number| {
            let (party, kind) = forged(number);
            refused.note(&party, kind)
        };
        let verdicts: Vec<Verdict> = (0..100).map(note).collect();
        let written = verdicts.iter().filter(|verdict| verdict.write).count();
        let opened = verdicts.iter().filter(|verdict| verdict.opened).count();
        assert_eq!((written, opened), (5, 1));
        for _ in 0..1000 {
            assert!(!note(3).write);
        }
        let period = refused.close();
        let (party, kind) = forged(3);
        assert_eq!(period.shares[&party].kinds[&kind], 1000);
        assert_eq!((period.shares[&party].others, period.others), (95, 0));
        assert!(note(3).write, "the next period");
    }

    #[test]
    fn a_flood_from_everywhere_hides_neither_an_account_nor_a_home_network() {
        let refused = Refused::default();
        for network in 0..5000 {
            let (party, kind) = forged(network << 8);
            refused.note(&party, kind);
        }
        let (_, kind) = forged(1);
        for name in ["wang", "li"] {
            // What each tries is told apart.
            for route in ["/api/v1/users", "/api/v1/acts/{id}/consent"] {
                let what = format!("POST {route}");
                let kind = Kind {
                    what,
                    ..kind.clone()
                };
                let party = Party::Account(name.to_owned());
                assert!(refused.note(&party, kind).write, "{name} {route}");
            }
        }
        let home = Party::Home(masked(kind.address, 24));
        assert!(refused.note(&home, kind.clone()).write);
        let period = refused.close();
        assert_eq!((period.shares.len(), period.others), (20 + 3, 4980));
        for number in 0..5000 {
            let what = number.to_string();
            let kind = Kind {
                what,
                ..kind.clone()
            };
            refused.note(&Party::Account("wang".to_owned()), kind);
        }
        assert!(refused.note(&Party::Account("li".to_owned()), kind).write);
        let wang = &refused.close().shares[&Party::Account("wang".to_owned())];
        assert_eq!((wang.kinds.len(), wang.others), (20, 4980));
    }

    #[test]
    fn a_network_is_not_written_as_a_machine() {
        let six: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let party = Party::Stranger(masked(six, 24));
        assert_eq!(party.actor(None).to_string(), "address:2001:db8:1:2::/64");
        assert_eq!(party.actor(Some(six)).to_string(), format!("address:{six}"));
    }
}
