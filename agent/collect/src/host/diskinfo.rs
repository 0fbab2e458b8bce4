//! Which disk a device name stands for: model, serial number, firmware and path.
//!
//! Source: udev's database below `/run/udev/data`, which every user may read. Without udev the
//! labels are empty, as node_exporter's are; the host's facts still carry what `/sys` knows.

use super::diskstats::is_ignored;
use super::{Cadence, Collector};
use crate::bytes::{lines, text, words};
use crate::error::{CollectError, Problems};
use crate::files::{Base, Files};
use crate::readings::Readings;
use crate::root::HostRoot;

#[derive(Default)]
pub(super) struct Diskinfo {
    disks: Vec<Disk>,
}

struct Disk {
    major: String,
    minor: String,
    device: String,
}

impl Collector for Diskinfo {
    fn name(&self) -> &'static str {
        "diskinfo"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        self.disks.clear();
        for line in lines(out.files.read(Base::Proc, "diskstats")?) {
            match disk(line) {
                Some(disk) if is_ignored(&disk.device) => {}
                Some(disk) => self.disks.push(disk),
                None => problems.malformed("diskstats", "a disk's line lacks its name"),
            }
        }
        for disk in self.disks.drain(..) {
            let udev = Properties::read(out.files, &disk);
            let labels = [
                ("device", disk.device.as_str()),
                ("major", &disk.major),
                ("minor", &disk.minor),
                ("model", &udev.model),
                ("path", &udev.path),
                ("revision", &udev.revision),
                ("serial", &udev.serial),
                ("wwn", &udev.wwn),
            ];
            out.samples.put("node_disk_info", &labels, 1.0);
        }
        problems.finish()
    }
}

fn disk(line: &[u8]) -> Option<Disk> {
    let mut fields = words(line);
    let mut next = || Some(text(fields.next()?).into_owned());
    Some(Disk {
        major: next()?,
        minor: next()?,
        device: next()?,
    })
}

/// What udev knows of a disk; empty where it knows nothing.
#[derive(Default)]
struct Properties {
    model: String,
    path: String,
    revision: String,
    serial: String,
    wwn: String,
}

impl Properties {
    fn read(files: &mut Files, disk: &Disk) -> Self {
        let mut found = Self::default();
        let parts = ["run/udev/data/b", &disk.major, ":", &disk.minor];
        let Some(content) = files.attribute(Base::Root, &parts) else {
            return found;
        };
        let mut serial_is_final = false;
        for line in lines(content) {
            let line = text(line);
            let Some((key, value)) = line
                .strip_prefix("E:")
                .and_then(|line| line.split_once('='))
            else {
                continue;
            };
            match key {
                "ID_MODEL" => found.model = value.to_owned(),
                "ID_PATH" => found.path = value.to_owned(),
                "ID_REVISION" => found.revision = value.to_owned(),
                "ID_WWN" => found.wwn = value.to_owned(),
                "SCSI_IDENT_SERIAL" if !value.is_empty() => {
                    found.serial = value.to_owned();
                    serial_is_final = true;
                }
                "ID_SERIAL_SHORT" if !serial_is_final => found.serial = value.to_owned(),
                _ => {}
            }
        }
        found
    }
}
