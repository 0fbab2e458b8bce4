//! net-snmp's own daemon, asked over SNMPv3 by an agent that runs as it does in a court, and heard when it
//! sends a signed inform: what the fake devices cannot show, because we wrote them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_skip::skip;
use xiezhi_test_support::{TestAgent, TestController, eventually};

const PASSWORD: &str = "signing-password";
const CIPHER_PASSWORD: &str = "ciphering-password";

/// The daemon; it ends with this.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> Result<u16> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    Ok(socket.local_addr()?.port())
}

fn start_daemon(folder: &Path, port: u16) -> Result<Daemon> {
    let text = format!(
        "agentAddress udp:127.0.0.1:{port}\nsysName tested\n\
         createUser reader SHA-256 {PASSWORD} AES-128 {CIPHER_PASSWORD}\nrouser reader priv\n"
    );
    let configuration = folder.join("snmpd.conf");
    std::fs::write(&configuration, text)?;
    let child = Command::new("/usr/sbin/snmpd")
        .args(["-f", "-C", "-Lf"])
        .arg(folder.join("log"))
        .arg("-c")
        .arg(&configuration)
        .env("SNMP_PERSISTENT_DIR", folder.join("persistent"))
        .stdin(Stdio::null())
        .spawn()
        .context("starting snmpd")?;
    Ok(Daemon(child))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_daemon_is_asked_and_heard_over_snmpv3() -> Result<()> {
    let programs = ["/usr/sbin/snmpd", "/usr/bin/snmpinform"];
    if !programs.iter().all(|path| Path::new(path).exists()) {
        skip("no snmpd or snmpinform here (Debian packages snmpd and snmp)");
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("xiezhi-snmpd-").tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let path = folder.path();
    let (port, receiver) = (free_port()?, free_port()?);
    let _daemon = start_daemon(path, port)?;
    std::fs::create_dir(path.join("devices.d"))?;
    let file = path.join("devices.d/server.yaml");
    let device = format!(
        "devices:\n  - name: server-1\n    address: 127.0.0.1:{port}\n    every: 5s\n    credentials:\n      \
         version: 3\n      user: reader\n      auth: {{protocol: sha256, password: {PASSWORD}}}\n      \
         privacy: {{protocol: aes128, password: {CIPHER_PASSWORD}}}\n"
    );
    std::fs::write(&file, device)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;

    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let configuration = format!(
        "interval: 1s\nreconnect_within: 1s\ndevices:\n  folder: {0}/devices.d\n  \
         profiles: {0}/profiles.d\n  state_dir: {0}/state\n  user: daemon\n  traps: 127.0.0.1:{receiver}\n",
        path.display()
    );
    let mut agent = TestAgent::enrol(&controller, &configuration)?;
    agent.run()?;
    eventually("the daemon answers", async || {
        agent.process()?.check()?;
        let list = api.get("/api/v1/devices").await?;
        Ok((list["items"][0]["state"] == "answered").then_some(()))
    })
    .await?;
    let page = api.get("/api/v1/devices/1").await?;
    assert_eq!(page["about"]["name"], "tested");

    // It is acknowledged, so it was taken.
    let told = Command::new("/usr/bin/snmpinform")
        .args([
            "-v3", "-m", "", "-l", "authPriv", "-u", "reader", "-t", "20",
        ])
        .args([
            "-a",
            "SHA-256",
            "-A",
            PASSWORD,
            "-x",
            "AES",
            "-X",
            CIPHER_PASSWORD,
        ])
        .arg(format!("127.0.0.1:{receiver}"))
        .args(["", ".1.3.6.1.6.3.1.1.5.2"])
        .env("SNMP_PERSISTENT_DIR", path.join("sender"))
        .output()?;
    let said = String::from_utf8_lossy(&told.stderr);
    ensure!(told.status.success(), "{said}");
    let event = eventually("the inform is an event", async || {
        let events = api
            .get("/api/v1/events?stream=events&kind=device_trap&device=server-1")
            .await?;
        Ok(events["items"].get(0).cloned())
    })
    .await?;
    assert_eq!(event["fields"]["name"], "warmStart");
    agent.stop()
}
