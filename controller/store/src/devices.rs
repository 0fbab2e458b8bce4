//! Devices of the network: noted as their hosts' polls come, many in one transaction.

use sqlx::any::AnyRow;
use xiezhi_model::{Device, DeviceId, DeviceState, HostId, Scope, SiteId};

use crate::row::{self, Write};
use crate::{Store, StoreError, reach};

/// Without what a device says of itself.
macro_rules! select_device {
    ($tail:literal) => {
        concat!(
            "SELECT d.id, d.host_id, d.name, COALESCE(d.site_id, h.site_id) AS site_id, d.state, ",
            "d.problem, d.state_since_ms, d.first_poll_ms, d.last_poll_ms, d.last_answer_ms, ",
            "d.every_s, d.kind, d.profile, d.model, d.serial, d.needs_profile ",
            "FROM devices d JOIN hosts h ON h.id = d.host_id ",
            $tail
        )
    };
}

pub(crate) use select_device;

/// The least that tells devices apart: its number, its host, its name there.
pub type DeviceName = (DeviceId, HostId, String);

/// What a poll tells of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePoll {
    /// Its number, if it is known.
    pub id: Option<DeviceId>,
    /// The host that polled it.
    pub host: HostId,
    /// Its name there.
    pub name: String,
    /// When it was polled, Unix milliseconds.
    pub time_ms: i64,
    /// How it answered; `None` in the later parts of a poll, which change nothing.
    pub answer: Option<DeviceAnswer>,
}

/// How a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAnswer {
    /// How.
    pub state: DeviceState,
    /// Why not, or not all; empty for a device that answered.
    pub problem: String,
    /// Seconds between polls.
    pub every_s: i64,
    /// What it said of itself, if that is to be written: it is large and seldom changes.
    pub said: Option<DeviceSaid>,
}

/// What a device says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceSaid {
    /// What kind of device it is.
    pub kind: String,
    /// The profile by which it is read.
    pub profile: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Whether no profile knows it.
    pub needs_profile: bool,
    /// All of it as JSON.
    pub about: String,
}

impl Store {
    /// Notes polls in one transaction; yields the devices' numbers in their order. A device that is new
    /// gets one. A poll from before the newest on record changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if one of the hosts does not exist, otherwise if the database fails;
    /// nothing is noted then.
    pub async fn note_polls(&self, polls: &[DevicePoll]) -> Result<Vec<DeviceId>, StoreError> {
        let mut write = self.database.write().await?;
        let mut ids = Vec::with_capacity(polls.len());
        for poll in polls {
            let known = match poll.id {
                Some(id) => Some(id),
                None => find(&mut write, poll).await?,
            };
            let id = match known {
                Some(id) => id,
                None => insert(&mut write, poll).await?,
            };
            if let Some(answer) = &poll.answer {
                update(&mut write, id, poll.time_ms, answer).await?;
            }
            ids.push(id);
        }
        write.commit().await?;
        Ok(ids)
    }

    /// All devices with their hosts and names.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device_names(&self) -> Result<Vec<DeviceName>, StoreError> {
        let sql = "SELECT id, host_id, name FROM devices ORDER BY id";
        let rows = sqlx::query(sql).fetch_all(self.database.read()).await?;
        let name = |row: &AnyRow| {
            let host = HostId(row::number(row, "host_id")?);
            let id = DeviceId(row::number(row, "id")?);
            Ok((id, host, row::text(row, "name")?))
        };
        rows.iter().map(name).collect()
    }

    /// The devices of a scope, by number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn devices(&self, scope: &Scope) -> Result<Vec<Device>, StoreError> {
        let within = reach::sites("COALESCE(d.site_id, h.site_id)", scope);
        let sql = format!("{}{within} ORDER BY d.id", select_device!("WHERE 1 = 1"));
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(device_from).collect()
    }

    /// A device, and what it said of itself as JSON.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn device(&self, id: DeviceId) -> Result<Option<(Device, String)>, StoreError> {
        let query = sqlx::query(select_device!("WHERE d.id = $1")).bind(id.0);
        let Some(found) = query.fetch_optional(self.database.read()).await? else {
            return Ok(None);
        };
        let query = sqlx::query("SELECT about FROM device_said WHERE device_id = $1").bind(id.0);
        let said = query.fetch_optional(self.database.read()).await?;
        let about = said
            .as_ref()
            .map(|row| row::text(row, "about"))
            .transpose()?;
        let about = about.unwrap_or_else(|| "{}".to_owned());
        Ok(Some((device_from(&found)?, about)))
    }
}

async fn find(write: &mut Write, poll: &DevicePoll) -> Result<Option<DeviceId>, StoreError> {
    let sql = "SELECT id FROM devices WHERE host_id = $1 AND name = $2";
    let query = sqlx::query(sql).bind(poll.host.0).bind(&poll.name);
    let row = query.fetch_optional(&mut **write).await?;
    let id = row.as_ref().map(|row| row::number(row, "id")).transpose()?;
    Ok(id.map(DeviceId))
}

async fn insert(write: &mut Write, poll: &DevicePoll) -> Result<DeviceId, StoreError> {
    let host = sqlx::query("SELECT id FROM hosts WHERE id = $1").bind(poll.host.0);
    if host.fetch_optional(&mut **write).await?.is_none() {
        return Err(StoreError::NotFound(format!("host {}", poll.host)));
    }
    let id = row::count_up(write, "devices", 1).await?;
    let sql = "INSERT INTO devices (id, host_id, name, state, problem, state_since_ms, \
               first_poll_ms, last_poll_ms, every_s, kind, profile, model, serial, needs_profile) \
               VALUES ($1, $2, $3, 'unknown', '', $4, $4, $4, 0, '', '', '', '', 0)";
    sqlx::query(sql)
        .bind(id)
        .bind(poll.host.0)
        .bind(&poll.name)
        .bind(poll.time_ms)
        .execute(&mut **write)
        .await?;
    Ok(DeviceId(id))
}

async fn update(
    write: &mut Write,
    id: DeviceId,
    time_ms: i64,
    answer: &DeviceAnswer,
) -> Result<(), StoreError> {
    let answered_ms = answer.state.answers().then_some(time_ms);
    let sql = "UPDATE devices SET last_poll_ms = $2, \
               last_answer_ms = COALESCE($3, last_answer_ms), \
               state_since_ms = CASE WHEN state = $4 THEN state_since_ms ELSE $2 END, \
               state = $4, problem = $5, every_s = $6 WHERE id = $1 AND last_poll_ms <= $2";
    let done = sqlx::query(sql)
        .bind(id.0)
        .bind(time_ms)
        .bind(answered_ms)
        .bind(answer.state.word())
        .bind(row::storable(&answer.problem))
        .bind(answer.every_s)
        .execute(&mut **write)
        .await?;
    let Some(said) = answer.said.as_ref().filter(|_| done.rows_affected() > 0) else {
        return Ok(());
    };
    let sql = "UPDATE devices SET kind = $2, profile = $3, model = $4, serial = $5, \
               needs_profile = $6 WHERE id = $1";
    sqlx::query(sql)
        .bind(id.0)
        .bind(row::storable(&said.kind))
        .bind(row::storable(&said.profile))
        .bind(row::storable(&said.model))
        .bind(row::storable(&said.serial))
        .bind(i64::from(said.needs_profile))
        .execute(&mut **write)
        .await?;
    let sql = "INSERT INTO device_said (device_id, about) VALUES ($1, $2) \
               ON CONFLICT (device_id) DO UPDATE SET about = excluded.about";
    let query = sqlx::query(sql).bind(id.0);
    let query = query.bind(row::storable(&said.about));
    query.execute(&mut **write).await?;
    Ok(())
}

pub(crate) fn device_from(row: &AnyRow) -> Result<Device, StoreError> {
    Ok(Device {
        id: DeviceId(row::number(row, "id")?),
        host: HostId(row::number(row, "host_id")?),
        name: row::text(row, "name")?,
        site: SiteId(row::number(row, "site_id")?),
        state: DeviceState::from_word(&row::text(row, "state")?),
        problem: row::text(row, "problem")?,
        state_since_ms: row::number(row, "state_since_ms")?,
        first_poll_ms: row::number(row, "first_poll_ms")?,
        last_poll_ms: row::number(row, "last_poll_ms")?,
        last_answer_ms: row::optional(row, "last_answer_ms")?,
        every_s: row::number(row, "every_s")?,
        kind: row::text(row, "kind")?,
        profile: row::text(row, "profile")?,
        model: row::text(row, "model")?,
        serial: row::text(row, "serial")?,
        needs_profile: row::truth(row, "needs_profile")?,
    })
}
