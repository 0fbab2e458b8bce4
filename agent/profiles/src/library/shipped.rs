//! The profiles that come with the program, one line each.

use super::File;

macro_rules! profiles {
    ($($name:literal,)*) => {
        &[$(File {
            path: concat!("library/", $name, ".yaml"),
            name: $name,
            text: include_str!(concat!("../../library/", $name, ".yaml")),
        },)*]
    };
}

/// Every shipped profile. Whoever adds one adds its line here, its file and its recording in
/// `library/`.
#[rustfmt::skip]
pub(super) const FILES: &[File<'static>] = profiles![
    "akcp-sensorprobe",
    "apc-pdu",
    "apc-smart-ups",
    "av-generic",
    "avtech-room-alert",
    "avtech-room-alert-3e",
    "cisco-codec",
    "cisco-ios",
    "cisco-ios-router",
    "dahua-camera",
    "dahua-recorder",
    "dell-idrac",
    "eaton-ups",
    "epson-projector",
    "fibre-storage",
    "geist-watchdog",
    "generic",
    "generic-bridge",
    "generic-comware",
    "generic-entity",
    "generic-host",
    "generic-interfaces",
    "generic-printer",
    "generic-routing",
    "generic-system",
    "generic-ups",
    "generic-vrp",
    "h3c-comware",
    "h3c-router",
    "h3c-secpath",
    "h3c-wireless",
    "hikvision-camera",
    "hikvision-recorder",
    "hp-jetdirect",
    "hpe-ilo",
    "huawei-ibmc",
    "huawei-mcu",
    "huawei-oceanstor",
    "huawei-terminal",
    "huawei-ups",
    "huawei-usg",
    "huawei-vrp-router",
    "huawei-vrp-switch",
    "huawei-wlan",
    "kedacom",
    "kstar-ups",
    "polycom",
    "printer",
    "qnap",
    "ruijie",
    "ruijie-router",
    "sangfor",
    "santak-ups",
    "synology",
    "zte-zxr10",
];
