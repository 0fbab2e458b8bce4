//! The text of a series and what is worked out from it once.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::checksum::name_hash;
use crate::report::parse_series;

/// The canonical text of a series, shared.
///
/// Twenty thousand decoders hold the same few thousand texts, a pointer for each column: what can be
/// told from the text alone is told here and not in the column.
#[derive(Clone)]
pub struct SeriesName(Arc<Inner>);

struct Inner {
    text: Arc<str>,
    hash: u64,
    well_formed: bool,
}

impl SeriesName {
    /// A name of its own; who has many chains keeps the first and hands out copies.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        Self(Arc::new(Inner {
            hash: name_hash(&text),
            well_formed: parse_series(&text).is_some(),
            text,
        }))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.0.text
    }

    /// Whether both are the same copy.
    #[must_use]
    pub fn is_same_copy(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many hold this copy, the caller included.
    #[must_use]
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Its share in a frame's checksum.
    pub(super) fn hash_of_text(&self) -> u64 {
        self.0.hash
    }

    /// Whether it is a metric's name with labels in their order.
    pub(super) fn is_well_formed(&self) -> bool {
        self.0.well_formed
    }
}

impl Deref for SeriesName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0.text
    }
}

impl Borrow<str> for SeriesName {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for SeriesName {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl PartialEq for SeriesName {
    fn eq(&self, other: &Self) -> bool {
        self.is_same_copy(other) || **self == **other
    }
}

impl Eq for SeriesName {}

impl Hash for SeriesName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for SeriesName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}
