//! What the host is made of: the description that an agent sends when it changes.
//!
//! Sources are `/sys`, `/etc` and `/proc`, and for the processor's model sysinfo, which knows the
//! numbers by which ARM processors name themselves. What cannot be read is said in `unreadable`
//! and never guessed.

mod disks;
mod interfaces;
mod listening;
mod machine;
mod os_release;
mod packages;

use xiezhi_protocol::facts::{Facts, Machine, Os};

pub(crate) use self::os_release::OsRelease;
use self::packages::Inventory;
use crate::bytes::{lines, number, split_once, text, trimmed, words};
use crate::error::CollectError;
use crate::files::{Base, Files};
use crate::kernel;
use crate::root::HostRoot;
use crate::sockets::ListeningSockets;

/// Reads the facts once. An agent that reads them again and again keeps a [`Reader`].
#[must_use]
pub fn read(host: &HostRoot) -> Facts {
    Reader::new(host.clone()).read()
}

/// Reads the facts repeatedly: the list of packages only when it has changed, the machine, which
/// stays as long as this process does, once, and the processors when their number has changed.
pub struct Reader {
    host: HostRoot,
    files: Files,
    steady: Option<Steady>,
    processors: Option<Processors>,
    inventory: Inventory,
    sockets: ListeningSockets,
}

/// What does not change while the host runs, and what could not be read of it.
#[derive(Clone)]
struct Steady {
    machine: Machine,
    virtualisation: String,
    unreadable: Vec<String>,
}

/// What `/proc/cpuinfo` says. Some kernels wake every processor for it, so it is read again only if
/// others are online.
#[derive(Clone)]
struct Processors {
    online: String,
    count: u32,
    model: String,
}

/// What every part is given.
struct Looking<'a> {
    host: &'a HostRoot,
    files: &'a mut Files,
    unreadable: Vec<String>,
}

impl Reader {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(host: HostRoot) -> Self {
        Self {
            files: Files::open(&host),
            host,
            steady: None,
            processors: None,
            inventory: Inventory::default(),
            sockets: ListeningSockets::default(),
        }
    }

    /// The facts as they are now.
    pub fn read(&mut self) -> Facts {
        self.files.start_pass();
        let mut looking = Looking {
            host: &self.host,
            files: &mut self.files,
            unreadable: Vec::new(),
        };
        let os = os(&mut looking);
        let steady = steady(&mut self.steady, &mut looking);
        let mut facts = Facts {
            os,
            machine: steady.machine,
            virtualisation: steady.virtualisation,
            disks: disks::disks(&mut looking),
            interfaces: interfaces::interfaces(&mut looking),
            packages: self.inventory.read(&mut looking),
            listening: listening::listening(&mut self.sockets, &mut looking),
            boot_time_s: boot_time(&mut looking),
            timezone: timezone(&mut looking),
            memory_bytes: memory(&mut looking),
            ..Facts::default()
        };
        names(&mut facts, &mut looking);
        processors(&mut self.processors, &mut facts, &mut looking);
        facts.unreadable = looking.unreadable;
        facts
    }
}

impl Looking<'_> {
    /// The value, or the default after noting what is missing.
    fn check<T: Default>(&mut self, what: &str, result: Result<T, CollectError>) -> T {
        result.unwrap_or_else(|error| {
            self.miss(what, &error.chain());
            T::default()
        })
    }

    fn miss(&mut self, what: &str, why: &str) {
        self.unreadable.push(format!("{what}: {why}"));
    }

    /// An attribute as text; empty if it is absent.
    fn attribute(&mut self, base: Base, parts: &[&str]) -> String {
        self.files
            .attribute(base, parts)
            .map(text)
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

fn names(facts: &mut Facts, looking: &mut Looking<'_>) {
    let name = kernel::uname(looking.host, looking.files);
    let name = looking.check("kernel", name);
    facts.hostname = name.node;
    facts.kernel = name.release;
    facts.architecture = name.machine;
}

fn os(looking: &mut Looking<'_>) -> Os {
    let release = OsRelease::read(looking.files);
    let release = looking.check("operating system", release);
    Os {
        id: release.get("ID").to_owned(),
        version: release.get("VERSION_ID").to_owned(),
        name: release.get("PRETTY_NAME").to_owned(),
    }
}

fn steady(known: &mut Option<Steady>, looking: &mut Looking<'_>) -> Steady {
    if let Some(known) = known {
        looking.unreadable.extend_from_slice(&known.unreadable);
        return known.clone();
    }
    let before = looking.unreadable.len();
    let found = Steady {
        machine: machine::machine(looking),
        virtualisation: machine::virtualisation(looking),
        unreadable: looking
            .unreadable
            .get(before..)
            .unwrap_or_default()
            .to_vec(),
    };
    known.insert(found).clone()
}

fn processors(known: &mut Option<Processors>, facts: &mut Facts, looking: &mut Looking<'_>) {
    let online = looking.attribute(Base::Sys, &["devices/system/cpu/online"]);
    let found = match known.take().filter(|known| known.online == online) {
        Some(known) => known,
        None => read_processors(online, looking),
    };
    facts.cpu_count = found.count;
    facts.cpu_model.clone_from(&found.model);
    // Without knowing which are online, or the count, the next look reads again.
    *known = Some(found).filter(|found| !found.online.is_empty() && found.count > 0);
    if facts.cpu_model.is_empty() {
        looking.miss("processor", "the model is not named");
    }
}

fn read_processors(online: String, looking: &mut Looking<'_>) -> Processors {
    let content = looking
        .files
        .read(Base::Proc, "cpuinfo")
        .map(count_and_model);
    let (count, mut model) = looking.check("processor", content);
    if model.is_empty() && looking.host.is_live() {
        model = model_by_sysinfo();
    }
    Processors {
        online,
        count,
        model,
    }
}

/// x86 says `model name`, MIPS and LoongArch `cpu model` and `Model Name`.
fn count_and_model(cpuinfo: &[u8]) -> (u32, String) {
    let mut count = 0;
    let mut model = String::new();
    for line in lines(cpuinfo) {
        let Some((key, value)) = split_once(line, b':') else {
            continue;
        };
        match trimmed(key) {
            b"processor" => count += 1,
            b"model name" | b"Model Name" | b"cpu model" if model.is_empty() => {
                model = text(trimmed(value)).into_owned();
            }
            _ => {}
        }
    }
    (count, model)
}

/// ARM's `/proc/cpuinfo` only has numbers for maker and part; sysinfo knows their names.
fn model_by_sysinfo() -> String {
    let kind = sysinfo::CpuRefreshKind::nothing();
    let system =
        sysinfo::System::new_with_specifics(sysinfo::RefreshKind::nothing().with_cpu(kind));
    let Ok(system) = system else {
        return String::new();
    };
    system
        .cpus()
        .first()
        .map(|cpu| cpu.brand().trim().to_owned())
        .unwrap_or_default()
}

fn memory(looking: &mut Looking<'_>) -> u64 {
    let total = looking.files.read(Base::Proc, "meminfo").map(|content| {
        let line = lines(content).find_map(|line| line.strip_prefix(b"MemTotal:"));
        line.and_then(|line| words(line).next()).and_then(number)
    });
    let kilobytes = looking.check("memory", total);
    if kilobytes.is_none() {
        looking.miss("memory", "meminfo does not say the total");
    }
    kilobytes.unwrap_or_default().saturating_mul(1024)
}

fn boot_time(looking: &mut Looking<'_>) -> i64 {
    let found = looking.files.read(Base::Proc, "stat").map(|content| {
        let line = lines(content).find_map(|line| line.strip_prefix(b"btime "));
        line.and_then(number)
            .and_then(|seconds| i64::try_from(seconds).ok())
    });
    let seconds = looking.check("boot time", found);
    if seconds.is_none() {
        looking.miss("boot time", "stat has no btime");
    }
    seconds.unwrap_or_default()
}

/// The name in `/etc/timezone`, or the one that `/etc/localtime` points to; without either the
/// host runs on UTC (localtime(5)).
fn timezone(looking: &mut Looking<'_>) -> String {
    let named = looking.attribute(Base::Root, &["etc/timezone"]);
    if !named.is_empty() {
        return named;
    }
    match std::fs::read_link(looking.host.path("/etc/localtime")) {
        Err(_) => "UTC".to_owned(),
        Ok(target) => {
            let target = target.to_string_lossy();
            match target.split_once("zoneinfo/") {
                Some((_, name)) => name.to_owned(),
                None => {
                    looking.miss("time zone", "/etc/localtime points outside of zoneinfo");
                    String::new()
                }
            }
        }
    }
}
