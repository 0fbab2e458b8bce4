//! Pages of lists whose newest entries come first: the cursor is the number of the page's last entry.

use schemars::JsonSchema;
use serde::Deserialize;
use xiezhi_store::Older;

const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 500;

/// Which page of a list.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Page {
    /// Entries on a page, 500 at most; 100 unless given.
    limit: Option<u32>,
    /// Number of the last entry of the page before.
    cursor: Option<i64>,
}

/// How many entries stand on a page.
pub(crate) fn page_size(asked: Option<u32>) -> u32 {
    asked.unwrap_or(PAGE).clamp(1, LARGEST_PAGE)
}

impl Page {
    pub(crate) const fn new(limit: Option<u32>, cursor: Option<i64>) -> Self {
        Self { limit, cursor }
    }

    pub(crate) fn size(self) -> usize {
        page_size(self.limit) as usize
    }

    /// The page and one entry more, which tells whether there is another one.
    pub(crate) fn query(self) -> Older {
        Older {
            before: self.cursor,
            limit: page_size(self.limit) + 1,
        }
    }

    /// Takes the entry away that is too many; tells where the next page goes on.
    pub(crate) fn cut<T>(self, found: &mut Vec<T>, id: impl Fn(&T) -> i64) -> Option<i64> {
        cut(found, self.size()).map(id)
    }
}

/// Takes away what is too many; the last entry of the page if something was.
pub(crate) fn cut<T>(found: &mut Vec<T>, size: usize) -> Option<&T> {
    let more = found.len() > size;
    found.truncate(size);
    found.last().filter(|_| more)
}
