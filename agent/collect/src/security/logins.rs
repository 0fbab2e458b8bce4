//! Logins, sudo and account tools: from the authentication log, or from the journal.
//!
//! Most hosts write the same messages to both; reading both would tell everything twice. So one is
//! chosen: a log file of syslog if there is one (rsyslog is the default of the Red Hat family,
//! openEuler, Kylin, Ubuntu and UOS), else the journal (Debian 12). The choice is saved; if it
//! changes, the new source starts at its present end and the change is said as a gap.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::auth::{AuthParser, Message};
use super::journal::{Journal, JournalState};
use super::logfile::{LogFile, LogState};
use super::privileged::RootLog;
use super::syslog;
use super::watcher::{Context, Watcher};

/// Where the messages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Choice {
    AuthLog,
    Secure,
    Journal,
}

#[derive(Serialize, Deserialize)]
struct State {
    choice: Option<Choice>,
    log: LogState,
    journal: JournalState,
}

/// The watcher.
#[derive(Debug)]
pub(crate) struct Logins {
    choice: Option<Choice>,
    log: LogFile,
    journal: Journal,
    parser: AuthParser,
    checked_boot_ms: Option<i64>,
}

/// How often it is checked whether another source should be used.
const CHECK_EVERY_MS: i64 = 60_000;

impl Logins {
    pub(crate) fn new() -> Self {
        Self {
            choice: None,
            log: LogFile::restricted(RootLog::AuthLog),
            journal: Journal::default(),
            parser: AuthParser::default(),
            checked_boot_ms: None,
        }
    }

    fn choose(&mut self, context: &mut Context<'_>) {
        let is_early = self
            .checked_boot_ms
            .is_some_and(|at| context.now.boot_ms - at < CHECK_EVERY_MS);
        if is_early {
            return;
        }
        self.checked_boot_ms = Some(context.now.boot_ms);
        let Some(choice) = preferred(context) else {
            return;
        };
        if self.choice == Some(choice) {
            return;
        }
        let before = self.choice.replace(choice);
        self.set_log(choice);
        self.log.skip_to_end();
        self.journal.skip_to_end();
        context.mark_urgent();
        if before.is_some() {
            context.emit_gap(
                "the host's log of logins moved; reading goes on at the end of the new one",
                None,
            );
        }
    }

    fn set_log(&mut self, choice: Choice) {
        let state = std::mem::take(&mut self.log.state);
        self.log = LogFile::restricted(if choice == Choice::Secure {
            RootLog::Secure
        } else {
            RootLog::AuthLog
        });
        self.log.state = state;
    }
}

/// The source that this host offers: the log file written last, or the journal if there is none.
fn preferred(context: &Context<'_>) -> Option<Choice> {
    let written = |log: RootLog| {
        std::fs::metadata(context.path(log.path()))
            .and_then(|m| m.modified())
            .ok()
    };
    match (written(RootLog::AuthLog), written(RootLog::Secure)) {
        (Some(auth), Some(secure)) if secure > auth => Some(Choice::Secure),
        (Some(_), _) => Some(Choice::AuthLog),
        (None, Some(_)) => Some(Choice::Secure),
        (None, None) => Journal::exists(context.root).then_some(Choice::Journal),
    }
}

impl Watcher for Logins {
    fn name(&self) -> &'static str {
        "logins"
    }

    fn every(&self) -> Duration {
        Duration::ZERO
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        self.choose(context);
        let parser = &mut self.parser;
        match self.choice {
            None => {}
            Some(Choice::Journal) => self.journal.poll(context, &mut |context, entry| {
                if let Some(event) = entry.parse(parser) {
                    context.emit(event.with("log", "journal"));
                }
            }),
            Some(_) => self.log.poll(context, &mut |context, line| {
                let Some(line) = syslog::parse(line, context.now.wall_ms, context.zone) else {
                    return;
                };
                let message = Message {
                    time_ms: line.time_ms,
                    tag: line.tag,
                    pid: line.pid,
                    text: line.message,
                };
                if let Some(event) = parser.parse(&message) {
                    context.emit(event.with("log", "file"));
                }
            }),
        }
    }

    fn loss(&self) -> Option<String> {
        match self.choice {
            None => Some("neither an authentication log nor a journal is found".to_owned()),
            Some(Choice::Journal) => self.journal.loss(),
            Some(_) => self.log.loss(),
        }
    }

    fn save(&self) -> Value {
        let state = State {
            choice: self.choice,
            log: self.log.state.clone(),
            journal: self.journal.state.clone(),
        };
        serde_json::to_value(state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        let Ok(state) = serde_json::from_value::<State>(saved) else {
            return false;
        };
        self.choice = state.choice;
        if let Some(choice) = state.choice {
            self.set_log(choice);
        }
        self.log.state = state.log;
        self.journal.state = state.journal;
        true
    }
}
