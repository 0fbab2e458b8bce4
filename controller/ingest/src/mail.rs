//! What the rest of the controller tells a session's task.

use tokio::sync::oneshot;
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::{Directive, DirectiveOutcome};

/// One letter. Letters are rare: an acknowledgement each few frames, a directive now and then.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The acknowledgement book has something due.
    AckDue,
    /// A batch could not be taken; the agent sends it again as the start of a chain.
    Refuse(Box<RefusedBatch>),
    /// Send a directive and hand its outcome back.
    Directive(Box<PendingDirective>),
    /// End the session now.
    Close(CloseReason),
}

/// A batch that a store turned down after the session had accepted it.
#[derive(Debug)]
pub(crate) struct RefusedBatch {
    pub(crate) stream: Stream,
    pub(crate) seq: u64,
    pub(crate) resend: bool,
    pub(crate) reason: String,
}

/// A directive on its way down.
#[derive(Debug)]
pub(crate) struct PendingDirective {
    pub(crate) id: u64,
    pub(crate) directive: Directive,
    pub(crate) reply: oneshot::Sender<DirectiveOutcome>,
}

/// Why the controller ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The host or its certificate was revoked.
    Revoked,
    /// The same identity opened another session.
    Superseded,
    /// A person asked for it.
    Kicked,
    /// The controller stops.
    Shutdown,
}

impl CloseReason {
    /// The sentence that the agent logs.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Revoked => "revoked: this host's identity was revoked",
            Self::Superseded => "superseded: another session with this identity was opened",
            Self::Kicked => "kicked: the controller closed this session, connect again",
            Self::Shutdown => "shutdown: the controller stops, connect again later",
        }
    }
}
