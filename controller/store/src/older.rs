//! Pages of lists whose newest entries come first and have the highest numbers.

/// Entries of a page where nothing else is said, and the most.
const LARGEST_PAGE: u32 = 1000;

/// Which entries: those older than one, and how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Older {
    /// Only entries with a lower number; `None` begins with the newest.
    pub before: Option<i64>,
    /// At most so many, 1,000 at most; 0 means 1,000.
    pub limit: u32,
}

impl Older {
    /// The newest entries.
    #[must_use]
    pub const fn newest(limit: u32) -> Self {
        Self {
            before: None,
            limit,
        }
    }

    /// The end of a statement whose condition goes on: numbers only, so they may stand in its text.
    pub(crate) fn sql(self, column: &str) -> String {
        let before = self.before.unwrap_or(i64::MAX);
        let limit = match self.limit {
            0 => LARGEST_PAGE,
            asked => asked.min(LARGEST_PAGE),
        };
        format!(" AND {column} < {before} ORDER BY {column} DESC LIMIT {limit}")
    }
}
