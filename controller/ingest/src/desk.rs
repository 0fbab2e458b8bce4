//! Begins sessions in the store, many in one transaction: after a restart of the controller
//! thousands of agents ask within seconds, and each transaction costs a synchronised write.

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};
use xiezhi_store::{SessionOutcome, SessionRequest, Store};

/// Most requests in one transaction.
const BATCH: usize = 256;

/// Requests that wait; beyond it askers wait for a place.
const WAITING: usize = 1024;

type Ticket = (SessionRequest, oneshot::Sender<SessionOutcome>);

/// Where to ask for a session.
#[derive(Debug, Clone)]
pub(crate) struct Desk(mpsc::Sender<Ticket>);

impl Desk {
    /// Starts the task behind the desk; it ends with the last [`Desk`].
    pub(crate) fn open(store: Store) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(serve(store, receiver));
        Self(sender)
    }

    /// What became of the request; `None` if the store does not answer now.
    pub(crate) async fn ask(&self, request: SessionRequest) -> Option<SessionOutcome> {
        let (reply, outcome) = oneshot::channel();
        self.0.send((request, reply)).await.ok()?;
        outcome.await.ok()
    }
}

async fn serve(store: Store, mut tickets: mpsc::Receiver<Ticket>) {
    let mut batch = Vec::with_capacity(BATCH);
    while tickets.recv_many(&mut batch, BATCH).await > 0 {
        let (requests, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match store.start_sessions(&requests).await {
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
}
