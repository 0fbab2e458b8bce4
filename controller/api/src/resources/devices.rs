//! Devices of the network that hosts poll: a list, filtered and by pages, and one of them with what it said of
//! itself. Their samples are asked for by PromQL, by `device_id`.

pub(crate) mod export;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::HostView;
use xiezhi_model::{
    Device, DeviceId, DeviceState, Field, HostId, Item, Permission, Presence, RegisterKind, SiteId,
};
use xiezhi_protocol::poll::{About, link_of};
use xiezhi_store::{CursorError, DeviceCursor, DeviceQuery, RegisterQuery};

use super::gaps::host_name;
use crate::answer::Answer;
use crate::extract::{Path, Query};
use crate::problem::Problem;
use crate::rows::{HostName, SiteName};
use crate::view::View;

const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 500;

/// Shorter ones (`0`, `n/a`) are none.
const SHORTEST_SERIAL: usize = 4;

/// Assets that are looked at because they hold a serial number anywhere in their texts.
const ALIKE: u32 = 50;

/// How a device answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Answered,
    Partial,
    Silent,
    Refused,
    Unreachable,
    Unknown,
}

impl From<State> for DeviceState {
    fn from(state: State) -> Self {
        match state {
            State::Answered => Self::Answered,
            State::Partial => Self::Partial,
            State::Silent => Self::Silent,
            State::Refused => Self::Refused,
            State::Unreachable => Self::Unreachable,
            State::Unknown => Self::Unknown,
        }
    }
}

impl From<DeviceState> for State {
    fn from(state: DeviceState) -> Self {
        match state {
            DeviceState::Answered => Self::Answered,
            DeviceState::Partial => Self::Partial,
            DeviceState::Silent => Self::Silent,
            DeviceState::Refused => Self::Refused,
            DeviceState::Unreachable => Self::Unreachable,
            DeviceState::Unknown => Self::Unknown,
        }
    }
}

/// What to list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Part of a device's name, model, serial number or site's name; the letters a to z in either case.
    q: Option<String>,
    /// Only this site and the sites below it.
    site: Option<i64>,
    /// Only devices that this host polls.
    host: Option<i64>,
    /// Only devices in this state.
    state: Option<State>,
    /// Only devices of this kind.
    kind: Option<String>,
    /// Only devices that no profile knows.
    needs_profile: bool,
    /// What hosts measure of links, instead of devices.
    links: bool,
    /// Devices on a page, 500 at most; 100 unless given.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// One device of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeviceRow {
    id: i64,
    /// Of a link, what the host calls it.
    name: String,
    site: SiteName,
    /// Who polls it.
    host: HostName,
    /// `unknown` if nobody asked it lately, whatever it answered before.
    state: State,
    /// Why it did not answer, or not all: a word; empty for one that answered.
    problem: String,
    /// Since when it answers, or does not, as it did at the last poll.
    since_ms: i64,
    last_poll_ms: i64,
    last_answer_ms: Option<i64>,
    /// Seconds between polls.
    every_s: i64,
    kind: String,
    profile: String,
    model: String,
    serial: String,
    /// No profile knows it: it is read by what all devices have in common.
    needs_profile: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Devices {
    items: Vec<DeviceRow>,
    /// Where to go on; `None` on the last page.
    next: Option<String>,
    /// Devices that match, on all pages.
    total: u64,
    /// Devices that match but for the filter on state, by state.
    states: BTreeMap<&'static str, u64>,
    /// Kinds of all devices.
    kinds: Vec<String>,
}

/// What the register says of a device.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Asset {
    id: i64,
    site: SiteName,
    code: String,
    name: String,
    /// Code of the room where it stands; empty if nobody wrote it down.
    room: String,
    /// Code of the person who has it.
    owner: String,
}

/// A device.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DevicePage {
    device: DeviceRow,
    /// The sites above and its own, from the root down.
    path: Vec<SiteName>,
    /// The asset of the register that it is: the only one in use with its serial number, at its site or
    /// below, that the caller may see.
    asset: Option<Asset>,
    /// What it said of itself when it answered last.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    about: About,
}

pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Devices>, Problem> {
    let after = filter.cursor.as_deref().map(str::parse).transpose();
    let after: Option<DeviceCursor> =
        after.map_err(|error: CursorError| Problem::bad_request(error.to_string()))?;
    let heard = Heard::of(&view);
    let asked = Asked::of(&filter, &view, &heard).await?;
    let query = DeviceQuery {
        after,
        limit: filter.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE),
        ..asked.query
    };
    let store = &view.state.inner.store;
    let page = store.device_page(&query, &view.scope).await?;
    let kinds = store.device_kinds(filter.links, &view.scope).await?;
    let rows = page.devices.iter();
    Ok(Answer(Devices {
        next: page.next.as_ref().map(ToString::to_string),
        items: rows.map(|device| row(device, &view, &heard)).collect(),
        total: asked.total,
        states: asked.states,
        kinds,
    }))
}

pub(crate) async fn read(view: View, Path(id): Path<i64>) -> Result<Answer<DevicePage>, Problem> {
    let found = view.state.inner.store.device(DeviceId(id)).await?;
    let seen = found.filter(|(device, _)| view.scope.sees(device.site));
    let (device, about) = seen.ok_or_else(|| Problem::not_found("device"))?;
    Ok(Answer(DevicePage {
        device: row(&device, &view, &Heard::of(&view)),
        path: SiteName::path_to(device.site, view.tree()),
        asset: asset_of(&view, &device).await?,
        // Read tolerantly: a field that this build does not know is left out, a missing one is empty.
        about: serde_json::from_str(&about).unwrap_or_default(),
    }))
}

/// The asset with the device's serial number. One of two that are alike would be a guess, and none is.
async fn asset_of(view: &View, device: &Device) -> Result<Option<Asset>, Problem> {
    let serial = device.serial.trim();
    let Some(scope) = view.scope_of(Permission::SeeRegister) else {
        return Ok(None);
    };
    if serial.chars().count() < SHORTEST_SERIAL {
        return Ok(None);
    }
    let query = RegisterQuery {
        sites: Some(view.tree().subtree(device.site)),
        text: Some(serial.to_owned()),
        limit: ALIKE,
        ..RegisterQuery::default()
    };
    let kind = RegisterKind::Asset;
    let page = view.state.inner.store.register_page(kind, &query, &scope);
    let is_it = |item: &&Item| {
        item.is_in_use()
            && item
                .value(Field::Serial)
                .trim()
                .eq_ignore_ascii_case(serial)
    };
    let page = page.await?;
    let mut found = page.items.iter().filter(is_it);
    let (Some(item), None) = (found.next(), found.next()) else {
        return Ok(None);
    };
    let value = |field| item.value(field).to_owned();
    Ok(Some(Asset {
        id: item.id,
        site: SiteName::of(item.site, view.tree()),
        code: value(Field::Code),
        name: value(Field::Name),
        room: value(Field::Room),
        owner: value(Field::Owner),
    }))
}

/// Which hosts are heard now.
struct Heard {
    now_ms: i64,
    hosts: BTreeSet<HostId>,
}

impl Heard {
    fn of(view: &View) -> Self {
        let hosts = view.state.inner.fleet.snapshot();
        let is_heard =
            |host: &&HostView| host.presence.presence == Presence::Up && host.revoked_ms.is_none();
        Self {
            now_ms: view.state.now_ms(),
            hosts: hosts.iter().filter(is_heard).map(|host| host.id).collect(),
        }
    }

    fn state_of(&self, device: &Device) -> DeviceState {
        device.state_at(self.now_ms, self.hosts.contains(&device.host))
    }
}

/// A filter as the store takes it, and how many devices match.
struct Asked {
    query: DeviceQuery,
    total: u64,
    states: BTreeMap<&'static str, u64>,
}

impl Asked {
    async fn of(filter: &Filter, view: &View, heard: &Heard) -> Result<Self, Problem> {
        let tree = view.tree();
        let text = filter.q.as_deref().map(|text| text.trim().to_lowercase());
        let text = text.filter(|text| !text.is_empty());
        let called = |text: &String| {
            let sites = tree.iter();
            let sites = sites.filter(|site| site.name.to_lowercase().contains(text));
            sites.map(|site| site.id).collect()
        };
        let mut query = DeviceQuery {
            sites: filter.site.map(|site| tree.subtree(SiteId(site))),
            host: filter.host.map(HostId),
            kind: filter.kind.clone(),
            needs_profile: filter.needs_profile,
            links: filter.links,
            text_sites: text.as_ref().map(called).unwrap_or_default(),
            text,
            state: None,
            now_ms: heard.now_ms,
            after: None,
            limit: 0,
        };
        let store = &view.state.inner.store;
        let counted = store.device_states(&query, &view.scope).await?;
        let mut states = BTreeMap::new();
        let mut polling = BTreeSet::new();
        for one in counted {
            let is_heard = heard.hosts.contains(&one.host);
            polling.extend(is_heard.then_some(one.host));
            let state = if is_heard {
                one.state
            } else {
                DeviceState::Unknown
            };
            *states.entry(state.word()).or_default() += one.devices;
        }
        let total = match filter.state {
            None => states.values().sum(),
            Some(state) => {
                let state = DeviceState::from(state);
                query.state = Some((state, polling));
                states.get(state.word()).copied().unwrap_or(0)
            }
        };
        Ok(Self {
            query,
            total,
            states,
        })
    }
}

/// Its name, of a link as its people call it.
fn shown(device: &Device) -> &str {
    link_of(&device.name).unwrap_or(&device.name)
}

fn row(device: &Device, view: &View, heard: &Heard) -> DeviceRow {
    DeviceRow {
        id: device.id.0,
        name: shown(device).to_owned(),
        site: SiteName::of(device.site, view.tree()),
        host: host_name(device.host, &view.state.inner.fleet),
        state: heard.state_of(device).into(),
        problem: device.problem.clone(),
        since_ms: device.state_since_ms,
        last_poll_ms: device.last_poll_ms,
        last_answer_ms: device.last_answer_ms,
        every_s: device.every_s,
        kind: device.kind.clone(),
        profile: device.profile.clone(),
        model: device.model.clone(),
        serial: device.serial.clone(),
        needs_profile: device.needs_profile,
    }
}
