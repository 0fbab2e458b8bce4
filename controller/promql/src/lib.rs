//! PromQL as Prometheus means it: text, a time and a storage in; values, warnings and errors out.
//!
//! Why a crate of our own: alert rules, dashboards and scorecards read samples through one language,
//! and its corners (extrapolation, staleness, look-back, matching errors) decide whether an alert
//! fires. They are held to Prometheus's own test language; see `tests/` and docs/adr/010.
//!
//! What it never does: it opens no file, socket or database, starts no thread and has no idea where
//! samples lie. The caller brings a [`Storage`] and a [`Budget`]; every loop over data asks that
//! budget whether it may go on.

mod annotation;
mod ast;
mod budget;
mod engine;
mod error;
mod evaluate;
mod functions;
mod labels;
mod matcher;
mod number;
mod parse;
mod storage;
mod text;
mod value;

#[cfg(feature = "testing")]
pub mod testing;

pub use annotation::{Annotation, AnnotationKind};
pub use budget::{Budget, Exhausted, Limits};
pub use engine::{Engine, Options};
pub use error::{ParseError, QueryError};
pub use labels::{Label, Labels, LabelsBuilder, METRIC_NAME};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use number::{STALE, format_value, is_stale};
pub use storage::{Select, SelectHint, Series, Storage, StorageError};
pub use text::{check_query, parse_selector};
pub use value::{Answer, RangeSeries, Sample, Value};
