//! The folder of links: who is measured and who may measure, read again when it changed, and the two threads
//! that do it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use tokio::sync::mpsc as gathered;
use xiezhi_document::Language;
use xiezhi_links::config::{self, File, Reflector};
use xiezhi_links::reflector::Running;
use xiezhi_links::sender::{self, Measured};
use xiezhi_links::{config::Link, report};
use zeroize::Zeroizing;

use super::folder::{Seen, look_at};
use crate::device;

/// Intervals that may wait for this program; more are dropped, which costs their gauges. Counters go on.
const MOST_WAITING: usize = 1024;

/// The links of a host at work.
#[derive(Debug)]
pub(crate) struct Links {
    folder: PathBuf,
    key: PathBuf,
    seen: Option<Seen>,
    /// Where the sending thread learns what to measure; it is started with the first link.
    sender: Option<mpsc::Sender<Vec<Link>>>,
    tell: gathered::Sender<Measured>,
    told: gathered::Receiver<Measured>,
    wanted: Option<Reflector>,
    reflector: Option<Running>,
    /// Why there is none although one is wanted.
    trouble: String,
    /// Links that are measured.
    pub(crate) count: usize,
    /// What is wrong with the files, with file and line.
    pub(crate) problems: Vec<String>,
}

impl Links {
    /// Nothing is measured before the first look.
    pub(crate) fn new(folder: &Path, key: &Path) -> Self {
        let (tell, told) = gathered::channel(MOST_WAITING);
        Self {
            folder: folder.to_owned(),
            key: key.to_owned(),
            seen: None,
            sender: None,
            tell,
            told,
            wanted: None,
            reflector: None,
            trouble: String::new(),
            count: 0,
            problems: Vec::new(),
        }
    }

    /// The next interval, as a poll; never, where nothing is measured.
    pub(crate) async fn next(&mut self) -> xiezhi_protocol::poll::Poll {
        // This value holds a sender itself, so the channel does not end.
        let Some(measured) = self.told.recv().await else {
            return std::future::pending().await;
        };
        report::poll(&measured)
    }

    /// Reads the folder again if it changed, and takes up what it says.
    pub(crate) fn look(&mut self, language: Language) {
        let mut seen = look_at(&self.folder);
        seen.extend(look_at(&self.key));
        if self.seen.as_ref() != Some(&seen) {
            self.seen = Some(seen);
            let (read, problems) = read(&self.folder, &self.key, language);
            for problem in &problems {
                tracing::warn!("{problem}");
            }
            self.problems = problems;
            self.measure(read.links.into_values().collect());
            if self.wanted != read.reflector {
                // The old one lets its port go first.
                self.reflector = None;
                self.wanted = read.reflector;
            }
        }
        self.reflect();
    }

    fn measure(&mut self, links: Vec<Link>) {
        self.count = links.len();
        if links.is_empty() && self.sender.is_none() {
            return;
        }
        tracing::info!(links = self.count, "links read");
        let sender = self.sender.get_or_insert_with(|| {
            let (sender, given) = mpsc::channel();
            let tell = self.tell.clone();
            let thread = std::thread::Builder::new()
                .name("links".to_owned())
                .stack_size(256 << 10)
                .spawn(move || sender::run(&given, |measured| drop(tell.try_send(measured))));
            if let Err(error) = thread {
                tracing::error!(%error, "links are not measured: no thread");
            }
            sender
        });
        // A thread that could not be started takes nothing; that was told.
        sender.send(links).ok();
    }

    /// Starts the reflector that is wanted. One whose port is taken is tried again at the next look.
    fn reflect(&mut self) {
        let Some(wanted) = self.wanted.as_ref().filter(|_| self.reflector.is_none()) else {
            return;
        };
        match Running::start(wanted) {
            Ok(running) => {
                tracing::info!(addresses = ?running.addresses(), peers = wanted.peers.len(), "reflector listens");
                self.reflector = Some(running);
                self.trouble = String::new();
            }
            Err(error) => {
                let trouble = format!("{}: the reflector cannot listen: {error}", wanted.file);
                if trouble != self.trouble {
                    tracing::warn!("{trouble}");
                    self.trouble = trouble;
                }
            }
        }
    }

    /// What the reflector answered and refused since it started.
    pub(crate) fn reflected(&self) -> (u64, u64) {
        let tally = self.reflector.as_ref().map(Running::tally);
        tally.map_or((0, 0), |tally| (tally.answered, tally.refused.iter().sum()))
    }

    /// Everything that somebody should know of.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = &String> {
        let trouble = (!self.trouble.is_empty()).then_some(&self.trouble);
        self.problems.iter().chain(trouble)
    }
}

/// Reads the folder of links, and tells what is wrong line by line.
pub(crate) fn read(folder: &Path, key: &Path, language: Language) -> (config::Folder, Vec<String>) {
    let mut problems = Vec::new();
    let texts = device::texts(folder).unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        BTreeMap::new()
    });
    let mut readable = Vec::new();
    for (path, text) in &texts {
        match text {
            Ok(text) => readable.push(File {
                path,
                text: text.reveal(),
            }),
            Err(error) => problems.push(format!("{path}: {error:#}")),
        }
    }
    let keys = device::Keys::new(key);
    let open = |sealed: &str| {
        let secret = keys.open(sealed)?;
        Ok(Zeroizing::new(secret.reveal().to_owned()))
    };
    let folder = config::read(&readable, &open);
    for one in &folder.problems {
        problems.extend(one.shown(language).lines().map(str::to_owned));
    }
    (folder, problems)
}
