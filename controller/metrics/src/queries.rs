//! PromQL text in, answers out, whatever keeps the samples.
//!
//! The engine is exchanged here, at the text of a query, and never at iterators over series: a
//! cluster evaluates by itself, and what comes back is already an answer.
//!
//! Everything that a caller can make expensive is done on a query thread and within the query's
//! budget: reading the text, evaluating, making JSON and compressing it. Callers only wait.

mod render;
mod work;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::oneshot;
use xiezhi_promql::{
    Account, Answer, Budget, Engine, Labels, Limits, Options, ParseError, QueryError, StorageError,
    format_query,
};
use xiezhi_series::{Selector, SeriesStore};

pub use render::Json;

use crate::cluster::{Ask, Form, scoped_query, scoped_selections};
use crate::directory::{Directory, Scope, Seen};
use crate::pool::{Busy, Pool};
use crate::wire;
use render::Room;
use work::Work;

/// What an operator may set, in the section `queries` of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Queries that run at one time.
    pub threads: usize,
    /// Queries that wait for one of these.
    pub waiting: usize,
    /// Longest time of one query, its wait included; a caller may ask for less.
    pub timeout: Duration,
    /// Samples and memory of one query.
    pub limits: Limits,
    /// Bytes of one answer as it goes over the line.
    pub answer_bytes: usize,
    /// Bytes of all answers that are made and not taken yet.
    pub answers_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 2,
            // A dashboard asks 24 at once; several people open one when something has happened.
            waiting: 100,
            // Before the browsers' port gives up at 30 s, so that whoever asked hears it in the form
            // that Prometheus's clients read.
            timeout: Duration::from_secs(25),
            limits: Limits::default(),
            // A chart of a thousand series with a thousand points has 25 MB, compressed 5.
            answer_bytes: 64 << 20,
            answers_bytes: 128 << 20,
        }
    }
}

/// How an answer is wished for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Longest time; the settings' if that is less, or nothing is said.
    pub timeout: Option<Duration>,
    /// Most series or entries; what is left out is told.
    pub limit: usize,
    /// Whether the caller takes gzip.
    pub gzip: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            timeout: None,
            limit: usize::MAX,
            gzip: false,
        }
    }
}

/// Which series a list is about: those that any of the texts selects, or all if there is none.
#[derive(Debug, Clone, Default)]
pub struct Selectors {
    /// As `match[]` has them, such as `up{job="node"}`; not read yet.
    pub texts: Vec<String>,
    /// First time that matters, Unix milliseconds, inclusive.
    pub start_ms: i64,
    /// Last time that matters, Unix milliseconds, inclusive.
    pub end_ms: i64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The query's own fault, or its budget's end.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A selector that is none.
    #[error(transparent)]
    Selector(ParseError),
    /// Too many at once.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// A cluster was asked, and says no or nothing.
    #[error(transparent)]
    Remote(#[from] Remote),
    /// The thread that evaluated it failed.
    #[error("the query failed; the controller's log says why")]
    Lost,
}

/// What became of a query at a cluster, as Prometheus's interface tells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Remote {
    /// Status of the answer.
    pub status: u16,
    /// `bad_data`, `execution`, `timeout`, `canceled` or `unavailable`.
    pub kind: &'static str,
    /// For a person.
    pub message: String,
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Query(error.into())
    }
}

/// Where PromQL is answered. Clones share everything.
#[derive(Debug, Clone)]
pub struct Queries {
    inner: Arc<Inner>,
    cluster: Option<Ask>,
    /// How far selectors look back, if not as far as usual.
    lookback_ms: Option<i64>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    series: SeriesStore,
    directory: Arc<dyn Directory>,
    pool: Pool,
    room: Room,
    /// What queries hold.
    account: Account,
    settings: Settings,
}

/// Callers who see the same sites share what the line gives to one.
fn share(scope: &Scope) -> u64 {
    let mut hasher = DefaultHasher::new();
    match scope {
        Scope::Province => 0_u8.hash(&mut hasher),
        Scope::Sites(sites) => sites.hash(&mut hasher),
    }
    hasher.finish()
}

/// Cancels the query when its caller has gone.
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Queries {
    /// Queries over the embedded engine.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn embedded(
        series: SeriesStore,
        directory: Arc<dyn Directory>,
        settings: Settings,
    ) -> std::io::Result<Self> {
        let pool = Pool::start(settings.threads, settings.waiting)?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine: Engine::default(),
                series,
                directory,
                pool,
                room: Room::new(settings.answers_bytes, settings.answer_bytes),
                account: Account::default(),
                settings,
            }),
            cluster: None,
            lookback_ms: None,
        })
    }

    /// What holds for every query.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The same questions, with selectors that look back so far for their latest sample; `None`: as far
    /// as usual.
    ///
    /// # Errors
    /// A cluster is asked, which has a span of its own: the caller must not take it for what was asked.
    pub fn looking_back(&self, lookback_ms: Option<i64>) -> Result<Self, Failure> {
        if lookback_ms.is_some() && self.cluster.is_some() {
            let why = "lookback_delta is the cluster's own setting: leave the parameter out";
            return Err(Failure::Query(QueryError::BadData(why.to_owned())));
        }
        let lookback_ms = lookback_ms.or(self.lookback_ms);
        Ok(Self {
            lookback_ms,
            ..self.clone()
        })
    }

    /// The same questions, answered by a cluster.
    #[must_use]
    pub fn with_cluster(self, cluster: Ask) -> Self {
        Self {
            cluster: Some(cluster),
            ..self
        }
    }

    /// The embedded engine whatever answers people: alert rules ask it, so that they cannot change
    /// with the backend.
    #[must_use]
    pub fn local(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            cluster: None,
            lookback_ms: None,
        }
    }

    /// Bytes that queries under way hold, and bytes of answers that nobody has taken yet.
    #[must_use]
    pub fn held_bytes(&self) -> (u64, usize) {
        (self.inner.account.bytes(), self.inner.room.taken_bytes())
    }

    /// The value of `query` at one time, Unix milliseconds.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn instant(
        &self,
        scope: Scope,
        query: String,
        time_ms: i64,
        timeout: Option<Duration>,
    ) -> Result<Answer, Failure> {
        if let Some(cluster) = &self.cluster {
            let query = self.scoped(scope, query).await?;
            return cluster.instant(&query, time_ms, timeout).await;
        }
        self.run(scope, timeout, move |work| {
            let (engine, storage) = (work.engine, work.storage);
            Ok(engine.instant(storage, &query, time_ms, work.budget)?)
        })
        .await
    }

    /// As [`Self::instant`], as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn instant_json(
        &self,
        scope: Scope,
        query: String,
        time_ms: i64,
        wish: Wish,
    ) -> Result<Json, Failure> {
        if self.cluster.is_some() {
            let answer = self.instant(scope, query, time_ms, wish.timeout).await?;
            return self
                .json(wish, move |work, wish| work.answer(answer, wish))
                .await;
        }
        self.run(scope, wish.timeout, move |work| {
            let (engine, storage) = (work.engine, work.storage);
            let answer = engine.instant(storage, &query, time_ms, work.budget)?;
            work.answer(answer, &wish)
        })
        .await
    }

    /// The values of `query` at `start_ms`, `start_ms + step_ms`, … up to `end_ms`, as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn range_json(
        &self,
        scope: Scope,
        query: String,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        wish: Wish,
    ) -> Result<Json, Failure> {
        if let Some(cluster) = &self.cluster {
            let steps = (start_ms, end_ms, step_ms);
            let query = self.scoped(scope, query).await?;
            let answer = cluster.range(&query, steps, wish.timeout).await?;
            return self
                .json(wish, move |work, wish| work.answer(answer, wish))
                .await;
        }
        self.run(scope, wish.timeout, move |work| {
            let (engine, storage) = (work.engine, work.storage);
            let answer = engine.range(storage, &query, start_ms, end_ms, step_ms, work.budget)?;
            work.answer(answer, &wish)
        })
        .await
    }

    /// A query in Prometheus's own form, as JSON. No sample is looked at.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn format_json(&self, query: String) -> Result<Json, Failure> {
        self.json(Wish::default(), move |work, wish| {
            let formatted = format_query(&query, work.budget)?;
            work.json(&wire::data(formatted), wish)
        })
        .await
    }

    /// Label sets of the selected series, each once, sorted, as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn series_json(
        &self,
        scope: Scope,
        selectors: Selectors,
        wish: Wish,
    ) -> Result<Json, Failure> {
        if let Some(cluster) = &self.cluster {
            let form = self.form(scope, selectors).await?;
            let found = cluster.series(form).await?;
            return self
                .json(wish, move |work, wish| work.list(found, wish))
                .await;
        }
        self.run(scope, wish.timeout, move |work| {
            work.list(work.series(&selectors)?, &wish)
        })
        .await
    }

    /// Names of labels among the selected series, each once, sorted.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn label_names(
        &self,
        scope: Scope,
        selectors: Selectors,
    ) -> Result<Vec<String>, Failure> {
        if let Some(cluster) = &self.cluster {
            let form = self.form(scope, selectors).await?;
            return cluster.texts("labels", form).await;
        }
        self.run(scope, None, move |work| work.label_names(&selectors))
            .await
    }

    /// As [`Self::label_names`], as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn label_names_json(
        &self,
        scope: Scope,
        selectors: Selectors,
        wish: Wish,
    ) -> Result<Json, Failure> {
        if self.cluster.is_some() {
            let found = self.label_names(scope, selectors).await?;
            return self
                .json(wish, move |work, wish| work.list(found, wish))
                .await;
        }
        self.run(scope, wish.timeout, move |work| {
            work.list(work.label_names(&selectors)?, &wish)
        })
        .await
    }

    /// Values of one label among the selected series, each once, sorted.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn label_values(
        &self,
        scope: Scope,
        name: String,
        selectors: Selectors,
    ) -> Result<Vec<String>, Failure> {
        if let Some(cluster) = &self.cluster {
            let form = self.form(scope, selectors).await?;
            return cluster.label_values(&name, form).await;
        }
        self.run(scope, None, move |work| {
            work.label_values(&name, &selectors)
        })
        .await
    }

    /// As [`Self::label_values`], as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn label_values_json(
        &self,
        scope: Scope,
        name: String,
        selectors: Selectors,
        wish: Wish,
    ) -> Result<Json, Failure> {
        if self.cluster.is_some() {
            let found = self.label_values(scope, name, selectors).await?;
            return self
                .json(wish, move |work, wish| work.list(found, wish))
                .await;
        }
        self.run(scope, wish.timeout, move |work| {
            work.list(work.label_values(&name, &selectors)?, &wish)
        })
        .await
    }

    /// What `make` makes of the label sets of the selected series, on a query thread, as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn of_series_json<T: Serialize>(
        &self,
        scope: Scope,
        selectors: Selectors,
        wish: Wish,
        make: impl FnOnce(Vec<Labels>) -> T + Send + 'static,
    ) -> Result<Json, Failure> {
        if let Some(cluster) = &self.cluster {
            let form = self.form(scope, selectors).await?;
            let found = cluster.series(form).await?;
            return self.made_json(wish, move || make(found)).await;
        }
        self.run(scope, wish.timeout, move |work| {
            let found = work.series(&selectors)?;
            let body = wire::data(make(found)).warned(work.storage.left_out());
            work.json(&body, &wish)
        })
        .await
    }

    /// What `make` makes, on a query thread, as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn made_json<T: Serialize>(
        &self,
        wish: Wish,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Json, Failure> {
        self.json(wish, move |work, wish| work.json(&wire::data(make()), wish))
            .await
    }

    async fn json(
        &self,
        wish: Wish,
        make: impl FnOnce(&Work<'_>, &Wish) -> Result<Json, Failure> + Send + 'static,
    ) -> Result<Json, Failure> {
        let scope = Scope::Sites(Arc::default());
        self.run(scope, wish.timeout, move |work| make(work, &wish))
            .await
    }

    /// A query as a cluster is asked it, within the scope.
    async fn scoped(&self, scope: Scope, query: String) -> Result<String, Failure> {
        self.run(scope, None, move |work| {
            // Bounded by the budget first, as every text is.
            format_query(&query, work.budget)?;
            scoped_query(&query, work.scope, work.origins)
        })
        .await
    }

    /// Selections as a cluster is asked for them, within the scope.
    async fn form(&self, scope: Scope, selectors: Selectors) -> Result<Form, Failure> {
        self.run(scope, None, move |work| {
            let selections = work.selections(&selectors)?;
            Ok(scoped_selections((work.scope, work.origins), &selections))
        })
        .await
    }

    fn engine(&self) -> Engine {
        match self.lookback_ms {
            None => self.inner.engine.clone(),
            Some(lookback_ms) => Engine::new(Options {
                lookback_ms,
                ..Options::default()
            }),
        }
    }

    /// Does `work` on a query thread, within the budget; cancelled when the future is dropped.
    async fn run<T: Send + 'static>(
        &self,
        scope: Scope,
        timeout: Option<Duration>,
        work: impl FnOnce(&Work<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let inner = Arc::clone(&self.inner);
        let most = inner.settings.timeout;
        let limits = Limits {
            deadline: Instant::now().checked_add(timeout.map_or(most, |asked| asked.min(most))),
            ..inner.settings.limits.clone()
        };
        let budget = Budget::new(limits).within(&inner.account);
        let _leaving = Leaving(budget.flag());
        let (answer, answered) = oneshot::channel();
        let engine = self.engine();
        self.inner.pool.submit(share(&scope), move || {
            let result = inner.work(&engine, &scope, &budget, work);
            // What the query held is given back before anybody hears that it is over.
            drop(budget);
            if answer.send(result).is_err() {
                tracing::debug!("a query's caller has gone");
            }
        })?;
        answered.await.map_err(|_| Failure::Lost)?
    }
}

impl Inner {
    fn work<T>(
        &self,
        engine: &Engine,
        scope: &Scope,
        budget: &Budget,
        work: impl FnOnce(&Work<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        budget.check().map_err(QueryError::from)?;
        let origins = self.directory.origins();
        let seen = Seen::of(origins.clone(), scope);
        let storage = Selector::new(self.series.clone(), Arc::new(seen));
        work(&Work {
            engine,
            storage: &storage,
            budget,
            room: &self.room,
            scope,
            origins: &origins,
        })
    }
}
