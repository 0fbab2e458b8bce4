//! Requests that are refused for what they are: writes of other sites' pages, writes without the right,
//! bodies beyond their bound, sessions that never were. Each is audited, at a bounded rate.
//!
//! The first of each kind, address and account within ten minutes is an entry; the rest are counted, and
//! an entry at the end says how many there were. Kinds beyond [`MOST_KINDS`] share one count. So a flood
//! neither fills the chain nor goes unseen. Refused sign-ins are audited apart ([`crate::refusals`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

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

/// Kinds that are told apart within one period.
const MOST_KINDS: usize = 60;

/// What is learnt of a request's caller on its way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note(Arc<Mutex<Noted>>);

#[derive(Debug, Clone, Default)]
struct Noted {
    account: Option<String>,
    /// It brought the identifier of a session that is not there.
    is_forged: bool,
}

impl Note {
    fn locked(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose session it is.
    pub(crate) fn account(extensions: &Extensions, name: &str) {
        if let Some(note) = extensions.get::<Self>() {
            note.locked().account = Some(name.to_owned());
        }
    }

    /// Nobody's session it is.
    pub(crate) fn forged(extensions: &Extensions) {
        if let Some(note) = extensions.get::<Self>() {
            note.locked().is_forged = true;
        }
    }
}

/// Who did what, as far as it is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    code: &'static str,
    address: IpAddr,
    account: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    /// How often each kind came after its first.
    kinds: HashMap<Kind, u64>,
    /// What came of kinds beyond the bound.
    others: u64,
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

    fn note(&self, kind: Kind) -> Verdict {
        let mut period = self.locked();
        let opened = period.kinds.is_empty();
        let has_room = period.kinds.len() < MOST_KINDS;
        let mut write = false;
        if let Some(repeats) = period.kinds.get_mut(&kind) {
            *repeats = repeats.saturating_add(1);
        } else if has_room {
            period.kinds.insert(kind, 0);
            write = true;
        } else {
            period.others = period.others.saturating_add(1);
        }
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
    let path = request.extensions().get::<MatchedPath>().cloned();
    let address = address_of(request.extensions());
    let response = next.run(request).await;
    let Some(code) = refused_as(&method, &response, &note) else {
        return response;
    };
    let account = note.locked().account.clone();
    let kind = Kind {
        code,
        address: masked(address, 32),
        account,
    };
    let verdict = state.inner.refused.note(kind.clone());
    if verdict.opened {
        tokio::spawn(sum_up_later(Arc::downgrade(&state.inner)));
    }
    if verdict.write {
        let path = path.as_ref().map_or("", MatchedPath::as_str);
        let subject = format!("{method} {path}");
        write(&state.inner, entry(&state.inner, &kind, &subject)).await;
    }
    response
}

/// The word for a refusal that is audited.
fn refused_as(method: &Method, response: &Response, note: &Note) -> Option<&'static str> {
    let RefusedBy(code) = *response.extensions().get()?;
    let is_write = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match response.status() {
        // Files that come too slowly among them.
        StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT
            if is_write =>
        {
            Some(code)
        }
        StatusCode::UNAUTHORIZED if note.locked().is_forged => Some("unknown_session"),
        _ => None,
    }
}

fn entry(inner: &Inner, kind: &Kind, subject: &str) -> AuditEntry {
    let address = kind.address.to_string();
    let actor = match &kind.account {
        Some(name) => Actor::User(name.clone()),
        None => Actor::Address(address.clone()),
    };
    AuditEntry::new(inner.clock.now_ms(), actor, REFUSED, subject)
        .with("code", kind.code)
        .with("address", address)
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
    let repeated = period.kinds.iter().filter(|(_, repeats)| **repeats > 0);
    for (kind, repeats) in repeated {
        let entry = entry(inner, kind, "").with("repeats", repeats.to_string());
        write(inner, entry).await;
    }
    if period.others > 0 {
        let entry = AuditEntry::new(inner.clock.now_ms(), Actor::System, REFUSED, "(several)")
            .with("number", period.others.to_string());
        write(inner, entry).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_written_and_a_flood_of_kinds_is_one_count() {
        let refused = Refused::default();
        let kind = |number: u32| Kind {
            code: "foreign_request",
            address: IpAddr::V4(number.into()),
            account: None,
        };
        let verdicts: Vec<Verdict> = (0..100).map(|number| refused.note(kind(number))).collect();
        let written = verdicts.iter().filter(|verdict| verdict.write).count();
        let opened = verdicts.iter().filter(|verdict| verdict.opened).count();
        assert_eq!((written, opened), (MOST_KINDS, 1));
        for _ in 0..1000 {
            assert!(!refused.note(kind(3)).write);
        }
        let period = refused.close();
        assert_eq!(period.kinds[&kind(3)], 1000);
        assert_eq!(period.others, 40);
        assert!(refused.note(kind(3)).write, "the next period");
    }
}
