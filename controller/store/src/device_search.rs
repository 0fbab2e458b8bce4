//! Lists of devices in the order of their names, page by page, and how many are in which state.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use xiezhi_model::{Device, DeviceId, DeviceState, HostId, Scope, SiteId};

use crate::devices::{device_from, select_device};
use crate::{CursorError, Store, StoreError};
use crate::{reach, row};

/// Devices per page where the query does not say.
const USUAL_PAGE: u32 = 100;

/// Most devices per page.
const LARGEST_PAGE: u32 = 1000;

/// Where a device is.
const SITE: &str = "COALESCE(d.site_id, h.site_id)";

/// What to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceQuery {
    /// Only at these sites; `None` is all of the scope.
    pub sites: Option<BTreeSet<SiteId>>,
    /// Only those that this host polls.
    pub host: Option<HostId>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those that no profile knows.
    pub needs_profile: bool,
    /// What hosts measure of links, instead of devices: both are noted alike.
    pub links: bool,
    /// Text that occurs in the name, model or serial number; the letters a to z in either case.
    pub text: Option<String>,
    /// Sites whose devices match the text whatever they are called.
    pub text_sites: BTreeSet<SiteId>,
    /// Only those that are in this state now, with the hosts that are heard: of others nobody knows.
    pub state: Option<(DeviceState, BTreeSet<HostId>)>,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
    /// Go on after the page that returned this.
    pub after: Option<DeviceCursor>,
    /// Devices per page, at most 1,000; 0 means 100.
    pub limit: u32,
}

/// Where a page ended. Its text is for addresses: `ID.NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCursor {
    /// Name of the page's last device.
    pub name: String,
    /// Its number.
    pub id: DeviceId,
}

impl fmt::Display for DeviceCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.id, self.name)
    }
}

impl FromStr for DeviceCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, name) = text.split_once('.').ok_or(CursorError)?;
        Ok(Self {
            id: id.parse().map_err(|_| CursorError)?,
            name: name.to_owned(),
        })
    }
}

/// One page of devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevicePage {
    /// By name and number.
    pub devices: Vec<Device>,
    /// Where to go on; `None` on the last page.
    pub next: Option<DeviceCursor>,
}

/// How many devices of a host are in a state, by its own polls: of a host that is not heard, nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatesOfHost {
    /// The host that polls them.
    pub host: HostId,
    /// The state; unknown where polls did not come lately.
    pub state: DeviceState,
    /// How many.
    pub devices: u64,
}

impl Store {
    /// One page of the devices of a scope that match.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device_page(
        &self,
        query: &DeviceQuery,
        scope: &Scope,
    ) -> Result<DevicePage, StoreError> {
        let limit = match query.limit {
            0 => USUAL_PAGE,
            asked => asked.min(LARGEST_PAGE),
        };
        let mut conditions = Conditions::of(query, scope);
        conditions.add_state(query);
        if let Some(DeviceCursor { name, id }) = &query.after {
            let name = conditions.bind(row::storable(name));
            conditions
                .sql
                .push_str(&format!(" AND (d.name, d.id) > ({name}, {id})"));
        }
        // One more than the page tells whether there is a next one.
        let sql = format!(
            "{}{} ORDER BY d.name, d.id LIMIT {}",
            select_device!("WHERE 1 = 1"),
            conditions.sql,
            limit + 1
        );
        let rows = self.device_rows(sql, conditions.values).await?;
        let mut devices = rows
            .iter()
            .map(device_from)
            .collect::<Result<Vec<_>, _>>()?;
        let more = devices.len() > limit as usize;
        devices.truncate(limit as usize);
        let last = devices.last().filter(|_| more);
        let next = last.map(|device| DeviceCursor {
            name: device.name.clone(),
            id: device.id,
        });
        Ok(DevicePage { devices, next })
    }

    /// How many devices of a scope match, on all pages and in any state, by the host that polls them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device_states(
        &self,
        query: &DeviceQuery,
        scope: &Scope,
    ) -> Result<Vec<StatesOfHost>, StoreError> {
        let conditions = Conditions::of(query, scope);
        let state = state_at(query.now_ms);
        let sql = format!(
            "SELECT d.host_id AS host_id, {state} AS state_now, COUNT(*) AS devices FROM devices d \
             JOIN hosts h ON h.id = d.host_id WHERE 1 = 1{} GROUP BY d.host_id, {state}",
            conditions.sql
        );
        let rows = self.device_rows(sql, conditions.values).await?;
        let states = rows.iter().map(|found| {
            Ok(StatesOfHost {
                host: HostId(row::number(found, "host_id")?),
                state: DeviceState::from_word(&row::text(found, "state_now")?),
                devices: row::unsigned(found, "devices")?,
            })
        });
        states.collect()
    }

    /// The kinds of all devices of a scope, or of all links.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device_kinds(
        &self,
        links: bool,
        scope: &Scope,
    ) -> Result<Vec<String>, StoreError> {
        let within = reach::sites(SITE, scope) + of_links(links);
        let sql = format!(
            "SELECT DISTINCT d.kind AS kind FROM devices d JOIN hosts h ON h.id = d.host_id \
             WHERE d.kind <> ''{within} ORDER BY kind"
        );
        let rows = self.device_rows(sql, Vec::new()).await?;
        rows.iter().map(|found| row::text(found, "kind")).collect()
    }

    async fn device_rows(
        &self,
        sql: String,
        values: Vec<String>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        // Lists of sites and hosts stand in the text, which is hardly ever the same again.
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for value in values {
            query = query.bind(value);
        }
        Ok(query.fetch_all(self.database.read()).await?)
    }
}

/// As [`Device::state_at`] for a host that is heard.
fn state_at(now_ms: i64) -> String {
    format!(
        "CASE WHEN d.last_poll_ms >= {now_ms} - CASE WHEN d.every_s <= 60 THEN 180000 \
         WHEN d.every_s >= 1000000000 THEN 3000000000000 ELSE d.every_s * 3000 END \
         THEN d.state ELSE 'unknown' END"
    )
}

/// The names of links begin as no device's does (`xiezhi_protocol::poll::link_source`).
fn of_links(links: bool) -> &'static str {
    if links {
        " AND d.name LIKE 'link:%'"
    } else {
        " AND d.name NOT LIKE 'link:%'"
    }
}

/// Conditions and what is bound to them. Only fixed texts and numbers go into the SQL.
struct Conditions {
    sql: String,
    values: Vec<String>,
}

impl Conditions {
    /// All but the state and the page.
    fn of(query: &DeviceQuery, scope: &Scope) -> Self {
        let mut all = Self {
            sql: reach::sites(SITE, scope) + of_links(query.links),
            values: Vec::new(),
        };
        if let Some(sites) = &query.sites {
            all.sql.push_str(&format!(" AND {}", within(SITE, sites)));
        }
        if let Some(host) = query.host {
            all.sql.push_str(&format!(" AND d.host_id = {host}"));
        }
        if let Some(kind) = &query.kind {
            let place = all.bind(row::storable(kind));
            all.sql.push_str(&format!(" AND d.kind = {place}"));
        }
        if query.needs_profile {
            all.sql.push_str(" AND d.needs_profile <> 0");
        }
        all.add_text(query);
        all
    }

    fn add_text(&mut self, query: &DeviceQuery) {
        let text = query.text.as_deref().map(str::trim);
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let place = self.bind(row::pattern(&text.to_ascii_lowercase()));
        let name = if query.links {
            "SUBSTR(d.name, 6)"
        } else {
            "d.name"
        };
        let columns = [name, "d.model", "d.serial"];
        let mut any: Vec<String> = columns
            .iter()
            .map(|column| format!("LOWER({column}) LIKE {place} ESCAPE '!'"))
            .collect();
        if !query.text_sites.is_empty() {
            any.push(within(SITE, &query.text_sites));
        }
        self.sql.push_str(&format!(" AND ({})", any.join(" OR ")));
    }

    fn add_state(&mut self, query: &DeviceQuery) {
        let Some((state, heard)) = &query.state else {
            return;
        };
        let heard = within("d.host_id", heard);
        let now = state_at(query.now_ms);
        let place = self.bind(state.word().to_owned());
        self.sql.push_str(&format!(
            " AND CASE WHEN {heard} THEN {now} ELSE 'unknown' END = {place}"
        ));
    }

    fn bind(&mut self, text: String) -> String {
        self.values.push(text);
        format!("${}", self.values.len())
    }
}

/// `column IN (…)` of numbers; no site and no host has the number 0.
fn within<T: fmt::Display>(column: &str, numbers: &BTreeSet<T>) -> String {
    let mut numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    if numbers.is_empty() {
        numbers.push("0".to_owned());
    }
    format!("{column} IN ({})", numbers.join(", "))
}
