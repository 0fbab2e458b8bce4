//! Devices that answer SNMP on loopback, and an agent that asks them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Result, ensure};
use xiezhi_profiles::Walk;
use xiezhi_test_device::{Behaviour, FakeDevice};
use xiezhi_test_support::{TestAgent, TestController};

/// A recording of the library, as a device that answers.
pub(crate) async fn device(recording: &str) -> Result<FakeDevice> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent/profiles/library");
    let text = std::fs::read_to_string(library.join(recording))?;
    let (walk, bad) = Walk::parse(&text);
    ensure!(bad.is_empty(), "{bad:?}");
    Ok(FakeDevice::start(walk, Behaviour::default()).await?)
}

/// An agent whose devices are asked every five seconds; it is enrolled and does not run yet.
pub(crate) fn agent(
    controller: &TestController,
    devices: &[(&str, &FakeDevice)],
) -> Result<TestAgent> {
    agent_with(controller, devices, "5s", "off")
}

/// The same, whose devices are asked every so often, and that receives traps there.
pub(crate) fn agent_with(
    controller: &TestController,
    devices: &[(&str, &FakeDevice)],
    every: &str,
    traps: &str,
) -> Result<TestAgent> {
    let folder = tempfile::Builder::new()
        .prefix("xiezhi-devices-")
        .tempdir()?
        .keep();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
    let mut text = String::from("devices:\n");
    for (name, device) in devices {
        text.push_str(&format!(
            "  - name: {name}\n    address: {}\n    every: {every}\n    credentials: {{version: 2c, community: public}}\n",
            device.address()
        ));
    }
    std::fs::create_dir(folder.join("devices.d"))?;
    let file = folder.join("devices.d/room-3.yaml");
    std::fs::write(&file, text)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    let configuration = format!(
        "interval: 1s\nreconnect_within: 1s\n\
         devices:\n  folder: {0}/devices.d\n  profiles: {0}/profiles.d\n  state_dir: {0}/state\n  user: daemon\n  traps: {traps}\n",
        folder.display()
    );
    TestAgent::enrol(controller, &configuration)
}
