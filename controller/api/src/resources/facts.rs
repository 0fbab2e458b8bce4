//! What a host is made of.

use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_protocol::facts::Facts;

use crate::answer::Answer;
use crate::extract::Path;
use crate::problem::Problem;
use crate::view::View;

#[derive(Serialize, JsonSchema)]
pub(crate) struct FactsPage {
    /// `None` while the host has sent none.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    facts: Option<Facts>,
    received_ms: Option<i64>,
}

pub(crate) async fn read(view: View, Path(id): Path<i64>) -> Result<Answer<FactsPage>, Problem> {
    let id = view.host(id).await?.id;
    let stored = view.state.inner.store.facts(id).await?;
    // Read tolerantly: a field that this build does not know is left out, a missing one is empty.
    let facts = stored
        .as_ref()
        .and_then(|stored| serde_json::from_str(&stored.json).ok());
    Ok(Answer(FactsPage {
        facts,
        received_ms: stored.map(|stored| stored.received_ms),
    }))
}
