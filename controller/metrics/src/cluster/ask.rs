//! Queries answered by the cluster: PromQL as text there, JSON back.
//!
//! Bounded like queries of the embedded engine: in time, in number, in size. Whatever is wrong over
//! there becomes an error in Prometheus's shape that says who did not answer.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use xiezhi_promql::{Answer, Labels, Named, QueryError, Select, escape_name};

use super::answer::{Envelope, Outcome, answer};
use super::scope;
use super::target::{Target, is_certificate};
use crate::directory::{Origins, Scope};
use crate::pool::Busy;
use crate::queries::{Failure, Remote};

/// Names and values of a request.
pub(crate) type Form = Vec<(&'static str, String)>;

/// Longest refusal whose words are read.
const REFUSAL_BYTES: usize = 64 << 10;

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskSettings {
    /// Queries at one time.
    pub requests: usize,
    /// Queries that wait for one of these.
    pub waiting: usize,
    /// Longest time of one, its wait included; a caller may ask for less.
    pub timeout: Duration,
    /// Longest text that is sent.
    pub query_bytes: usize,
    /// Longest answer that is read.
    pub answer_bytes: usize,
}

impl Default for AskSettings {
    fn default() -> Self {
        Self {
            requests: 8,
            waiting: 40,
            // Before the browsers' port gives up at 30 s, so that whoever asked hears it in the form
            // that Prometheus's clients read.
            timeout: Duration::from_secs(25),
            query_bytes: 16 << 10,
            answer_bytes: 64 << 20,
        }
    }
}

/// Asks the cluster. Clones share everything.
#[derive(Debug, Clone)]
pub struct Ask {
    client: reqwest::Client,
    target: Arc<Target>,
    settings: AskSettings,
    /// A permit for each query that runs or waits.
    line: Arc<Semaphore>,
    slots: Arc<Semaphore>,
}

impl Ask {
    /// Prepares; no connection is made yet.
    ///
    /// # Errors
    /// If the HTTP client cannot be made.
    pub fn new(target: Arc<Target>, settings: AskSettings) -> std::io::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*target.tls).clone())
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self {
            client,
            line: Arc::new(Semaphore::new(settings.requests + settings.waiting)),
            slots: Arc::new(Semaphore::new(settings.requests)),
            target,
            settings,
        })
    }

    /// A query that [`scope::query`] made.
    pub(crate) async fn instant(
        &self,
        query: &str,
        time_ms: i64,
        timeout: Option<Duration>,
    ) -> Result<Answer, Failure> {
        let form = vec![("query", query.to_owned()), ("time", seconds(time_ms))];
        self.value("query", form, timeout).await
    }

    /// A query that [`scope::query`] made.
    pub(crate) async fn range(
        &self,
        query: &str,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        timeout: Option<Duration>,
    ) -> Result<Answer, Failure> {
        let form = vec![
            ("query", query.to_owned()),
            ("start", seconds(start_ms)),
            ("end", seconds(end_ms)),
            ("step", seconds(step_ms)),
        ];
        self.value("query_range", form, timeout).await
    }

    /// What [`scoped_selections`] made.
    pub(crate) async fn series(&self, form: Form) -> Result<Vec<Labels>, Failure> {
        type Found = Vec<std::collections::BTreeMap<String, String>>;
        let found: Envelope<Found> = self.call("series", form, None).await?;
        let found = found.data.unwrap_or_default();
        let mut all: Vec<Labels> = found.into_iter().map(Labels::new).collect();
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// What [`scoped_selections`] made.
    pub(crate) async fn texts(&self, path: &str, form: Form) -> Result<Vec<String>, Failure> {
        Ok(sorted(self.call(path, form, None).await?))
    }

    /// The values of a label, with what [`scoped_selections`] made. A cluster that does not take the name in
    /// one of its forms takes it in another; the last refusal counts.
    pub(crate) async fn label_values(
        &self,
        name: &str,
        form: Form,
    ) -> Result<Vec<String>, Failure> {
        let mut paths = values_paths(name)?.into_iter().peekable();
        while let Some(path) = paths.next() {
            match self.call(&path, form.clone(), None).await {
                Err(Unanswered { status, .. }) if paths.peek().is_some() && is_of_form(status) => {}
                answered => return Ok(sorted(answered?)),
            }
        }
        Ok(Vec::new())
    }

    async fn value(
        &self,
        path: &str,
        form: Form,
        timeout: Option<Duration>,
    ) -> Result<Answer, Failure> {
        let envelope: Envelope<Outcome> = self.call(path, form, timeout).await?;
        answer(envelope).ok_or_else(|| self.away("answers what is no result of a query"))
    }

    /// One request, within its time.
    async fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        mut form: Form,
        timeout: Option<Duration>,
    ) -> Result<Envelope<T>, Unanswered> {
        let most = self.settings.timeout;
        let limit = timeout.map_or(most, |asked| asked.min(most));
        let length: usize = form.iter().map(|pair| pair.1.len()).max().unwrap_or(0);
        if length > self.settings.query_bytes {
            return Err(self.too_long(length).into());
        }
        let Ok(_waiting) = self.line.try_acquire() else {
            return Err(Failure::from(Busy).into());
        };
        form.push(("timeout", format!("{}ms", limit.as_millis().max(1))));
        let work = async {
            // The semaphore is never closed.
            let _running = self.slots.acquire().await;
            self.exchange(path, &form).await
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(Unanswered::from(Failure::Remote(Remote {
                status: 503,
                kind: "timeout",
                message: format!(
                    "query timed out: the cluster at {} gave no answer within {} s",
                    self.shown(),
                    limit.as_secs_f64()
                ),
            }))),
        }
    }

    async fn exchange<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        form: &Form,
    ) -> Result<Envelope<T>, Unanswered> {
        let base = self.target.query.to_string();
        let url = format!("{}/api/v1/{path}", base.trim_end_matches('/'));
        let headers = self.target.headers().map_err(|error| {
            tracing::error!(error = %error, "the cluster cannot be asked");
            self.away("cannot be asked: the controller's log says why")
        })?;
        // Lists of a label's values take no POST.
        let request = if path.starts_with("label/") {
            self.client.get(url).query(form)
        } else {
            self.client.post(url).form(form)
        };
        let sent = request.headers(headers).send().await;
        let mut response = sent.map_err(|error| {
            tracing::debug!(error = %error, "the cluster does not answer");
            if is_certificate(&error) {
                return self.away(
                    "shows a certificate that is not accepted: check `cluster.ca_file` and the host \
                     name in `cluster.query`",
                );
            }
            self.away("does not answer")
        })?;
        let status = response.status();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > self.settings.answer_bytes => {
                    return Err(self.too_much().into());
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => return Err(self.away("stopped in the middle of its answer").into()),
            }
        }
        if status.is_success() {
            // Megabytes take a while, and agents' sessions share this thread.
            let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&body)).await;
            let parsed = parsed.map_err(|_| Failure::Lost)?;
            return parsed.map_err(|_| self.away("answers what is no JSON of Prometheus").into());
        }
        body.truncate(REFUSAL_BYTES);
        Err(Unanswered {
            status: Some(status),
            failure: self.refused(status.as_u16(), &body),
        })
    }

    /// What the cluster itself says of a query, or that it is unwell.
    fn refused(&self, status: u16, body: &[u8]) -> Failure {
        let said = serde_json::from_slice::<Envelope<serde_json::Value>>(body).ok();
        let message = said.and_then(|said| {
            let kind = said.kind.unwrap_or_default();
            said.error.map(|error| (kind, error))
        });
        let kind = match (status, &message) {
            (400, Some(_)) => "bad_data",
            (422, Some(_)) => "execution",
            (503, Some((kind, _))) if kind == "timeout" => "timeout",
            (503, Some((kind, _))) if kind == "canceled" => "canceled",
            _ => return self.away(&format!("answers with status {status}")),
        };
        Failure::Remote(Remote {
            status,
            kind,
            message: message.map(|(_, error)| error).unwrap_or_default(),
        })
    }

    fn away(&self, what: &str) -> Failure {
        Failure::Remote(Remote {
            status: 503,
            kind: "unavailable",
            message: format!("the cluster at {} {what}", self.shown()),
        })
    }

    fn too_long(&self, length: usize) -> Failure {
        let most = self.settings.query_bytes;
        Failure::Remote(Remote {
            status: 422,
            kind: "execution",
            message: format!(
                "with the hosts that you may see the query has {length} bytes and the cluster takes \
                 {most}: narrow it by site or site_id, or let the administrator raise \
                 `cluster.query_bytes` (and -search.maxQueryLen of VictoriaMetrics)"
            ),
        })
    }

    fn too_much(&self) -> Failure {
        let most = self.settings.answer_bytes >> 20;
        Failure::Remote(Remote {
            status: 422,
            kind: "execution",
            message: format!("the answer has more than {most} MiB: ask for fewer series or steps"),
        })
    }

    fn shown(&self) -> String {
        let uri: &Uri = &self.target.query;
        Target::shown(uri)
    }
}

/// A request that has no result.
#[derive(Debug)]
struct Unanswered {
    /// What the cluster answered, if it did.
    status: Option<StatusCode>,
    failure: Failure,
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        let status = None;
        Self { status, failure }
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.failure
    }
}

/// Whether a cluster's answer may mean that it does not take this form of a name: Prometheus says 400, or 404
/// where the name has a slash. Who we are, and that it has too much to do, concern all forms.
fn is_of_form(status: Option<StatusCode>) -> bool {
    use StatusCode as S;
    status.is_some_and(|status| {
        status.is_client_error()
            && ![S::UNAUTHORIZED, S::FORBIDDEN, S::TOO_MANY_REQUESTS].contains(&status)
    })
}

fn sorted(found: Envelope<Vec<String>>) -> Vec<String> {
    let mut all = found.data.unwrap_or_default();
    all.sort_unstable();
    all.dedup();
    all
}

/// Selections as a form. All of a request look at the same time.
pub(crate) fn scoped_selections(
    (scope, origins): (&Scope, &Origins),
    selections: &[Select],
) -> Form {
    let texts = selections
        .iter()
        .map(|select| scope::selection(&select.matchers, scope, origins));
    let texts: Option<Vec<String>> = texts.collect();
    // One that is everything makes the others void.
    let texts = texts.unwrap_or_default();
    let mut form: Form = texts.into_iter().map(|text| ("match[]", text)).collect();
    if let Some(first) = selections.first() {
        form.push(("start", seconds(first.start_ms)));
        form.push(("end", seconds(first.end_ms)));
    }
    form
}

/// The paths of a label's values, in the order in which they are asked for. A classic name stands in a path
/// as it is. Of others some clusters know the name itself (VictoriaMetrics, Prometheus 3), some the form
/// that Prometheus has for paths. A name that a server might take for steps in a path has that form only:
/// it must not lead to another tenant.
fn values_paths(name: &str) -> Result<Vec<String>, Failure> {
    if name.is_empty() {
        let message = "invalid label name: \"\"".to_owned();
        return Err(Failure::Query(QueryError::BadData(message)));
    }
    let escaped = escape_name(name, Named::Label);
    let mut names = vec![escaped.to_string()];
    let mut parts = name.split(['/', '\\']);
    let is_step = parts.any(|part| part.chars().all(|sign| sign == '.'));
    if escaped != name && !is_step {
        names.insert(0, encoded(name));
    }
    let path = |name: String| format!("label/{name}/values");
    Ok(names.into_iter().map(path).collect())
}

/// As it stands in a path.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len() * 3);
    for byte in name.bytes() {
        match byte {
            b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn seconds(ms: i64) -> String {
    let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_form_is_tried_only_if_the_form_may_be_the_fault() {
        let tried = |status: u16| is_of_form(StatusCode::from_u16(status).ok());
        assert!([400, 404, 405, 422].into_iter().all(tried));
        assert!(![200, 401, 403, 429, 500, 503].into_iter().any(tried));
        assert!(!is_of_form(None));
    }

    #[test]
    fn any_name_of_a_label_has_paths_that_lead_nowhere_else() {
        let of = |name: &str| values_paths(name).unwrap();
        assert_eq!(of("site"), ["label/site/values"]);
        let both = ["label/a%2Eb/values", "label/U__a_2e_b/values"];
        assert_eq!(of("a.b"), both);
        let both = ["label/%E6%B3%95/values", "label/U___6cd5_/values"];
        assert_eq!(of("法"), both);
        assert_eq!(of(".."), ["label/U___2e__2e_/values"]);
        assert_eq!(of("../x?y"), ["label/U___2e__2e__2f_x_3f_y/values"]);
        let both = ["label/a%2Fb/values", "label/U__a_2f_b/values"];
        assert_eq!(of("a/b"), both);
        for steps in ["/a", "a//b", "a/", "a/../b", "a/./b", "a\\..\\b"] {
            let paths = of(steps);
            assert!(paths.len() == 1 && !paths[0].contains('%'), "{paths:?}");
        }
        assert!(values_paths("").is_err());
    }
}
