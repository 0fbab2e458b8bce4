//! The part of a session that committers know: whose it is, its epoch, its acknowledgement book.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use xiezhi_model::HostId;
use xiezhi_protocol::batch::Stream;

use crate::acks::AckBook;
use crate::fleet::HostEntry;
use crate::lane::LaneKind;
use crate::mail::{Mail, RefusedBatch};

/// Shared by a session's task and by what is on its way through the committers.
#[derive(Debug)]
pub(crate) struct SessionShared {
    /// The session's identifier.
    pub(crate) id: String,
    pub(crate) entry: Arc<HostEntry>,
    epoch: AtomicU64,
    mail: mpsc::UnboundedSender<Mail>,
    book: Mutex<AckBook>,
    /// Lanes whose chain was broken by a committer: deltas are turned down until a key frame.
    broken: [AtomicBool; 2],
    /// Gaps that this session brought and that are not durable yet.
    unwritten_gaps: AtomicUsize,
}

impl SessionShared {
    pub(crate) fn new(
        id: String,
        entry: Arc<HostEntry>,
        epoch: u64,
        mail: mpsc::UnboundedSender<Mail>,
    ) -> Self {
        Self {
            id,
            entry,
            epoch: AtomicU64::new(epoch),
            mail,
            book: Mutex::default(),
            broken: [const { AtomicBool::new(false) }; 2],
            unwritten_gaps: AtomicUsize::new(0),
        }
    }

    pub(crate) fn host(&self) -> HostId {
        self.entry.id()
    }

    /// Epoch under which batches are counted now.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A new epoch was opened: both lanes start a chain in it, and the agent learns of it with the
    /// next acknowledgement, which goes out at once.
    pub(crate) fn move_to(&self, epoch: u64) {
        if self.epoch.fetch_max(epoch, Ordering::AcqRel) < epoch {
            self.book().hurry();
            for broken in &self.broken {
                broken.store(true, Ordering::Release);
            }
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, AckBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a frame of `lane` may be stored: a key frame always, mending the lane.
    pub(crate) fn follows(&self, lane: LaneKind, key: bool) -> bool {
        let [live, backlog] = &self.broken;
        let broken = match lane {
            LaneKind::Live => live,
            LaneKind::Backlog => backlog,
        };
        if key {
            broken.store(false, Ordering::Release);
        }
        key || !broken.load(Ordering::Acquire)
    }

    /// Notes that a batch is durable and tells the session if an acknowledgement is due.
    pub(crate) fn durable(&self, stream: Stream, lane: LaneKind, epoch: u64, seq: u64) {
        if self.book().durable(stream, lane, epoch, seq) {
            self.post(Mail::AckDue);
        }
    }

    /// Notes that a batch was turned down and tells the session.
    pub(crate) fn turn_down(&self, refused: RefusedBatch) {
        if self.book().given_back() {
            self.post(Mail::AckDue);
        }
        self.post(Mail::Refuse(Box::new(refused)));
    }

    /// Notes that a gap waits to be written.
    pub(crate) fn gap_waits(&self) {
        self.unwritten_gaps.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that a gap was written; what waited for the last one can be acknowledged now.
    pub(crate) fn gap_written(&self) {
        if self.unwritten_gaps.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.post(Mail::AckDue);
        }
    }

    /// Whether an acknowledgement must wait.
    pub(crate) fn has_unwritten_gaps(&self) -> bool {
        self.unwritten_gaps.load(Ordering::Acquire) > 0
    }

    fn post(&self, mail: Mail) {
        // A session that has ended needs no letters: the agent sends what was not acknowledged again.
        drop(self.mail.send(mail));
    }
}
