//! Temperatures, fans, voltages, currents and power of the sensors that the kernel knows.
//!
//! Source: `/sys/class/hwmon` (kernel document hwmon/sysfs-interface); names and units as
//! node_exporter 1.5 gives them. Sensors of a management controller that only IPMI reaches are
//! not among them. A read may wait for a slow bus, hence the slow cadence.

use std::path::Path;

use super::{Cadence, Collector};
use crate::bytes::{fraction, text};
use crate::error::{CollectError, Problems};
use crate::files::{Base, Files, Names};
use crate::readings::Readings;
use crate::root::HostRoot;

/// Most sensor files of one chip; a large server's chip has about a hundred.
const MAX_FILES_PER_CHIP: usize = 512;

const SENSOR_TYPES: [&str; 13] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
];

/// Those that a chip has once.
const UNNUMBERED: [&str; 3] = ["vrm", "beep_enable", "update_interval"];

#[derive(Default)]
pub(super) struct Hwmon {
    chips: Names,
    files: Names,
    device_files: Names,
}

/// `temp1_crit` is type `temp`, number `1`, property `crit`.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct SensorFile<'a> {
    kind: &'a str,
    number: &'a str,
    property: &'a str,
}

impl Collector for Hwmon {
    fn name(&self) -> &'static str {
        "hwmon"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, host: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        match out.files.list(Base::Sys, &["class/hwmon"], &mut self.chips) {
            Err(error) if error.is_not_found() => {
                return Err(CollectError::NoData("no sensors, as on a virtual machine"));
            }
            listed => _ = problems.check(listed),
        }
        let chips = std::mem::take(&mut self.chips);
        for chip in chips.iter() {
            self.chip(host, chip, out, &mut problems);
        }
        self.chips = chips;
        problems.finish()
    }
}

impl Hwmon {
    fn chip(
        &mut self,
        host: &HostRoot,
        folder: &str,
        out: &mut Readings<'_>,
        problems: &mut Problems,
    ) {
        let name = chip_name(host, folder, out.files);
        if let Some(human) = human_name(folder, out.files) {
            let labels = [("chip", name.as_str()), ("chip_name", &human)];
            out.samples.put("node_hwmon_chip_names", &labels, 1.0);
        }
        let path = ["class/hwmon/", folder];
        problems.check(out.files.list(Base::Sys, &path, &mut self.files));
        for file in self.files.iter().take(MAX_FILES_PER_CHIP) {
            let Some(sensor) = SensorFile::parse(file) else {
                continue;
            };
            report(
                &name,
                sensor,
                &self.files,
                &["class/hwmon/", folder, "/", file],
                out,
            );
        }
        // Old drivers keep their files beside the device instead.
        let path = ["class/hwmon/", folder, "/device"];
        if out
            .files
            .list(Base::Sys, &path, &mut self.device_files)
            .is_err()
        {
            return;
        }
        for file in self.device_files.iter().take(MAX_FILES_PER_CHIP) {
            let Some(sensor) = SensorFile::parse(file) else {
                continue;
            };
            if !self.files.iter().any(|known| known == file) {
                let path = ["class/hwmon/", folder, "/device/", file];
                report(&name, sensor, &self.device_files, &path, out);
            }
        }
    }
}

fn report(
    chip: &str,
    sensor: SensorFile<'_>,
    files: &Names,
    path: &[&str],
    out: &mut Readings<'_>,
) {
    let Some(content) = out.files.attribute(Base::Sys, path) else {
        return;
    };
    let number = if sensor.number.is_empty() {
        "0"
    } else {
        sensor.number
    };
    let id = [sensor.kind, number].concat();
    if sensor.property == "label" {
        let label = text(content);
        let labels = [("chip", chip), ("label", &label), ("sensor", &id)];
        out.samples.put("node_hwmon_sensor_label", &labels, 1.0);
        return;
    }
    let Some(value) = fraction(content) else {
        return;
    };
    let plain = [sensor.kind, sensor.number].concat();
    let has_plain = files.iter().any(|file| file == plain);
    let (parts, value) = sensor.series(has_plain, value);
    out.samples
        .put_parts(&parts, &[("chip", chip), ("sensor", &id)], value);
}

impl<'a> SensorFile<'a> {
    /// node_exporter's `^([^0-9]+)([0-9]*)?(_(.+))?$`, for the known types only.
    fn parse(file: &'a str) -> Option<Self> {
        if let Some(kind) = UNNUMBERED.iter().find(|kind| **kind == file) {
            return Some(Self {
                kind,
                number: "",
                property: "",
            });
        }
        let digits = file.find(|c: char| c.is_ascii_digit())?;
        let (kind, rest) = file.split_at_checked(digits)?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, rest) = rest.split_at_checked(end)?;
        let property = match rest.strip_prefix('_') {
            Some(property) if !property.is_empty() => property,
            None if rest.is_empty() => "",
            _ => return None,
        };
        SENSOR_TYPES.contains(&kind).then_some(Self {
            kind,
            number,
            property,
        })
    }

    /// The parts of the metric's name, and the value in its unit.
    fn series(self, has_plain: bool, value: f64) -> ([&'a str; 5], f64) {
        match self.kind {
            "beep_enable" => {
                let on = if value == 1.0 { 1.0 } else { 0.0 };
                return (["node_hwmon_beep_enabled", "", "", "", ""], on);
            }
            "vrm" => {
                return (
                    ["node_hwmon_voltage_regulator_version", "", "", "", ""],
                    value,
                );
            }
            "update_interval" => {
                return (
                    ["node_hwmon_update_interval_seconds", "", "", "", ""],
                    value / 1e3,
                );
            }
            _ => {}
        }
        let property = match self.property {
            "input" if !has_plain => "",
            property => property,
        };
        let joint = if property.is_empty() { "" } else { "_" };
        let (unit, divisor) = self.unit();
        (
            ["node_hwmon_", self.kind, joint, property, unit],
            value / divisor,
        )
    }

    fn unit(self) -> (&'static str, f64) {
        match (self.kind, self.property) {
            (_, "fault" | "alarm") => ("", 1.0),
            (_, "beep") => ("_enabled", 1.0),
            ("in" | "cpu", _) => ("_volts", 1e3),
            ("temp", property) if property != "type" => ("_celsius", 1e3),
            ("curr", _) => ("_amps", 1e3),
            ("energy", _) => ("_joule_total", 1e6),
            ("power", "accuracy") => ("", 1e6),
            ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
                ("_seconds", 1e3)
            }
            ("power", _) => ("_watt", 1e6),
            ("humidity", _) => ("", 1e6),
            ("fan", "input" | "min" | "max" | "target") => ("_rpm", 1.0),
            _ => ("", 1.0),
        }
    }
}

/// Chips are numbered in the order in which their drivers were loaded, so the device's place is
/// the name that stays; then the driver's own name; then the number.
fn chip_name(host: &HostRoot, folder: &str, files: &mut Files) -> String {
    let device = host.sys.join("class/hwmon").join(folder).join("device");
    if let Some(name) = std::fs::canonicalize(device)
        .ok()
        .and_then(|path| device_name(&path))
    {
        return name;
    }
    human_name(folder, files).unwrap_or_else(|| clean(folder))
}

fn device_name(path: &Path) -> Option<String> {
    let last = |path: &Path| Some(clean(&path.file_name()?.to_string_lossy()));
    let name = last(path).filter(|name| !name.is_empty())?;
    match path.parent().and_then(last).filter(|kind| !kind.is_empty()) {
        Some(kind) => Some([&kind, "_", &name].concat()),
        None => Some(name),
    }
}

fn human_name(folder: &str, files: &mut Files) -> Option<String> {
    let name = files.attribute(Base::Sys, &["class/hwmon/", folder, "/name"])?;
    Some(clean(&text(name))).filter(|name| !name.is_empty())
}

/// Lower case, every other character than `a-z0-9:_` an underscore, none at the ends.
fn clean(name: &str) -> String {
    let is_kept = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ':' | '_');
    let lower = name.to_lowercase();
    let cleaned: String = lower
        .chars()
        .map(|c| if is_kept(c) { c } else { '_' })
        .collect();
    cleaned.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensor_files_are_told_from_others() {
        let file = |kind, number, property| {
            Some(SensorFile {
                kind,
                number,
                property,
            })
        };
        assert_eq!(SensorFile::parse("temp1_crit"), file("temp", "1", "crit"));
        assert_eq!(SensorFile::parse("pwm2"), file("pwm", "2", ""));
        assert_eq!(
            SensorFile::parse("beep_enable"),
            file("beep_enable", "", "")
        );
        for other in [
            "name",
            "uevent",
            "temp",
            "temp1_",
            "temp1x",
            "1",
            "",
            "device2_x",
        ] {
            assert_eq!(SensorFile::parse(other), None, "{other}");
        }
    }

    #[test]
    fn units_follow_the_type_and_the_property() {
        let name = |file: &str| {
            let (parts, value) = SensorFile::parse(file).unwrap().series(false, 45_000.0);
            (parts.concat(), value)
        };
        assert_eq!(
            name("temp1_input"),
            ("node_hwmon_temp_celsius".into(), 45.0)
        );
        assert_eq!(
            name("temp1_crit_alarm"),
            ("node_hwmon_temp_crit_alarm_celsius".into(), 45.0)
        );
        assert_eq!(name("fan1_input"), ("node_hwmon_fan_rpm".into(), 45_000.0));
        assert_eq!(name("in0_min"), ("node_hwmon_in_min_volts".into(), 45.0));
        assert_eq!(
            name("power1_average"),
            ("node_hwmon_power_average_watt".into(), 0.045)
        );
        assert_eq!(
            name("fan1_alarm"),
            ("node_hwmon_fan_alarm".into(), 45_000.0)
        );
    }
}
