//! The Debian packages that tests and benchmarks need, and how they get onto the machine.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// A Debian package, a program that shows whether it is there, and what it is for.
pub(crate) struct Package {
    name: &'static str,
    program: &'static str,
    purpose: &'static str,
}

pub(crate) const fn package(
    name: &'static str,
    program: &'static str,
    purpose: &'static str,
) -> Package {
    Package {
        name,
        program,
        purpose,
    }
}

/// What `cargo xtask test` needs.
pub(crate) const TEST: &[Package] = &[
    package("git", "git", "which files belong to the project"),
    package(
        "prometheus-node-exporter",
        "prometheus-node-exporter",
        "values to compare ours with",
    ),
    package(
        "openssh-server",
        "sshd",
        "real logins for the security events",
    ),
    package(
        "openssh-client",
        "ssh",
        "real logins for the security events",
    ),
    package(
        "dbus-daemon",
        "dbus-daemon",
        "a system bus for the unit states",
    ),
    package("sudo", "sudo", "real sudo for the security events"),
    // Without systemd-sysv, which would make it the machine's init.
    package(
        "systemd",
        "/usr/lib/systemd/systemd-journald",
        "a real journal for the security events",
    ),
    package(
        "rpm",
        "rpmbuild",
        "real package changes for the security events",
    ),
    package("openssl", "openssl", "a check of evidence by others"),
    package("iproute2", "ip", "network namespaces"),
    package("faketime", "faketime", "hosts whose clock is wrong"),
    package("procps", "ps", "looking at processes"),
    package(
        "softhsm2",
        "softhsm2-util",
        "a PKCS#11 token for the online key",
    ),
    package(
        "p11-kit",
        "p11-kit",
        "a PKCS#11 token behind a line that breaks",
    ),
    package(
        "p11-kit-modules",
        "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
        "a PKCS#11 token behind a line that breaks",
    ),
    package("chromium", "chromium", "looking at the screens"),
    package("chromium-driver", "chromedriver", "driving the browser"),
    package(
        "fonts-noto-cjk",
        "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
        "Chinese text in screenshots",
    ),
    package("prometheus", "promtool", "queries to compare ours with"),
    package(
        "prometheus",
        "prometheus",
        "a sender of remote write, and a cluster to send to",
    ),
    package("victoria-metrics", "vmagent", "a sender of remote write"),
    package(
        "postgresql",
        "pg_ctlcluster",
        "the state database on a server",
    ),
    package(
        "victoria-metrics",
        "victoria-metrics",
        "a cluster to send samples on to",
    ),
    package(
        "btrfs-progs",
        "mkfs.btrfs",
        "a device that refuses to read a sector",
    ),
    package(
        "python3-minimal",
        "python3",
        "the other end of a link, by others",
    ),
    package("snmpd", "snmpd", "a device that is asked over SNMP"),
    package(
        "snmp",
        "snmpbulkwalk",
        "what others read from a device over SNMP",
    ),
    package(
        "snmpsim",
        "snmpsimd",
        "a device that tells what was recorded",
    ),
    package(
        "python3-venv",
        "/usr/share/doc/python3-venv",
        "fuzzing the interface",
    ),
    package("nodejs", "node", "types and lints of the pages' scripts"),
    package("npm", "npm", "types and lints of the pages' scripts"),
];

/// What `cargo xtask bench` needs besides.
pub(crate) const BENCH: &[Package] = &[
    package("prometheus", "prometheus", "peer of the ingest figures"),
    package(
        "victoria-metrics",
        "victoria-metrics",
        "peer of the ingest figures",
    ),
    package(
        "zabbix-agent2",
        "zabbix_agent2",
        "peer of the agent figures",
    ),
    package("collectd-core", "collectd", "peer of the agent figures"),
    package("tcpdump", "tcpdump", "bytes at IP level"),
];

/// Makes sure that the packages are there: installs them when this is root, otherwise names what is
/// missing and stops.
pub(crate) fn ensure(packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|package| !present(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if !is_root() {
        let mut list = String::new();
        for package in &missing {
            list.push_str(&format!("\n  {} ({})", package.name, package.purpose));
        }
        bail!(
            "these Debian packages are missing:{list}\ninstall them with: apt-get install {}",
            names.join(" ")
        );
    }
    if !process::have("apt-get") {
        bail!(
            "there is no apt-get here; install the equivalent of: {}",
            names.join(" ")
        );
    }
    println!("installing {}", names.join(" "));
    let apt = || {
        let mut command = Command::new("apt-get");
        // Services that the packages bring must not start: tests start their own.
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1");
        command
    };
    process::call(apt().args(["-qq", "update"]))?;
    process::call(
        apt()
            .args(["-qq", "install", "--yes", "--no-install-recommends"])
            .args(&names),
    )?;
    Ok(())
}

fn present(package: &Package) -> bool {
    if package.program.starts_with('/') {
        std::path::Path::new(package.program).exists()
    } else {
        process::have(package.program)
    }
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}
