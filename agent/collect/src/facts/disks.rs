//! Block devices with model, serial number and size, from `/sys/block` and udev's database.

use xiezhi_protocol::facts::Disk;

use super::Looking;
use crate::bytes::{lines, number};
use crate::files::{Base, Names};

/// Most disks that are described.
const MAX_DISKS: usize = 256;
/// What is made of other disks or of memory, and no device that a person owns.
const NO_DEVICES: [&str; 7] = ["loop", "ram", "zram", "dm-", "md", "fd", "nbd"];

pub(super) fn disks(looking: &mut Looking<'_>) -> Vec<Disk> {
    let mut names = Names::default();
    let listed = looking.files.list(Base::Sys, &["block"], &mut names);
    looking.check("disks", listed);
    let is_device = |name: &&str| !NO_DEVICES.iter().any(|prefix| name.starts_with(prefix));
    let disks: Vec<Disk> = names
        .iter()
        .filter(is_device)
        .take(MAX_DISKS)
        .map(|name| disk(looking, name))
        .collect();
    miss(looking, "no serial number", &disks, |disk| {
        disk.serial.is_empty()
    });
    miss(
        looking,
        "wear is in SMART data, which needs a privilege to read",
        &disks,
        |disk| disk.name.starts_with("nvme") || disk.name.starts_with("sd"),
    );
    disks
}

/// Says what is missing, and of which disks.
fn miss(looking: &mut Looking<'_>, what: &str, disks: &[Disk], lacks: impl Fn(&Disk) -> bool) {
    let names: Vec<&str> = disks
        .iter()
        .filter(|disk| lacks(disk))
        .map(|disk| disk.name.as_str())
        .collect();
    if !names.is_empty() {
        looking.miss(&format!("disks {}", names.join(", ")), what);
    }
}

fn disk(looking: &mut Looking<'_>, name: &str) -> Disk {
    let mut read = |file| looking.attribute(Base::Sys, &["block/", name, "/", file]);
    let sectors = number(read("size").as_bytes()).unwrap_or_default();
    let mut disk = Disk {
        name: name.to_owned(),
        model: read("device/model"),
        serial: read("device/serial"),
        size_bytes: sectors.saturating_mul(512),
        rotational: read("queue/rotational") == "1",
        removable: read("removable") == "1",
    };
    if disk.serial.is_empty() {
        // virtio disks carry it one level higher.
        disk.serial = read("serial");
    }
    let device = read("dev");
    if disk.serial.is_empty() {
        disk.serial = udev(looking, &device, "ID_SERIAL_SHORT");
    }
    if disk.model.is_empty() {
        disk.model = udev(looking, &device, "ID_MODEL");
    }
    disk
}

fn udev(looking: &mut Looking<'_>, device: &str, key: &str) -> String {
    let content = looking
        .files
        .attribute(Base::Root, &["run/udev/data/b", device]);
    let value = content.into_iter().flat_map(lines).find_map(|line| {
        line.strip_prefix(b"E:")?
            .strip_prefix(key.as_bytes())?
            .strip_prefix(b"=")
    });
    value
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .unwrap_or_default()
}
