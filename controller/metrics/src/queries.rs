//! PromQL text in, answers out, whatever keeps the samples.
//!
//! The engine is exchanged here, at the text of a query, and never at iterators over series: a
//! cluster evaluates by itself, and what comes back is already an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use xiezhi_promql::{
    Answer, Budget, Engine, Labels, Limits, Options, QueryError, Select, Storage, StorageError,
};
use xiezhi_series::{Selector, SeriesStore};

use crate::cluster::Ask;
use crate::directory::{Directory, Scope, Seen};
use crate::pool::{Busy, Pool};

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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 2,
            waiting: 20,
            // Before the browsers' port gives up at 30 s, so that whoever asked hears it in the form
            // that Prometheus's clients read.
            timeout: Duration::from_secs(25),
            limits: Limits::default(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The query's own fault, or its budget's end.
    #[error(transparent)]
    Query(#[from] QueryError),
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
    settings: Settings,
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
            let origins = self.inner.directory.origins();
            let within = (&scope, &origins);
            return cluster.instant(within, &query, time_ms, timeout).await;
        }
        self.run(scope, timeout, move |engine, storage, budget| {
            Ok(engine.instant(storage, &query, time_ms, budget)?)
        })
        .await
    }

    /// The values of `query` at `start_ms`, `start_ms + step_ms`, … up to `end_ms`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn range(
        &self,
        scope: Scope,
        query: String,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        timeout: Option<Duration>,
    ) -> Result<Answer, Failure> {
        if let Some(cluster) = &self.cluster {
            let origins = self.inner.directory.origins();
            let steps = (start_ms, end_ms, step_ms);
            let within = (&scope, &origins);
            return cluster.range(within, &query, steps, timeout).await;
        }
        self.run(scope, timeout, move |engine, storage, budget| {
            Ok(engine.range(storage, &query, start_ms, end_ms, step_ms, budget)?)
        })
        .await
    }

    /// Label sets that satisfy any of the selections, each once, sorted.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn series(
        &self,
        scope: Scope,
        selections: Vec<Select>,
    ) -> Result<Vec<Labels>, Failure> {
        if let Some(cluster) = &self.cluster {
            let origins = self.inner.directory.origins();
            return cluster.series((&scope, &origins), &selections).await;
        }
        self.run(scope, None, move |_, storage, budget| {
            let mut all = Vec::new();
            for selection in &selections {
                all.extend(storage.series(selection, budget)?);
            }
            all.sort_unstable();
            all.dedup();
            Ok(all)
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
        selections: Vec<Select>,
    ) -> Result<Vec<String>, Failure> {
        if let Some(cluster) = &self.cluster {
            let origins = self.inner.directory.origins();
            let within = (&scope, &origins);
            return cluster.texts(within, "labels", &selections).await;
        }
        self.texts(scope, selections, |storage, selection, budget| {
            storage.label_names(selection, budget)
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
        selections: Vec<Select>,
    ) -> Result<Vec<String>, Failure> {
        if let Some(cluster) = &self.cluster {
            let origins = self.inner.directory.origins();
            let path = cluster_path(&name)?;
            let within = (&scope, &origins);
            return cluster.texts(within, &path, &selections).await;
        }
        self.texts(scope, selections, move |storage, selection, budget| {
            storage.label_values(&name, selection, budget)
        })
        .await
    }

    async fn texts(
        &self,
        scope: Scope,
        selections: Vec<Select>,
        ask: impl Fn(&dyn Storage, &Select, &Budget) -> Result<Vec<String>, StorageError>
        + Send
        + 'static,
    ) -> Result<Vec<String>, Failure> {
        self.run(scope, None, move |_, storage, budget| {
            let mut all = Vec::new();
            for selection in &selections {
                all.extend(ask(storage, selection, budget)?);
            }
            all.sort_unstable();
            all.dedup();
            Ok(all)
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
        work: impl FnOnce(&Engine, &dyn Storage, &Budget) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let inner = Arc::clone(&self.inner);
        let most = inner.settings.timeout;
        let limits = Limits {
            deadline: Instant::now().checked_add(timeout.map_or(most, |asked| asked.min(most))),
            ..inner.settings.limits.clone()
        };
        let budget = Budget::new(limits);
        let _leaving = Leaving(budget.flag());
        let (answer, answered) = oneshot::channel();
        let engine = self.engine();
        self.inner.pool.submit(move || {
            let seen = Seen::of(inner.directory.origins(), &scope);
            let storage = Selector::new(inner.series.clone(), Arc::new(seen));
            let waited = budget.check().map_err(QueryError::from);
            let result = match waited {
                Ok(()) => work(&engine, &storage, &budget),
                Err(stopped) => Err(stopped.into()),
            };
            if answer.send(result).is_err() {
                tracing::debug!("a query's caller has gone");
            }
        })?;
        answered.await.map_err(|_| Failure::Lost)?
    }
}

/// The path of a label's values. Only classic names can stand in a path as they are.
fn cluster_path(name: &str) -> Result<String, Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_plain) {
        let message = format!("invalid label name: \"{}\"", name.escape_debug());
        return Err(Failure::Query(QueryError::BadData(message)));
    }
    Ok(format!("label/{name}/values"))
}
