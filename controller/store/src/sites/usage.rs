//! What is at a site, so that nobody retires a court that works.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use xiezhi_model::SiteId;

use crate::StoreError;
use crate::row::{self, Write};

/// What may be in use at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteUse {
    /// Sites below it.
    Sites,
    /// Hosts that are not revoked.
    Hosts,
    /// Rooms, staff and assets.
    Register,
    /// Enrolment tokens that still enrol.
    EnrolmentTokens,
    /// Accounts that belong to it.
    Accounts,
    /// Roles that hold there.
    Roles,
    /// Tokens of programs.
    ApiTokens,
}

impl SiteUse {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Sites,
        Self::Hosts,
        Self::Register,
        Self::EnrolmentTokens,
        Self::Accounts,
        Self::Roles,
        Self::ApiTokens,
    ];

    /// Stable word, for pages that say it in their own language.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sites => "sites",
            Self::Hosts => "hosts",
            Self::Register => "register",
            Self::EnrolmentTokens => "enrolment_tokens",
            Self::Accounts => "accounts",
            Self::Roles => "roles",
            Self::ApiTokens => "api_tokens",
        }
    }

    /// Some of them, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Sites => "sites below it",
            Self::Hosts => "hosts",
            Self::Register => "entries of the register",
            Self::EnrolmentTokens => "open enrolment tokens",
            Self::Accounts => "accounts",
            Self::Roles => "roles",
            Self::ApiTokens => "API tokens",
        }
    }

    /// Counts those in use; `$1` is the site, `$2` the time.
    const fn sql(self) -> &'static str {
        match self {
            Self::Sites => {
                "SELECT COUNT(*) AS count FROM sites WHERE parent_id = $1 AND retired_ms IS NULL AND $2 > 0"
            }
            Self::Hosts => {
                "SELECT COUNT(*) AS count FROM hosts WHERE site_id = $1 AND revoked_ms IS NULL AND $2 > 0"
            }
            Self::Register => {
                "SELECT COUNT(*) AS count FROM register_items WHERE site_id = $1 AND state <> 'retired' AND $2 > 0"
            }
            Self::EnrolmentTokens => {
                "SELECT COUNT(*) AS count FROM tokens WHERE site_id = $1 AND revoked_ms IS NULL \
                 AND expires_ms > $2 AND (uses_left > 0 OR EXISTS (SELECT 1 FROM approvals \
                 WHERE approvals.token_id = tokens.id AND approvals.state = 'pending'))"
            }
            Self::Accounts => {
                "SELECT COUNT(*) AS count FROM users WHERE home_site_id = $1 AND disabled_ms IS NULL AND $2 > 0"
            }
            Self::Roles => {
                "SELECT COUNT(*) AS count FROM grants JOIN users ON users.id = grants.user_id \
                 WHERE grants.site_id = $1 AND users.disabled_ms IS NULL AND $2 > 0"
            }
            Self::ApiTokens => {
                "SELECT COUNT(*) AS count FROM api_tokens WHERE site_id = $1 AND revoked_ms IS NULL \
                 AND expires_ms > $2"
            }
        }
    }
}

/// What is in use at a site, each with how many.
pub(super) async fn uses(
    write: &mut Write,
    site: SiteId,
    now_ms: i64,
) -> Result<Vec<(SiteUse, i64)>, StoreError> {
    let mut uses = Vec::new();
    for what in SiteUse::ALL {
        let query = sqlx::query(what.sql()).bind(site.0).bind(now_ms);
        let count = row::number(&query.fetch_one(&mut **write).await?, "count")?;
        if count > 0 {
            uses.push((what, count));
        }
    }
    Ok(uses)
}

/// Columns that name a site; with any of these it cannot be deleted.
const NAMERS: &[(&str, &str)] = &[
    ("sites", "parent_id"),
    ("hosts", "site_id"),
    ("tokens", "site_id"),
    ("users", "home_site_id"),
    ("grants", "site_id"),
    ("acts", "site_id"),
    ("api_tokens", "site_id"),
    ("register_items", "site_id"),
    ("register_import_sites", "site_id"),
];

/// The sites that an import added and that something names by now, whatever its state. What the import
/// itself put below them does not count.
pub(super) async fn named_of_import(
    write: &mut Write,
    import: i64,
) -> Result<BTreeSet<SiteId>, StoreError> {
    let added = "(SELECT site_id FROM site_changes WHERE import_id = $1 AND action = 'create')";
    let mut named = BTreeSet::new();
    for (table, column) in NAMERS {
        let others = match *table {
            "sites" => format!(" AND id NOT IN {added}"),
            _ => String::new(),
        };
        let sql = format!(
            "SELECT DISTINCT {column} AS site FROM {table} WHERE {column} IN {added}{others}"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(import);
        for found in query.fetch_all(&mut **write).await? {
            named.insert(SiteId(row::number(&found, "site")?));
        }
    }
    Ok(named)
}
