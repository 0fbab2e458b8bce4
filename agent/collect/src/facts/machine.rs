//! Maker, model and serial number of the machine, and whether it is a real one.

use xiezhi_protocol::facts::Machine;

use super::Looking;
use crate::bytes::{contains, lines, words};
use crate::files::Base;

/// From `/sys/class/dmi/id`, or the device tree of boards that have none.
pub(super) fn machine(looking: &mut Looking<'_>) -> Machine {
    let mut dmi = |file| looking.attribute(Base::Sys, &["class/dmi/id/", file]);
    let mut machine = Machine {
        vendor: dmi("sys_vendor"),
        model: dmi("product_name"),
        serial: dmi("product_serial"),
    };
    let tree = |looking: &mut Looking<'_>, file| {
        let value = looking.attribute(Base::Sys, &["firmware/devicetree/base/", file]);
        value.trim_end_matches('\0').to_owned()
    };
    if machine.model.is_empty() {
        machine.model = tree(looking, "model");
    }
    if machine.serial.is_empty() {
        machine.serial = tree(looking, "serial-number");
    }
    if machine.model.is_empty() {
        looking.miss("machine", "neither DMI nor a device tree names the model");
    } else if machine.serial.is_empty() {
        looking.miss("machine", "the serial number is readable by root only");
    }
    machine
}

/// DMI texts and the names that systemd-detect-virt(1) gives them.
const BY_DMI: [(&str, &str); 16] = [
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Google Compute Engine", "google"),
    ("Alibaba Cloud", "kvm"),
];

/// A container's name comes before the hypervisor's, as systemd-detect-virt(1) says it.
pub(super) fn virtualisation(looking: &mut Looking<'_>) -> String {
    if let Some(container) = container(looking) {
        return container;
    }
    let name = by_dmi(looking).or_else(|| by_kernel(looking));
    name.unwrap_or("none").to_owned()
}

fn container(looking: &mut Looking<'_>) -> Option<String> {
    let named = looking.attribute(Base::Root, &["run/systemd/container"]);
    if !named.is_empty() {
        return Some(named);
    }
    for (file, name) in [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")] {
        if looking.host.path(file).exists() {
            return Some(name.to_owned());
        }
    }
    None
}

fn by_dmi(looking: &mut Looking<'_>) -> Option<&'static str> {
    for file in [
        "product_name",
        "sys_vendor",
        "board_vendor",
        "bios_vendor",
        "product_version",
    ] {
        let found = looking.attribute(Base::Sys, &["class/dmi/id/", file]);
        if found == "Virtual Machine" {
            return Some("microsoft");
        }
        if let Some((_, name)) = BY_DMI.iter().find(|(text, _)| found.starts_with(text)) {
            return Some(name);
        }
    }
    None
}

fn by_kernel(looking: &mut Looking<'_>) -> Option<&'static str> {
    if looking.attribute(Base::Sys, &["hypervisor/type"]) == "xen" {
        return Some("xen");
    }
    let clocks = "devices/system/clocksource/clocksource0/available_clocksource";
    if looking
        .attribute(Base::Sys, &[clocks])
        .contains("kvm-clock")
    {
        return Some("kvm");
    }
    let tree = "firmware/devicetree/base/hypervisor/compatible";
    match looking.attribute(Base::Sys, &[tree]).trim_end_matches('\0') {
        "linux,kvm" => return Some("kvm"),
        text if text.contains("xen") => return Some("xen"),
        _ => {}
    }
    let cpuinfo = looking.files.read(Base::Proc, "cpuinfo").ok()?;
    let flags = lines(cpuinfo).find(|line| line.starts_with(b"flags"))?;
    let is_guest = contains(flags, b"hypervisor") && words(flags).any(|word| word == b"hypervisor");
    is_guest.then_some("vm-other")
}
