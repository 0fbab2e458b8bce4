//! PromQL as Prometheus means it: text, a time and a storage in; values, warnings and errors out.
//!
//! Why a crate of our own: alert rules, dashboards and scorecards read samples through one language,
//! and its corners (extrapolation, staleness, look-back, matching errors) decide whether an alert
//! fires. They are held to Prometheus's own test language; see `tests/` and docs/adr/010.
//!
//! What it never does: it opens no file, socket or database, starts no thread and has no idea where
//! samples lie. The caller brings a [`Storage`] and a [`Budget`]; every loop over data asks that
//! budget whether it may go on.
//!
//! ```
//! use xiezhi_promql::testing::MemoryStorage;
//! use xiezhi_promql::{Budget, Engine, Limits, Value};
//!
//! let storage = MemoryStorage::from_text("load 1m\n  up{host=\"a\"} 1\n  up{host=\"b\"} 0\n")?;
//! let budget = Budget::new(Limits::default());
//! let answer = Engine::default().instant(&storage, "sum(up)", 60_000, &budget)?;
//! assert!(matches!(answer.value, Value::Vector(series) if series[0].value == 1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod annotation;
mod ast;
mod budget;
mod engine;
mod error;
mod escape;
mod evaluate;
mod format;
mod functions;
mod labels;
mod matcher;
mod number;
mod parse;
mod pattern;
mod storage;
mod text;
mod value;

#[cfg(feature = "testing")]
pub mod testing;

pub use annotation::{Annotation, AnnotationKind};
pub use budget::{Account, Budget, Exhausted, Limits};
pub use engine::{Engine, Options};
pub use error::{ParseError, QueryError};
pub use escape::{Named, escape_name, plain_name, unescape_name};
pub use format::{format_matchers, format_query, rewrite_selectors};
pub use labels::{Label, Labels, LabelsBuilder, METRIC_NAME};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use number::{STALE, format_value, is_stale};
pub use storage::{Coarse, Select, SelectHint, Series, Storage, StorageError};
pub use text::{check_query, parse_selector, parse_selectors};
pub use value::{Answer, RangeSeries, Sample, Value};
