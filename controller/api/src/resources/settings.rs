//! Dated settings, read only.

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::problem::Problem;
use crate::state::AppState;

#[derive(Serialize, JsonSchema)]
struct SettingRow {
    key: String,
    value: String,
    valid_from_ms: i64,
    source: String,
}

/// The values that apply now.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Settings {
    items: Vec<SettingRow>,
}

pub(crate) async fn list(State(state): State<AppState>) -> Result<Answer<Settings>, Problem> {
    let settings = state.inner.store.settings_at(state.now_ms()).await?;
    let row = |setting: xiezhi_model::Setting| SettingRow {
        key: setting.key,
        value: setting.value,
        valid_from_ms: setting.valid_from_ms,
        source: setting.source,
    };
    Ok(Answer(Settings {
        items: settings.into_iter().map(row).collect(),
    }))
}
