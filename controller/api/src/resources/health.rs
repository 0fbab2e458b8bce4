//! `/healthz`: whether the controller answers and its state can be read. Says nothing else, because
//! anyone may ask.

use axum::extract::State;
use serde::Serialize;

use crate::answer::Answer;
use crate::problem::Problem;
use crate::state::AppState;

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
}

pub(crate) async fn read(State(state): State<AppState>) -> Result<Answer<Health>, Problem> {
    state.inner.store.latest_revocation().await?;
    Ok(Answer(Health { status: "ok" }))
}
