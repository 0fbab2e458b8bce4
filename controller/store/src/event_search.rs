//! Searching events, newest first, page by page.

use std::fmt;
use std::str::FromStr;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use xiezhi_model::{EventStream, HostId, Scope, Severity, Signature, SiteId, StoredEvent};

use crate::{Store, StoreError};
use crate::{reach, row};

/// Events per page where the query does not say.
const USUAL_PAGE: u32 = 100;

/// Most events per page.
const LARGEST_PAGE: u32 = 1000;

/// Up to so many hosts are looked up one by one; for more, walking back in time finds a page faster.
const FEW_HOSTS: i64 = 32;

/// What to look for. All conditions must hold; the default asks for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// This site and all below it.
    pub site: Option<SiteId>,
    /// One host.
    pub host: Option<HostId>,
    /// About this device of a host, by its name.
    pub device: Option<String>,
    /// One stream.
    pub stream: Option<EventStream>,
    /// Any of these kinds; empty means all.
    pub kinds: Vec<String>,
    /// At least this severe.
    pub least_severity: Option<Severity>,
    /// Text that occurs in the message or a field. The letters a to z are found in either case, all
    /// others as they are: `É` is not `é`, a full-width `Ａ` not `ａ`. Both databases fold just so.
    pub text: Option<String>,
    /// Not before this time of the host's clock, Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Before this time of the host's clock, Unix milliseconds.
    pub to_ms: Option<i64>,
    /// Only events up to this number: what is stored later is left out.
    pub up_to: Option<i64>,
    /// Go on after the page that returned this.
    pub after: Option<EventCursor>,
    /// Events per page, at most 1,000; 0 means 100.
    pub limit: u32,
}

/// Which events somebody sees: each stream has a scope of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSight {
    /// Of security events.
    pub security: Scope,
    /// Of ordinary events.
    pub events: Scope,
}

impl EventSight {
    /// Both in the same scope.
    #[must_use]
    pub fn all(scope: &Scope) -> Self {
        Self {
            security: scope.clone(),
            events: scope.clone(),
        }
    }

    /// What is seen of a stream.
    #[must_use]
    pub const fn of(&self, stream: EventStream) -> &Scope {
        match stream {
            EventStream::Security => &self.security,
            EventStream::Events => &self.events,
        }
    }

    /// Where anything is seen of one stream, or of any.
    #[must_use]
    pub fn anywhere(&self, stream: Option<EventStream>) -> Scope {
        match stream {
            Some(stream) => self.of(stream).clone(),
            None => self.security.or(&self.events),
        }
    }
}

/// Where a page ended. Its text is for addresses: `TIME_ID`.
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
        Ok(Self {
            time_ms: number(time_ms)?,
            id: number(id)?,
        })
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
    /// One page of the events of a scope that match, newest first by the host's clock.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn search_events(
        &self,
        query: &EventQuery,
        scope: &Scope,
    ) -> Result<EventPage, StoreError> {
        self.search_events_seen(query, &EventSight::all(scope))
            .await
    }

    /// The same where each stream has a scope of its own.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn search_events_seen(
        &self,
        query: &EventQuery,
        sight: &EventSight,
    ) -> Result<EventPage, StoreError> {
        let limit = if query.limit == 0 {
            USUAL_PAGE
        } else {
            query.limit.min(LARGEST_PAGE)
        };
        let few_hosts = self.are_few_hosts(query, sight).await?;
        let statement = Statement::of_page(query, sight, few_hosts, limit);
        let rows = self.event_rows(statement).await?;
        let mut events = rows.iter().map(event_from).collect::<Result<Vec<_>, _>>()?;
        let more = events.len() > limit as usize;
        events.truncate(limit as usize);
        let last = events.last().filter(|_| more);
        let next = last.map(|event| EventCursor {
            time_ms: event.time_ms,
            id: event.id,
        });
        Ok(EventPage { events, next })
    }

    /// How many events match, on all pages. Each of them is looked at.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_events_seen(
        &self,
        query: &EventQuery,
        sight: &EventSight,
    ) -> Result<u64, StoreError> {
        let few_hosts = self.are_few_hosts(query, sight).await?;
        let statement = Statement::of_count(query, sight, few_hosts);
        let rows = self.event_rows(statement).await?;
        rows.first()
            .map_or(Ok(0), |found| row::unsigned(found, "events"))
    }

    /// Number of the event that was stored last; 0 if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        let query = sqlx::query("SELECT COALESCE(MAX(id), 0) AS id FROM events");
        row::number(&query.fetch_one(self.database.read()).await?, "id")
    }

    async fn event_rows(
        &self,
        Statement { sql, values }: Statement,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let mut prepared = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            prepared = match value {
                Value::Number(number) => prepared.bind(number),
                Value::Text(text) => prepared.bind(text),
            };
        }
        Ok(prepared.fetch_all(self.database.read()).await?)
    }

    async fn are_few_hosts(
        &self,
        query: &EventQuery,
        sight: &EventSight,
    ) -> Result<bool, StoreError> {
        let hosts = match query.site {
            Some(site) => self.count_hosts_below(site).await?,
            None => self.count_hosts_in(&sight.anywhere(query.stream)).await?,
        };
        Ok(hosts <= FEW_HOSTS)
    }

    async fn count_hosts_in(&self, scope: &Scope) -> Result<i64, StoreError> {
        if *scope == Scope::Province {
            return Ok(0);
        }
        let within = reach::sites("site_id", scope);
        let sql = format!("SELECT COUNT(*) AS count FROM hosts WHERE 1 = 1{within}");
        let query = sqlx::query(AssertSqlSafe(sql));
        row::number(&query.fetch_one(self.database.read()).await?, "count")
    }

    async fn count_hosts_below(&self, site: SiteId) -> Result<i64, StoreError> {
        let sql = concat!(
            "WITH RECURSIVE below (id) AS (SELECT id FROM sites WHERE id = $1 ",
            "UNION SELECT s.id FROM sites s JOIN below b ON s.parent_id = b.id) ",
            "SELECT COUNT(*) AS count FROM hosts WHERE site_id IN (SELECT id FROM below)"
        );
        row::number(
            &sqlx::query(sql)
                .bind(site.0)
                .fetch_one(self.database.read())
                .await?,
            "count",
        )
    }
}

enum Value {
    Number(i64),
    Text(String),
}

/// A statement in the making: conditions and their values, numbered together. Only fixed text goes
/// into the SQL; everything that a user gave is bound.
struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    fn of_page(query: &EventQuery, sight: &EventSight, few_hosts: bool, limit: u32) -> Self {
        let columns = "e.id, e.host_id, h.hostname, h.site_id, e.stream, e.time_ms, e.received_ms, \
                       e.kind, e.severity, e.message, e.fields, e.signature";
        let mut statement = Self::matching(columns, query, sight, few_hosts);
        // One more than the page tells whether there is a next one.
        let limit = statement.bind(Value::Number(i64::from(limit) + 1));
        statement.sql.push_str(&format!(
            " ORDER BY e.time_ms DESC, e.id DESC LIMIT {limit}"
        ));
        statement
    }

    fn of_count(query: &EventQuery, sight: &EventSight, few_hosts: bool) -> Self {
        Self::matching("COUNT(*) AS events", query, sight, few_hosts)
    }

    fn matching(columns: &str, query: &EventQuery, sight: &EventSight, few_hosts: bool) -> Self {
        let mut statement = Self {
            sql: String::new(),
            values: Vec::new(),
        };
        if let Some(site) = query.site {
            let site = statement.bind(Value::Number(site.0));
            statement.sql = format!(
                "WITH RECURSIVE below (id) AS (SELECT id FROM sites WHERE id = {site} \
                 UNION SELECT s.id FROM sites s JOIN below b ON s.parent_id = b.id) "
            );
        }
        statement.sql.push_str(&format!(
            "SELECT {columns} FROM events e JOIN hosts h ON h.id = e.host_id WHERE 1 = 1"
        ));
        if query.site.is_some() {
            // The plus keeps SQLite from collecting and sorting all events of a thousand hosts.
            let plus = if few_hosts { "" } else { "+" };
            statement.sql.push_str(&format!(
                " AND {plus}e.host_id IN \
                 (SELECT id FROM hosts WHERE site_id IN (SELECT id FROM below))"
            ));
        }
        let plus = if few_hosts { "" } else { "+" };
        let scope = sight.anywhere(query.stream);
        let within = reach::hosts(&format!("{plus}e.host_id"), &scope);
        statement.sql.push_str(&within);
        if query.stream.is_none() && sight.security != sight.events {
            statement.add_streams(sight);
        }
        statement.add_plain_conditions(query);
        statement.add_kinds(&query.kinds);
        statement.add_text(query.text.as_deref());
        statement.add_device(query.device.as_deref());
        if let Some(EventCursor { time_ms, id }) = query.after {
            let (time, id) = (
                statement.bind(Value::Number(time_ms)),
                statement.bind(Value::Number(id)),
            );
            // The first half alone can use the index.
            let condition =
                format!(" AND e.time_ms <= {time} AND (e.time_ms < {time} OR e.id < {id})");
            statement.sql.push_str(&condition);
        }
        statement
    }

    /// Each stream where it is seen. The plus keeps SQLite from taking two indexes for the two halves.
    fn add_streams(&mut self, sight: &EventSight) {
        let halves = EventStream::ALL.map(|stream| {
            let within = reach::hosts("+e.host_id", sight.of(stream));
            format!("(+e.stream = {}{within})", stream.number())
        });
        self.sql
            .push_str(&format!(" AND ({})", halves.join(" OR ")));
    }

    fn add_plain_conditions(&mut self, query: &EventQuery) {
        let conditions = [
            ("e.host_id =", query.host.map(|host| host.0)),
            ("e.stream =", query.stream.map(EventStream::number)),
            ("e.severity >=", query.least_severity.map(Severity::number)),
            ("e.time_ms >=", query.from_ms),
            ("e.time_ms <", query.to_ms),
            // The plus keeps SQLite from walking along the numbers instead of the times.
            ("+e.id <=", query.up_to),
        ];
        for (condition, value) in conditions {
            if let Some(value) = value {
                let place = self.bind(Value::Number(value));
                self.sql.push_str(&format!(" AND {condition} {place}"));
            }
        }
    }

    fn add_kinds(&mut self, kinds: &[String]) {
        if kinds.is_empty() {
            return;
        }
        let places: Vec<_> = kinds
            .iter()
            .map(|kind| self.bind(Value::Text(row::storable(kind))))
            .collect();
        self.sql
            .push_str(&format!(" AND e.kind IN ({})", places.join(", ")));
    }

    fn add_text(&mut self, text: Option<&str>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let pattern = row::pattern(&text.to_ascii_lowercase());
        let place = self.bind(Value::Text(pattern));
        self.sql.push_str(&format!(
            " AND (LOWER(e.message) LIKE {place} ESCAPE '!' \
             OR LOWER(e.fields) LIKE {place} ESCAPE '!')"
        ));
    }

    /// The field as it is written in JSON: a device's name needs no escapes there.
    fn add_device(&mut self, device: Option<&str>) {
        let Some(device) = device else { return };
        let name = row::storable(device).replace('!', "!!").replace('%', "!%");
        let pattern = format!("%\"device\":\"{}\"%", name.replace('_', "!_"));
        let place = self.bind(Value::Text(pattern));
        self.sql
            .push_str(&format!(" AND e.fields LIKE {place} ESCAPE '!'"));
    }

    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }
}

fn event_from(row: &AnyRow) -> Result<StoredEvent, StoreError> {
    let stream = row::number(row, "stream")?;
    let impossible = || StoreError::Impossible(format!("stream {stream}"));
    Ok(StoredEvent {
        id: row::number(row, "id")?,
        host: HostId(row::number(row, "host_id")?),
        hostname: row::text(row, "hostname")?,
        site: SiteId(row::number(row, "site_id")?),
        stream: EventStream::from_number(stream).ok_or_else(impossible)?,
        time_ms: row::number(row, "time_ms")?,
        received_ms: row::number(row, "received_ms")?,
        kind: row::text(row, "kind")?,
        severity: Severity::from_number(row::number(row, "severity")?),
        message: row::text(row, "message")?,
        fields: row::json_map(row, "fields")?,
        signature: Signature::from_number(row::number(row, "signature")?),
    })
}
