//! Begins sessions in the store, many in one transaction: after a restart of the controller
//! thousands of agents ask within seconds, and each transaction costs a synchronised write.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};
use xiezhi_store::{SessionOutcome, SessionRequest, Store, StoreError};

use crate::Clock;
use crate::health::{Cause, SharedHealth, chain};

/// Most requests in one transaction.
const BATCH: usize = 256;

/// Requests that wait; beyond it askers wait for a place.
const WAITING: usize = 1024;

/// How often a database that could not be written to is tried again; agents come less often.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

type Ticket = (SessionRequest, oneshot::Sender<SessionOutcome>);

/// Where to ask for a session.
#[derive(Debug, Clone)]
pub(crate) struct Desk(mpsc::Sender<Ticket>);

impl Desk {
    /// Starts the task behind the desk; it ends with the last [`Desk`].
    pub(crate) fn open(store: Store, health: SharedHealth, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let behind = Behind {
            store,
            health,
            clock,
        };
        tokio::spawn(behind.serve(receiver));
        Self(sender)
    }

    /// What became of the request; `None` if the store does not answer now.
    pub(crate) async fn ask(&self, request: SessionRequest) -> Option<SessionOutcome> {
        let (reply, outcome) = oneshot::channel();
        self.0.send((request, reply)).await.ok()?;
        outcome.await.ok()
    }
}

struct Behind {
    store: Store,
    health: SharedHealth,
    clock: Clock,
}

impl Behind {
    async fn serve(self, mut tickets: mpsc::Receiver<Ticket>) {
        let mut batch = Vec::with_capacity(BATCH);
        // A controller may be started on a full disk.
        self.look().await;
        loop {
            let is_ill = self.health.get().sessions.is_some();
            match next(&mut tickets, &mut batch, is_ill).await {
                Some(0) => return,
                Some(_) => self.begin(&mut batch).await,
                None => self.look().await,
            }
        }
    }

    async fn begin(&self, batch: &mut Vec<Ticket>) {
        let (requests, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let outcome = self.store.start_sessions(&requests).await;
        self.note(outcome.as_ref().err());
        match outcome {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    if reply.send(outcome).is_err() {
                        debug!("whoever asked for a session has gone and will ask again");
                    }
                }
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(
                    error,
                    sessions = requests.len(),
                    "sessions cannot begin, agents try again"
                );
            }
        }
    }

    /// Tries whether the database can be written to.
    async fn look(&self) {
        let outcome = self.store.check_writable().await;
        self.note(outcome.as_ref().err());
    }

    fn note(&self, error: Option<&StoreError>) {
        let reason = error.map(|error| (Cause::of(error), chain(error)));
        self.health.sessions(self.clock.now_ms(), reason);
    }
}

/// How many tickets came; 0 at the end, `None` if it is time to look at an ill database again.
async fn next(
    tickets: &mut mpsc::Receiver<Ticket>,
    batch: &mut Vec<Ticket>,
    is_ill: bool,
) -> Option<usize> {
    let waiting = tickets.recv_many(batch, BATCH);
    if is_ill {
        timeout(LOOK_AGAIN, waiting).await.ok()
    } else {
        Some(waiting.await)
    }
}
