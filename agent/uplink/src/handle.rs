//! The handle by which the agent steers its uplink.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use xiezhi_protocol::message::{Bandwidth, DirectiveMessage, DirectiveOutcome, GoodbyeReason};
use xiezhi_spool::Spool;

use crate::config::{Config, Connector, State};
use crate::runner::Runner;

/// What the agent asks of the running task.
#[derive(Debug)]
pub(crate) enum Command {
    Flush,
    Reconnect,
    Bandwidth(Bandwidth),
    Outcome(DirectiveOutcome),
    Goodbye {
        reason: GoodbyeReason,
        limit: Duration,
        done: oneshot::Sender<()>,
    },
}

/// What handle and task share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// See [`Uplink::chain`].
    pub(crate) chain: AtomicU64,
    pub(crate) live: Notify,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the encoder restart before its next report.
    pub(crate) fn restart_chain(&self) {
        self.chain.fetch_add(1, Ordering::Relaxed);
    }
}

/// Handle of the running uplink. Clones share it; the task ends when all of them are gone or after
/// [`Uplink::goodbye`].
#[derive(Debug, Clone)]
pub struct Uplink {
    shared: Arc<Shared>,
    /// Unbounded, but each entry answers a directive or is a decision of the agent itself.
    commands: mpsc::UnboundedSender<Command>,
}

impl Uplink {
    /// Starts the task on the current runtime. Directives other than budget and resend, which the
    /// uplink answers by itself, go to `directives`; answer each with [`Uplink::outcome`].
    #[must_use]
    pub fn spawn(
        config: Config,
        spool: Arc<Mutex<Spool>>,
        connector: Arc<dyn Connector>,
        directives: mpsc::Sender<DirectiveMessage>,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let (commands, receiver) = mpsc::unbounded_channel();
        let runner = Runner::new(
            config,
            spool,
            connector,
            directives,
            Arc::clone(&shared),
            receiver,
        );
        tokio::spawn(runner.run());
        Self { shared, commands }
    }

    /// To be called after every append to the spool: the batch goes up at once.
    pub fn notify_live(&self) {
        self.shared.live.notify_one();
    }

    /// A number that changes whenever the sample encoder must restart (a new session, or the
    /// controller asked for a fresh chain). Poll it before each report.
    #[must_use]
    pub fn chain(&self) -> u64 {
        self.shared.chain.load(Ordering::Relaxed)
    }

    /// Asks the controller to acknowledge what it has without waiting for more.
    pub fn flush(&self) {
        self.command(Command::Flush);
    }

    /// Ends the session and connects again at once, for instance with a renewed certificate.
    pub fn reconnect(&self) {
        self.command(Command::Reconnect);
    }

    /// Sets the budget for backlog, as a directive would.
    pub fn set_bandwidth(&self, bandwidth: Bandwidth) {
        self.command(Command::Bandwidth(bandwidth));
    }

    /// Sends what became of a directive. Without a session it is forgotten, as the controller has.
    pub fn outcome(&self, outcome: DirectiveOutcome) {
        self.command(Command::Outcome(outcome));
    }

    /// Sends what is live, asks for acknowledgement, says goodbye and stops; waits at most `limit`.
    pub async fn goodbye(&self, reason: GoodbyeReason, limit: Duration) {
        let (done, stopped) = oneshot::channel();
        self.command(Command::Goodbye {
            reason,
            limit,
            done,
        });
        if tokio::time::timeout(limit, stopped).await.is_err() {
            tracing::debug!("goodbye took too long");
        }
    }

    /// A copy of the state.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state().clone()
    }

    fn command(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("the uplink has stopped");
        }
    }
}
