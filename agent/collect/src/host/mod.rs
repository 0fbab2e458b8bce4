//! The collectors, one per file, and the visible list of them.
//!
//! To add one: write `x.rs` with a type that implements [`Collector`], declare it here and add one
//! line to [`all`].

use crate::error::CollectError;
use crate::readings::Readings;
use crate::root::HostRoot;

mod arp;
mod conntrack;
mod cpu;
mod diskinfo;
mod diskstats;
mod entropy;
mod filefd;
mod filesystem;
mod hwmon;
mod linkstate;
mod loadavg;
mod mdadm;
mod meminfo;
mod netclass;
mod netdev;
mod netstat;
mod os;
mod pressure;
mod processes;
mod schedstat;
mod sockstat;
mod softnet;
mod stat;
mod systemd;
mod time;
mod timex;
mod uname;
mod users;
mod vmstat;
mod wear;

/// How often a collector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cadence {
    /// For every report.
    Every,
    /// Once a minute; its samples are repeated in between.
    Slow,
}

/// Reads one part of a host.
pub trait Collector: Send {
    /// Its name in `node_scrape_collector_success` and in the configuration.
    fn name(&self) -> &'static str;

    /// How often it runs.
    fn cadence(&self) -> Cadence;

    /// Pushes what it can read.
    ///
    /// # Errors
    /// What could not be read. Everything else has been pushed all the same.
    fn collect(&mut self, host: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError>;
}

/// Every collector, in the order of the report. `cpu` and `stat` stand together because they
/// share one read of `/proc/stat`.
#[must_use]
pub fn all() -> Vec<Box<dyn Collector>> {
    vec![
        Box::new(cpu::Cpu::default()),
        Box::new(stat::Stat),
        Box::new(loadavg::LoadAverage),
        Box::new(meminfo::Meminfo),
        Box::new(vmstat::Vmstat),
        Box::new(pressure::Pressure),
        Box::new(schedstat::Schedstat),
        Box::new(diskstats::Diskstats),
        Box::new(diskinfo::Diskinfo::default()),
        Box::new(filesystem::Filesystem::default()),
        Box::new(filefd::Filefd),
        Box::new(netdev::Netdev),
        Box::new(linkstate::Linkstate::default()),
        Box::new(netclass::Netclass::default()),
        Box::new(netstat::Netstat),
        Box::new(sockstat::Sockstat),
        Box::new(softnet::Softnet),
        Box::new(arp::Arp),
        Box::new(conntrack::Conntrack),
        Box::new(processes::Processes::default()),
        Box::new(users::Users::default()),
        Box::new(systemd::Systemd),
        Box::new(hwmon::Hwmon::default()),
        Box::new(mdadm::Mdadm),
        Box::new(wear::Wear::default()),
        Box::new(time::Time),
        Box::new(timex::Timex),
        Box::new(entropy::Entropy),
        Box::new(uname::Uname),
        Box::new(os::Os),
    ]
}

/// The names of all collectors.
#[must_use]
pub fn names() -> Vec<&'static str> {
    all().iter().map(|collector| collector.name()).collect()
}
