//! Devices of the network that hosts poll: a list that is filtered and paged here, and one of them with what
//! it said of itself. Their samples are asked for by PromQL, by `device_id`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::HostView;
use xiezhi_model::{
    Device, DeviceId, DeviceState, Field, HostId, Item, Permission, Presence, RegisterKind, SiteId,
};
use xiezhi_protocol::poll::{About, link_of};
use xiezhi_store::RegisterQuery;

use super::gaps::host_name;
use crate::answer::Answer;
use crate::extract::{Path, Query};
use crate::problem::Problem;
use crate::rows::{HostName, SiteName};
use crate::view::View;

const PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;

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
    /// Part of a device's name, model, serial number or site's name, whatever its case.
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
    limit: Option<usize>,
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
    total: usize,
    /// Devices that match but for the filter on state, by state.
    states: BTreeMap<&'static str, usize>,
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
    let cursor = filter.cursor.as_deref().map(parse_cursor).transpose()?;
    let limit = filter.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let mut devices = view.state.inner.store.devices(&view.scope).await?;
    // Links that hosts measure come the same way and are no devices.
    devices.retain(|device| link_of(&device.name).is_some() == filter.links);
    let mut kinds: Vec<String> = devices.iter().map(|device| device.kind.clone()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.retain(|kind| !kind.is_empty());

    let heard = Heard::of(&view);
    let mut found = select(&filter, &view, devices);
    let mut states = BTreeMap::new();
    for device in &found {
        *states.entry(heard.state_of(device).word()).or_default() += 1;
    }
    if let Some(state) = filter.state {
        found.retain(|device| State::from(heard.state_of(device)) == state);
    }
    found.sort_by(|left, right| (&left.name, left.id).cmp(&(&right.name, right.id)));
    let total = found.len();
    let start = cursor.map_or(0, |(id, name)| {
        found.partition_point(|device| (&device.name, device.id) <= (&name, id))
    });
    let page: Vec<&Device> = found.iter().skip(start).take(limit).collect();
    let last = page.last().filter(|_| start + page.len() < total);
    Ok(Answer(Devices {
        next: last.map(|device| format!("{}.{}", device.id, device.name)),
        items: page
            .iter()
            .map(|device| row(device, &view, &heard))
            .collect(),
        total,
        states,
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
    hosts: Vec<HostId>,
}

impl Heard {
    fn of(view: &View) -> Self {
        let hosts = view.state.inner.fleet.snapshot();
        let is_heard =
            |host: &&HostView| host.presence.presence == Presence::Up && host.revoked_ms.is_none();
        let mut hosts: Vec<HostId> = hosts.iter().filter(is_heard).map(|host| host.id).collect();
        hosts.sort_unstable();
        Self {
            now_ms: view.state.now_ms(),
            hosts,
        }
    }

    fn state_of(&self, device: &Device) -> DeviceState {
        let is_heard = self.hosts.binary_search(&device.host).is_ok();
        device.state_at(self.now_ms, is_heard)
    }
}

/// The devices that match all but the filter on state.
fn select(filter: &Filter, view: &View, mut devices: Vec<Device>) -> Vec<Device> {
    let tree = view.tree();
    let sites = filter.site.map(|site| tree.subtree(SiteId(site)));
    let text = filter.q.as_deref().map(|text| text.trim().to_lowercase());
    let text = text.filter(|text| !text.is_empty());
    let has = |device: &Device, text: &str| {
        let site = tree.get(device.site).map_or("", |site| site.name.as_str());
        let mut texts = [shown(device), &*device.model, &*device.serial, site].into_iter();
        texts.any(|own| own.to_lowercase().contains(text))
    };
    devices.retain(|device| {
        sites
            .as_ref()
            .is_none_or(|sites| sites.contains(&device.site))
            && filter.host.is_none_or(|host| device.host.0 == host)
            && filter.kind.as_ref().is_none_or(|kind| &device.kind == kind)
            && (device.needs_profile || !filter.needs_profile)
            && text.as_ref().is_none_or(|text| has(device, text))
    });
    devices
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

fn parse_cursor(text: &str) -> Result<(DeviceId, String), Problem> {
    let parsed = text.split_once('.').and_then(|(id, name)| {
        let id = id.parse().ok()?;
        Some((DeviceId(id), name.to_owned()))
    });
    parsed.ok_or_else(|| Problem::bad_request("`cursor` is not one that a page gave"))
}
