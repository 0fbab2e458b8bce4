//! Searching events, newest first, page by page.

use std::fmt;
use std::str::FromStr;

use xiezhi_model::{EventStream, HostId, Severity, SiteId, StoredEvent};

use crate::{Store, StoreError};

/// What to look for. All conditions must hold; the default asks for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// This site and all below it.
    pub site: Option<SiteId>,
    /// One host.
    pub host: Option<HostId>,
    /// One stream.
    pub stream: Option<EventStream>,
    /// Any of these kinds; empty means all.
    pub kinds: Vec<String>,
    /// At least this severe.
    pub least_severity: Option<Severity>,
    /// Text that occurs in the message or a field, whatever its (ASCII) case.
    pub text: Option<String>,
    /// Not before this time of the host's clock, Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Before this time of the host's clock, Unix milliseconds.
    pub to_ms: Option<i64>,
    /// Go on after the page that returned this.
    pub after: Option<EventCursor>,
    /// Events per page, at most 1,000; 0 means 100.
    pub limit: u32,
}

/// Where a page ended. Its text is for addresses: `TIME-ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCursor {
    /// Time of the page's last event, Unix milliseconds.
    pub time_ms: i64,
    /// Number of the page's last event.
    pub id: i64,
}

impl fmt::Display for EventCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.time_ms, self.id)
    }
}

/// A cursor's text is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a page's end: start from the first page again")]
pub struct CursorError;

impl FromStr for EventCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (time_ms, id) = text.split_once('_').ok_or(CursorError)?;
        let number = |text: &str| text.parse().map_err(|_| CursorError);
        Ok(Self { time_ms: number(time_ms)?, id: number(id)? })
    }
}

/// One page of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<StoredEvent>,
    /// Where to go on; `None` on the last page.
    pub next: Option<EventCursor>,
}

impl Store {
    /// One page of the events that match, newest first by the host's clock.
    pub async fn search_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let _ = query;
        Err(StoreError::Unfinished)
    }
}
