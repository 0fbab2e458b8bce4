//! USB devices that come and go, from `/sys/bus/usb/devices`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::watcher::{Context, Watcher};

/// Devices at most.
const MAX_DEVICES: usize = 512;

/// What is known of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Device {
    vendor_id: String,
    product_id: String,
    serial: String,
    product: String,
    manufacturer: String,
    /// What it can do: `storage`, `keyboard or mouse`, …
    class: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// By port, such as `1-4.2`.
    devices: Option<BTreeMap<String, Device>>,
}

/// The watcher.
#[derive(Debug, Default)]
pub(crate) struct Usb {
    state: State,
    names: Option<Vec<String>>,
}

impl Watcher for Usb {
    fn name(&self) -> &'static str {
        "usb"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        let dir = context.path("sys/bus/usb/devices");
        let names = names(&dir);
        // Names alone cost one call; a device exchanged at the same port within the interval
        // shows by its number, which counts up.
        if self.names.as_ref() == Some(&names) {
            return;
        }
        let devices: BTreeMap<_, _> = names
            .iter()
            .filter_map(|name| name.split_once(' '))
            .map(|(name, _)| (name.to_owned(), device(&dir.join(name), name)))
            .collect();
        self.names = Some(names);
        let Some(before) = self.state.devices.replace(devices.clone()) else {
            return context.mark_urgent();
        };
        for (port, device) in devices
            .iter()
            .filter(|(port, device)| before.get(*port) != Some(device))
        {
            emit(context, kinds::USB_ADDED, port, device);
        }
        for (port, device) in before
            .iter()
            .filter(|(port, device)| devices.get(*port) != Some(device))
        {
            emit(context, kinds::USB_REMOVED, port, device);
        }
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value(saved)
            .map(|state| self.state = state)
            .is_ok()
    }
}

/// `PORT NUMBER` of every device: no interfaces (`1-4:1.0`), no root hubs (`usb1`).
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.contains(':') && !name.starts_with("usb"))
        .take(MAX_DEVICES)
        .map(|name| format!("{name} {}", text(&dir.join(&name), "devnum")))
        .collect();
    names.sort();
    names
}

fn device(path: &Path, name: &str) -> Device {
    Device {
        vendor_id: text(path, "idVendor"),
        product_id: text(path, "idProduct"),
        serial: text(path, "serial"),
        product: text(path, "product"),
        manufacturer: text(path, "manufacturer"),
        class: class(&text(&path.join(format!("{name}:1.0")), "bInterfaceClass")).to_owned(),
    }
}

fn class(code: &str) -> &'static str {
    match code {
        "08" => "storage",
        "03" => "keyboard or mouse",
        "02" | "0a" | "e0" => "network or wireless",
        "09" => "hub",
        "0e" => "camera",
        "07" => "printer",
        _ => "",
    }
}

fn text(path: &Path, file: &str) -> String {
    let text = std::fs::read_to_string(path.join(file)).unwrap_or_default();
    text.trim().chars().take(128).collect()
}

fn emit(context: &mut Context<'_>, kind: &str, port: &str, device: &Device) {
    let is_risky = matches!(device.class.as_str(), "storage" | "network or wireless");
    let severity = match kind == kinds::USB_ADDED {
        true if is_risky => Severity::Warning,
        true => Severity::Notice,
        false => Severity::Info,
    };
    let verb = if kind == kinds::USB_ADDED {
        "added"
    } else {
        "removed"
    };
    let message = format!(
        "USB device {verb}: {} {} ({}:{})",
        device.manufacturer, device.product, device.vendor_id, device.product_id
    );
    let mut event = context
        .event(kind, severity, message)
        .with("port", port)
        .with("vendor_id", device.vendor_id.as_str())
        .with("product_id", device.product_id.as_str());
    let optional = [
        ("serial", &device.serial),
        ("product", &device.product),
        ("class", &device.class),
    ];
    for (name, value) in optional {
        if !value.is_empty() {
            event = event.with(name, value.as_str());
        }
    }
    context.emit(event);
}
