//! Other programs that do a part of what the agent does, started as their users start them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::stage::Children;

/// Port of the started node_exporter, which a scraper must ask as its users' Prometheus does.
pub(super) struct NodeExporter {
    port: u16,
}

/// Starts all three; the names are those of [`Children::id`].
pub(super) fn start(children: &mut Children, folder: &Path) -> Result<NodeExporter> {
    let port = free_port()?;
    let mut exporter = Command::new("prometheus-node-exporter");
    exporter
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=error");
    children.start("node_exporter", exporter.stderr(Stdio::null()))?;
    start_zabbix(children, folder)?;
    start_collectd(children, folder)?;
    Ok(NodeExporter { port })
}

fn start_zabbix(children: &mut Children, folder: &Path) -> Result<()> {
    let configuration = folder.join("zabbix_agent2.conf");
    let text = format!(
        "Server=127.0.0.1\nServerActive=127.0.0.1:{}\nHostname=bench\nListenIP=127.0.0.1\nListenPort={}\n\
         LogType=console\nDebugLevel=1\nPluginSocket={}/zabbix.plugin.sock\nControlSocket={}/zabbix.sock\n\
         PidFile={}/zabbix.pid\n",
        free_port()?,
        free_port()?,
        folder.display(),
        folder.display(),
        folder.display()
    );
    std::fs::write(&configuration, text)?;
    let mut command = Command::new("zabbix_agent2");
    command
        .arg("--foreground")
        .arg("--config")
        .arg(&configuration);
    children.start(
        "zabbix_agent2",
        command.stdout(Stdio::null()).stderr(Stdio::null()),
    )
}

fn start_collectd(children: &mut Children, folder: &Path) -> Result<()> {
    let configuration = folder.join("collectd.conf");
    let plugins = [
        "cpu",
        "df",
        "disk",
        "entropy",
        "interface",
        "load",
        "memory",
        "processes",
        "swap",
        "tcpconns",
        "uptime",
        "users",
        "vmem",
    ];
    let mut text = format!(
        "BaseDir \"{0}\"\nPIDFile \"{0}/collectd.pid\"\nPluginDir \"/usr/lib/collectd\"\n\
         TypesDB \"/usr/share/collectd/types.db\"\nInterval 15\n",
        folder.display()
    );
    for plugin in plugins.iter().chain(&["csv"]) {
        text.push_str(&format!("LoadPlugin {plugin}\n"));
    }
    text.push_str(&format!(
        "<Plugin csv>\nDataDir \"{}/csv\"\n</Plugin>\n",
        folder.display()
    ));
    std::fs::write(&configuration, text)?;
    let mut command = Command::new("collectd");
    command.arg("-f").arg("-C").arg(&configuration);
    children.start(
        "collectd",
        command.stdout(Stdio::null()).stderr(Stdio::null()),
    )
}

impl NodeExporter {
    /// Asks for all metrics once; yields the number of bytes.
    pub(super) fn scrape(&self) -> Result<usize> {
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).context("asking node_exporter")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")?;
        let mut page = Vec::new();
        Ok(stream.read_to_end(&mut page)?)
    }
}

/// A free port that every peer accepts: zabbix_agent2 refuses those above 32,767.
pub(super) fn free_port() -> Result<u16> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(21_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        anyhow::ensure!(port < 32_000, "no free port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
}
