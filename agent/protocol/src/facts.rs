//! What a host is made of: the slow-changing description that an agent sends on change.

use serde::{Deserialize, Serialize};

/// The whole description. Readers are tolerant: a field that a sender does not know is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The host's own name for itself.
    pub hostname: String,
    /// Operating system, from os-release(5).
    pub os: Os,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Machine architecture, as `uname -m`.
    pub architecture: String,
    /// CPU model name.
    pub cpu_model: String,
    /// Logical CPUs.
    pub cpu_count: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// `none`, or the hypervisor's or container's name as systemd-detect-virt(1) says it.
    pub virtualisation: String,
    /// Manufacturer, model and serial of the machine, from DMI where readable.
    pub machine: Machine,
    /// Block devices.
    pub disks: Vec<Disk>,
    /// Network interfaces with their addresses.
    pub interfaces: Vec<Interface>,
    /// Number and digest of the installed packages.
    pub packages: Packages,
    /// Ports listened on.
    pub listening: Vec<Listening>,
    /// Boot time, Unix seconds.
    pub boot_time_s: i64,
    /// Time zone name.
    pub timezone: String,
    /// What could not be read, and why: shown, never guessed.
    pub unreadable: Vec<String>,
}

/// Operating system, from os-release(5).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Os {
    /// `ID`: `debian`, `kylin`, `uos`, `openEuler`, …
    pub id: String,
    /// `VERSION_ID`.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: String,
}

/// The machine, from `/sys/class/dmi/id` or the device tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Manufacturer.
    pub vendor: String,
    /// Model.
    pub model: String,
    /// Serial number; often readable by root only.
    pub serial: String,
}

/// One block device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Kernel name: `sda`, `nvme0n1`.
    pub name: String,
    /// Model text.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Whether it spins.
    pub rotational: bool,
    /// Whether it can be unplugged.
    pub removable: bool,
}

/// One network interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Kernel name.
    pub name: String,
    /// Hardware address, lower case with colons.
    pub mac: String,
    /// Addresses with prefix length: `10.1.2.3/24`.
    pub addresses: Vec<String>,
    /// Speed in Mbit/s; `None` where the driver does not say.
    pub speed_mbit: Option<u64>,
    /// `up`, `down`, … as operstate says.
    pub state: String,
    /// Driver name.
    pub driver: String,
}

/// The installed packages as a number and one digest; changes come as events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Packages {
    /// `dpkg`, `rpm`, or empty if none was found.
    pub manager: String,
    /// How many are installed.
    pub count: u32,
    /// Hex digest over sorted `name version` lines.
    pub digest: String,
}

/// One port that is listened on.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Listening {
    /// `tcp`, `tcp6`, `udp` or `udp6`.
    pub protocol: String,
    /// Local address.
    pub address: String,
    /// Local port.
    pub port: u16,
    /// Owner's user id.
    pub uid: u32,
}
