//! The uplink's task: one session after the other, with waits between them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use xiezhi_protocol::message::{Bandwidth, DirectiveMessage};
use xiezhi_spool::Spool;

use crate::config::{Config, Connector};
use crate::connect::{self, Refusal};
use crate::handle::{Command, Shared};
use crate::random::{Retry, between};
use crate::session::{End, Session};

/// Everything that outlives a session.
pub(crate) struct Runner {
    pub(crate) config: Config,
    pub(crate) spool: Arc<Mutex<Spool>>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) directives: mpsc::Sender<DirectiveMessage>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    /// The budget that was set last.
    pub(crate) bandwidth: Bandwidth,
    /// Who waits for the end.
    pub(crate) stopped: Option<oneshot::Sender<()>>,
}

/// What a wait ended with.
enum Waited {
    Over,
    Stop,
}

impl Runner {
    pub(crate) fn new(
        config: Config,
        spool: Arc<Mutex<Spool>>,
        connector: Arc<dyn Connector>,
        directives: mpsc::Sender<DirectiveMessage>,
        shared: Arc<Shared>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let bandwidth = Bandwidth::default();
        let stopped = None;
        Self {
            config,
            spool,
            connector,
            directives,
            shared,
            commands,
            bandwidth,
            stopped,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut retry = Retry::new(self.config.retry_within, self.config.retry_cap);
        let mut wait = between(Duration::ZERO, self.config.start_within);
        loop {
            if let Waited::Stop = self.wait(wait).await {
                break;
            }
            wait = match self.attempt().await {
                Ok(End::Stopped) => break,
                Ok(End::Reconnect) => Duration::ZERO,
                Ok(End::Lost(reason)) => {
                    let wait = retry.after_session();
                    tracing::warn!(reason, ?wait, "uplink lost, connecting again");
                    self.note_trouble(reason);
                    wait
                }
                Err(refusal) => {
                    self.shared.state().failures += 1;
                    if let Some((code, detail)) = &refusal.problem {
                        self.connector.refused(code, detail);
                    }
                    let wait = retry.after_failure(refusal.retry_after);
                    tracing::warn!(reason = refusal.reason, ?wait, "no uplink, trying again");
                    self.note_trouble(refusal.reason);
                    wait
                }
            };
        }
        self.note_trouble("stopped".to_owned());
        if let Some(Err(())) = self.stopped.take().map(|stopped| stopped.send(())) {
            tracing::debug!("nobody waits for the uplink's end any more");
        }
    }

    async fn attempt(&mut self) -> Result<End, Refusal> {
        let limit = self.config.connect_timeout;
        let connecting = connect::connect(&*self.connector, &self.spool);
        let connected = match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(Refusal::because("the controller does not answer")),
        };
        let session = Session::begin(self, connected)?;
        let end = session.run().await;
        self.shared.state().connected_since_ms = None;
        Ok(end)
    }

    fn note_trouble(&self, reason: String) {
        self.shared.state().trouble = reason;
    }

    /// Waits; a wish to reconnect ends the wait, a goodbye everything.
    async fn wait(&mut self, wait: Duration) -> Waited {
        let until = Instant::now() + wait;
        loop {
            let command = tokio::select! {
                () = tokio::time::sleep_until(until) => return Waited::Over,
                command = self.commands.recv() => command,
            };
            match command {
                None => return Waited::Stop,
                Some(Command::Goodbye { done, .. }) => {
                    self.stopped = Some(done);
                    return Waited::Stop;
                }
                Some(Command::Reconnect) => return Waited::Over,
                Some(Command::Bandwidth(bandwidth)) => self.bandwidth = bandwidth,
                Some(Command::Flush | Command::Outcome(_)) => {}
            }
        }
    }
}
