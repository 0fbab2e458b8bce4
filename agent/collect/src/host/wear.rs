//! Wear and errors of storage devices, as far as an unprivileged reader may see them.
//!
//! Source: `/sys/block/*/device` (kernel documents driver-api/mmc and ABI/stable/sysfs-bus-scsi):
//! eMMC says how much of its life is used, SCSI and SATA how many commands failed. The SMART data
//! of NVMe and SATA disks needs CAP_SYS_ADMIN or CAP_SYS_RAWIO and is not read here: the host's facts
//! state that loss for each such disk. NVMe temperatures come through `hwmon`.

use super::{Cadence, Collector};
use crate::bytes::{hexadecimal, text, words};
use crate::error::{CollectError, Problems};
use crate::files::{Base, Files, Names};
use crate::readings::Readings;
use crate::root::HostRoot;

/// Most devices that are looked at.
const MAX_DEVICES: usize = 256;

#[derive(Default)]
pub(super) struct Wear {
    names: Names,
}

impl Collector for Wear {
    fn name(&self) -> &'static str {
        "wear"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        problems.check(out.files.list(Base::Sys, &["block"], &mut self.names));
        for device in self.names.iter().take(MAX_DEVICES) {
            mmc(device, out);
            scsi(device, out);
        }
        if out
            .files
            .list(Base::Sys, &["class/nvme"], &mut self.names)
            .is_ok()
        {
            for controller in self.names.iter().take(MAX_DEVICES) {
                nvme(controller, out);
            }
        }
        problems.finish()
    }
}

/// Life used in steps of a tenth (`0x01` is up to 10 %, `0x0b` is exceeded), for the two kinds of
/// memory in the chip, and the warning level (1 normal, 2 warning, 3 urgent).
fn mmc(device: &str, out: &mut Readings<'_>) {
    let path = |file| ["block/", device, "/device/", file];
    let life = out
        .files
        .attribute(Base::Sys, &path("life_time"))
        .map(<[u8]>::to_vec);
    for (kind, step) in ["a", "b"]
        .into_iter()
        .zip(life.iter().flat_map(|life| words(life)))
    {
        if let Some(tenths) = hexadecimal(step).filter(|tenths| (1..=11).contains(tenths)) {
            let labels = [("device", device), ("type", kind)];
            out.samples.put(
                "xiezhi_storage_life_used_ratio",
                &labels,
                tenths as f64 / 10.0,
            );
        }
    }
    let level = out
        .files
        .attribute(Base::Sys, &path("pre_eol_info"))
        .and_then(hexadecimal);
    if let Some(level) = level {
        out.samples.put(
            "xiezhi_storage_end_of_life_level",
            &[("device", device)],
            level as f64,
        );
    }
}

fn scsi(device: &str, out: &mut Readings<'_>) {
    let path = ["block/", device, "/device/ioerr_cnt"];
    if let Some(errors) = out.files.attribute(Base::Sys, &path).and_then(hexadecimal) {
        out.samples.put(
            "xiezhi_disk_command_errors_total",
            &[("device", device)],
            errors as f64,
        );
    }
}

fn nvme(controller: &str, out: &mut Readings<'_>) {
    let firmware = nvme_text(out.files, controller, "firmware_rev");
    let model = nvme_text(out.files, controller, "model");
    let serial = nvme_text(out.files, controller, "serial");
    let state = nvme_text(out.files, controller, "state");
    let labels = [
        ("device", controller),
        ("firmware_revision", &firmware),
        ("model", &model),
        ("serial", &serial),
        ("state", &state),
    ];
    out.samples.put("node_nvme_info", &labels, 1.0);
}

fn nvme_text(files: &mut Files, controller: &str, file: &str) -> String {
    let value = files.attribute(Base::Sys, &["class/nvme/", controller, "/", file]);
    value.map(text).unwrap_or_default().into_owned()
}
