//! Steps of the host's clock: wall clock against the clock that never jumps.
//!
//! Slewing (NTP, at most 500 ppm) is not a step. Steps made while the agent was down are found too
//! if the host was not restarted meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::watcher::{Context, Watcher};

/// A difference below this is not a step.
const LEAST_STEP_MS: i64 = 1000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    boot_id: String,
    /// Wall clock minus time since boot.
    offset_ms: Option<i64>,
    boot_ms: i64,
}

/// The watcher.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    state: State,
    boot_id: Option<String>,
}

impl Watcher for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn every(&self) -> Duration {
        Duration::ZERO
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        let boot_id = self
            .boot_id
            .get_or_insert_with(|| {
                let path = context.path("proc/sys/kernel/random/boot_id");
                std::fs::read_to_string(path)
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
            .clone();
        let now = context.now;
        let offset_ms = now.wall_ms - now.boot_ms;
        let is_same_boot = self.state.boot_id == boot_id;
        if let (true, Some(before)) = (is_same_boot, self.state.offset_ms) {
            let step_ms = offset_ms - before;
            let slewed_ms = (now.boot_ms - self.state.boot_ms).max(0) / 1000;
            if step_ms.abs() < LEAST_STEP_MS + slewed_ms {
                // Follow the slew slowly, or it would add up to a step over days.
                self.keep(boot_id, offset_ms, now.boot_ms);
                return;
            }
            let event = context
                .event(
                    kinds::TIME_STEPPED,
                    Severity::Warning,
                    format!("clock stepped by {step_ms} ms"),
                )
                .with("step_ms", step_ms.to_string());
            context.emit(event);
        }
        self.keep(boot_id, offset_ms, now.boot_ms);
    }

    fn save(&self) -> Value {
        // Rounded, so that an idle host's state stays the same and is not written again.
        let rounded = State {
            boot_id: self.state.boot_id.clone(),
            offset_ms: self.state.offset_ms.map(|ms| ms / 100 * 100),
            boot_ms: self.state.boot_ms / 3_600_000 * 3_600_000,
        };
        serde_json::to_value(rounded).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value(saved)
            .map(|state| self.state = state)
            .is_ok()
    }
}

impl Clock {
    fn keep(&mut self, boot_id: String, offset_ms: i64, boot_ms: i64) {
        self.state = State {
            boot_id,
            offset_ms: Some(offset_ms),
            boot_ms,
        };
    }
}
