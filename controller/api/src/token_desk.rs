//! Looks at the API tokens that programs present, so that guessing is neither silent nor free.
//!
//! An address that presented wrong tokens waits, up to a minute, and only tokens that were good
//! before are looked at meanwhile: behind one address (a proxy, a Grafana with many data sources) a
//! forgotten dashboard does not blind the others. Refusals are counted, and one audit entry an hour
//! names the address.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use prometheus::{IntCounterVec, Opts, Registry};
use xiezhi_identity::tokens;
use xiezhi_model::{Actor, ApiRight, ApiToken, AuditEntry};
use xiezhi_store::StoreError;

use crate::attempts::{Attempt, origin};
use crate::problem::{Problem, chain};
use crate::resources::prometheus::Refused;
use crate::state::AppState;

/// Good tokens remembered; there are never so many.
const MOST_GOOD: usize = 10_000;

/// How often the use of a token is written down.
const TOUCH_MS: i64 = 60_000;

/// What the desk counts and remembers.
#[derive(Debug)]
pub(crate) struct TokenDesk {
    refused: IntCounterVec,
    /// Hashes of tokens that were good when last seen.
    good: Mutex<HashSet<String>>,
    /// When the use of each token was last written down, Unix milliseconds.
    used: Mutex<HashMap<i64, i64>>,
}

impl TokenDesk {
    /// # Errors
    /// Another interface counts there already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let name = "xiezhi_api_tokens_refused_total";
        let help = "Requests with an API token that were refused, by reason.";
        let refused = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            refused,
            good: Mutex::default(),
            used: Mutex::default(),
        })
    }

    /// `reason` must be a word of a closed set.
    fn count(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    fn good(&self) -> MutexGuard<'_, HashSet<String>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to write down that a token is used.
    fn is_due(&self, token: i64, now_ms: i64) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let last = used.get(&token).copied();
        // A clock that was set back must not hide the use.
        if last.is_some_and(|last| (last..last.saturating_add(TOUCH_MS)).contains(&now_ms)) {
            return false;
        }
        if used.len() >= MOST_GOOD {
            used.clear();
        }
        used.insert(token, now_ms);
        true
    }

    fn remember(&self, hash: &str) {
        let mut good = self.good();
        if good.contains(hash) {
            return;
        }
        if good.len() >= MOST_GOOD {
            good.clear();
        }
        good.insert(hash.to_owned());
    }
}

/// Why a token is not taken.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// Nobody has it, or it has ended.
    Unknown,
    /// It is for something else.
    Right { token: i64, right: ApiRight },
    /// Too many wrong ones came from there; seconds until the next look.
    Throttled(u64),
    /// The database.
    Store(StoreError),
}

impl Unfit {
    fn told(&self) -> (StatusCode, String) {
        match self {
            Self::Unknown => {
                let detail = "the API token is unknown, expired or withdrawn";
                (StatusCode::UNAUTHORIZED, detail.to_owned())
            }
            Self::Right { token, right } => {
                let detail = format!(
                    "API token {token} has the right {} and opens nothing else",
                    right.word()
                );
                (StatusCode::FORBIDDEN, detail)
            }
            Self::Throttled(wait_s) => {
                let detail = format!(
                    "too many wrong API tokens came from this address: correct the token and try \
                     again in {wait_s} s"
                );
                (StatusCode::TOO_MANY_REQUESTS, detail)
            }
            Self::Store(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        let (status, detail) = unfit.told();
        match unfit {
            Unfit::Unknown => Self::new(status, "unauthorized", detail),
            Unfit::Right { .. } => Self::new(status, "forbidden", detail),
            Unfit::Throttled(wait_s) => {
                Self::new(status, "unavailable", detail).retry_after(wait_s)
            }
            Unfit::Store(error) => error.into(),
        }
    }
}

impl From<Unfit> for Problem {
    fn from(unfit: Unfit) -> Self {
        let (status, detail) = unfit.told();
        match unfit {
            Unfit::Unknown => Self::new(status, "unknown_token", detail),
            Unfit::Right { .. } => Self::new(status, "wrong_token_right", detail),
            Unfit::Throttled(wait_s) => {
                Self::new(status, "token_throttled", detail).retry_after(wait_s)
            }
            Unfit::Store(error) => error.into(),
        }
    }
}

/// The token behind this secret, if it has one of these rights now.
pub(crate) async fn valid(
    state: &AppState,
    secret: &str,
    rights: &[ApiRight],
    address: IpAddr,
) -> Result<ApiToken, Unfit> {
    let desk = &state.inner.token_desk;
    let hash = tokens::hash_api_token(secret).map(|hash| hash.to_string());
    let known = hash.as_ref().is_some_and(|hash| desk.good().contains(hash));
    // A token that was good before is no guess.
    let attempt = if known {
        None
    } else {
        Some(begin(state, address)?)
    };
    let found = by_hash(state, hash.as_deref()).await;
    let found = found.map_err(Unfit::Store)?;
    let ended = match found {
        Some(token) if token.is_valid(state.now_ms()) => Ok(token),
        other => Err(other),
    };
    let token = match ended {
        Ok(token) => token,
        Err(ended) => {
            // It was withdrawn or has expired: from now on it counts like any other.
            if let Some(hash) = &hash {
                desk.good().remove(hash);
            }
            match ended {
                Some(token) => refuse_ended(state, &token, address).await,
                None => refuse(state, address).await,
            }
            return Err(Unfit::Unknown);
        }
    };
    if let Some(attempt) = attempt {
        state.inner.attempts.take_back(attempt);
    }
    if let Some(hash) = &hash {
        desk.remember(hash);
    }
    if !rights.contains(&token.right) {
        desk.count("right");
        return Err(Unfit::Right {
            token: token.id,
            right: token.right,
        });
    }
    Ok(token)
}

/// The token behind this digest, if it is valid now.
pub(crate) async fn find(
    state: &AppState,
    hash: Option<&str>,
) -> Result<Option<ApiToken>, StoreError> {
    let found = by_hash(state, hash).await?;
    Ok(found.filter(|token| token.is_valid(state.now_ms())))
}

/// The token behind this digest, good or not.
async fn by_hash(state: &AppState, hash: Option<&str>) -> Result<Option<ApiToken>, StoreError> {
    match hash {
        Some(hash) => state.inner.store.api_token_by_hash(hash).await,
        None => Ok(None),
    }
}

/// Writes down that a program came with a token that was good: to the minute, which is what pages show.
pub(crate) async fn used(state: &AppState, token: &ApiToken, address: IpAddr) {
    let now_ms = state.now_ms();
    if !state.inner.token_desk.is_due(token.id, now_ms) {
        return;
    }
    let from = address.to_string();
    let written = state.inner.store.touch_api_token(token.id, now_ms, &from);
    if let Err(error) = written.await {
        let error = chain(&error);
        tracing::warn!(error, "the use of an API token was not written down");
    }
}

/// Lets an attempt in; it counts as failed until the token has proved good.
fn begin(state: &AppState, address: IpAddr) -> Result<Attempt, Unfit> {
    let begun = state.inner.attempts.begin_token(address, state.now_ms());
    begun.map_err(|wait_ms| {
        state.inner.token_desk.count("throttled");
        let wait_s = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000);
        Unfit::Throttled(wait_s)
    })
}

/// Somebody came with what nobody has.
async fn refuse(state: &AppState, address: IpAddr) {
    state.inner.token_desk.count("unknown");
    tell(state, address, origin(address), |entry| entry).await;
}

/// A program came with a token that was good once: it is named, because whoever withdrew it wants to know
/// that somebody still uses it, and from where.
pub(crate) async fn refuse_ended(state: &AppState, token: &ApiToken, address: IpAddr) {
    state.inner.token_desk.count("ended");
    let reason = match token.revoked_ms {
        Some(_) => "token_revoked",
        None if !token.is_valid(state.now_ms()) => "token_expired",
        None => "token_void",
    };
    let subject = format!("api-token:{}", token.id);
    let named = |entry: AuditEntry| {
        let entry = entry.with("address", address.to_string());
        entry.with("name", &*token.name).with("reason", reason)
    };
    tell(state, address, subject, named).await;
}

/// One entry an hour for each subject; the rest are counted.
async fn tell(
    state: &AppState,
    address: IpAddr,
    subject: String,
    with: impl FnOnce(AuditEntry) -> AuditEntry,
) {
    let actor = Actor::Address(address.to_string());
    let entry = with(AuditEntry::new(
        state.now_ms(),
        actor,
        "api_token.refuse",
        subject,
    ));
    if let Err(error) = state.inner.store.append_repeated_audit(&entry).await {
        let error = chain(&error);
        tracing::warn!(error, "the refusal of an API token cannot be audited");
    }
}
