//! How many units systemd has in each state, and which ones failed.
//!
//! Source: `org.freedesktop.systemd1` on the system bus, the only interface that tells unit states
//! to an unprivileged user. The few messages needed are written by hand in [`bus`]: a D-Bus
//! library would cost the agent more memory than everything else in this crate. The connection is
//! opened once a minute and closed again.
//!
//! A series per unit and state would be several hundred series that never change, so only failed
//! units have one: `node_systemd_unit_state{state="failed"} == 1` works as with node_exporter.

mod bus;

use std::time::Duration;

use self::bus::{Bus, Value};
use super::{Cadence, Collector};
use crate::error::CollectError;
use crate::readings::Readings;
use crate::root::HostRoot;

/// Most failed units that are named.
const MAX_FAILED: usize = 50;
/// How long the bus may take for everything.
const PATIENCE: Duration = Duration::from_secs(3);
const STATES: [&str; 5] = ["active", "activating", "deactivating", "failed", "inactive"];

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

pub(super) struct Systemd;

struct Failed {
    name: String,
    path: String,
}

impl Collector for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, host: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let socket = host.path("/run/dbus/system_bus_socket");
        if !socket.exists() {
            return Err(CollectError::NoData(
                "there is no system bus, so systemd's unit states are not reported",
            ));
        }
        let mut bus = Bus::connect(&socket, PATIENCE)?;
        let (counts, failed) = units(&mut bus)?;
        for (state, count) in STATES.iter().zip(counts) {
            out.samples
                .put("node_systemd_units", &[("state", state)], f64::from(count));
        }
        for unit in &failed {
            let labels = [
                ("name", unit.name.as_str()),
                ("state", "failed"),
                ("type", &service_type(&mut bus, unit)?),
            ];
            out.samples.put("node_systemd_unit_state", &labels, 1.0);
        }
        let state = bus.property(MANAGER_PATH, MANAGER, "SystemState")?;
        let running = if state == "running" { 1.0 } else { 0.0 };
        out.samples.put("node_systemd_system_running", &[], running);
        let all_failed = counts.get(3).copied().unwrap_or(0) as usize;
        if all_failed > failed.len() {
            return Err(CollectError::TooMany {
                what: "failed units",
                limit: MAX_FAILED,
            });
        }
        Ok(())
    }
}

fn service_type(bus: &mut Bus, unit: &Failed) -> Result<String, CollectError> {
    if !unit.name.ends_with(".service") {
        return Ok(String::new());
    }
    bus.property(&unit.path, "org.freedesktop.systemd1.Service", "Type")
}

/// Units per state, and the failed ones up to the bound.
fn units(bus: &mut Bus) -> Result<([u32; STATES.len()], Vec<Failed>), CollectError> {
    let body = bus.call(MANAGER_PATH, MANAGER, "ListUnits", &[])?;
    let mut counts = [0; STATES.len()];
    let mut failed = Vec::new();
    let mut reader = body.reader();
    let end = reader.array(8).ok_or(bus::MALFORMED)?;
    while reader.position() < end {
        let unit = unit(&mut reader).ok_or(bus::MALFORMED)?;
        let state = STATES.iter().position(|state| *state == unit.state);
        if let Some(count) = state.and_then(|state| counts.get_mut(state)) {
            *count += 1;
        }
        if unit.state == "failed" && failed.len() < MAX_FAILED {
            failed.push(Failed {
                name: unit.name.to_owned(),
                path: unit.path.to_owned(),
            });
        }
    }
    Ok((counts, failed))
}

struct Unit<'a> {
    name: &'a str,
    state: &'a str,
    path: &'a str,
}

/// `(ssssssouso)`: name, description, load state, active state, sub state, followed, path, job.
fn unit<'a>(reader: &mut bus::Reader<'a>) -> Option<Unit<'a>> {
    reader.align(8)?;
    let name = reader.string()?;
    reader.string()?;
    reader.string()?;
    let state = reader.string()?;
    reader.string()?;
    reader.string()?;
    let path = reader.string()?;
    reader.number()?;
    reader.string()?;
    reader.string()?;
    Some(Unit { name, state, path })
}

impl Bus {
    /// A property that is a string.
    fn property(&mut self, path: &str, of: &str, name: &str) -> Result<String, CollectError> {
        let arguments = [Value::Text(of), Value::Text(name)];
        let body = self.call(path, "org.freedesktop.DBus.Properties", "Get", &arguments)?;
        let mut reader = body.reader();
        let signature = reader.signature().ok_or(bus::MALFORMED)?;
        let value = if signature == "s" {
            reader.string()
        } else {
            None
        };
        Ok(value.ok_or(bus::MALFORMED)?.to_owned())
    }
}

#[cfg(test)]
mod tests;
