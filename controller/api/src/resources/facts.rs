//! What a host is made of.

use axum::extract::State;
use serde::Serialize;
use xiezhi_model::HostId;
use xiezhi_protocol::facts::Facts;

use crate::answer::Answer;
use crate::extract::Path;
use crate::problem::Problem;
use crate::state::AppState;

#[derive(Serialize)]
pub(crate) struct FactsPage {
    /// `None` while the host has sent none.
    facts: Option<Facts>,
    received_ms: Option<i64>,
}

pub(crate) async fn read(
    State(state): State<AppState>,
    Path(id): Path<i64>,
) -> Result<Answer<FactsPage>, Problem> {
    let id = HostId(id);
    if state.inner.store.host(id).await?.is_none() {
        return Err(Problem::not_found("host"));
    }
    let stored = state.inner.store.facts(id).await?;
    // Read tolerantly: a field that this build does not know is left out, a missing one is empty.
    let facts = stored
        .as_ref()
        .and_then(|stored| serde_json::from_str(&stored.json).ok());
    Ok(Answer(FactsPage {
        facts,
        received_ms: stored.map(|stored| stored.received_ms),
    }))
}
