//! What is at a site, so that nobody retires a court that works.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;
use xiezhi_model::{SiteId, SiteTree};

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
                // Those that act for an account hold nothing: they reach no further than its role.
                "SELECT COUNT(*) AS count FROM api_tokens WHERE site_id = $1 AND revoked_ms IS NULL \
                 AND expires_ms > $2 AND user_id IS NULL"
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

/// What names a site, whatever its state; with any of it the site cannot be deleted.
pub(super) struct Namer {
    table: &'static str,
    column: &'static str,
    /// Stable word.
    pub(super) word: &'static str,
    /// What is there, and what to do.
    pub(super) why: &'static str,
}

const NAMERS: [Namer; 9] = [
    Namer {
        table: "sites",
        column: "parent_id",
        word: "sites",
        why: "another site was put below it since: move that, or take its import back first",
    },
    Namer {
        table: "hosts",
        column: "site_id",
        word: "hosts",
        why: "a host was enrolled there and stays on record: retire the site instead",
    },
    Namer {
        table: "tokens",
        column: "site_id",
        word: "enrolment_tokens",
        why: "an enrolment token was made for it and stays on record: retire the site instead",
    },
    Namer {
        table: "users",
        column: "home_site_id",
        word: "accounts",
        why: "an account belongs to it and stays on record: retire the site instead",
    },
    Namer {
        table: "grants",
        column: "site_id",
        word: "roles",
        why: "a role holds there: withdraw it first",
    },
    Namer {
        table: "acts",
        column: "site_id",
        word: "acts",
        why: "an act of two was about it and stays on record: retire the site instead",
    },
    Namer {
        table: "api_tokens",
        column: "site_id",
        word: "api_tokens",
        why: "a program's token was made for it and stays on record: retire the site instead",
    },
    Namer {
        table: "register_items",
        column: "site_id",
        word: "register",
        why: "the register has entries there, retired ones too: take their import back, or retire the site",
    },
    Namer {
        table: "register_import_sites",
        column: "site_id",
        word: "imports",
        why: "an upload for the register names it: decide on it or take it back first, or retire the site",
    },
];

/// The sites that an import added and that something names by now, whatever its state. What the import
/// itself put below them does not count.
pub(super) async fn named_of_import(
    write: &mut Write,
    import: i64,
) -> Result<BTreeMap<SiteId, &'static Namer>, StoreError> {
    let mut named = BTreeMap::new();
    for namer in &NAMERS {
        let Namer { table, column, .. } = namer;
        let others = match *table {
            "sites" => format!(" AND id NOT IN {ADDED}"),
            // Anybody makes one for themselves, and must not keep a tree from being taken back by it.
            "api_tokens" => " AND user_id IS NULL".to_owned(),
            _ => String::new(),
        };
        let sql = format!(
            "SELECT DISTINCT {column} AS site FROM {table} WHERE {column} IN {ADDED}{others}"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(import);
        for found in query.fetch_all(&mut **write).await? {
            named
                .entry(SiteId(row::number(&found, "site")?))
                .or_insert(namer);
        }
    }
    Ok(named)
}

const ADDED: &str = "(SELECT site_id FROM site_changes WHERE import_id = $1 AND action = 'create')";

/// Files for the register that were taken back keep no site of theirs: they are filed under the nearest site
/// above it that stays, whose readers saw it before. Where none stays, only who sees the province sees it.
pub(super) async fn refile(
    write: &mut Write,
    tree: &SiteTree,
    import: i64,
) -> Result<(), StoreError> {
    let sql = "SELECT site_id FROM site_changes WHERE import_id = $1 AND action = 'create'";
    let query = sqlx::query(sql).bind(import);
    let rows = query.fetch_all(&mut **write).await?;
    let numbers = rows.iter().map(|row| row::number(row, "site_id"));
    let added: BTreeSet<SiteId> = numbers
        .map(|site| site.map(SiteId))
        .collect::<Result<_, _>>()?;
    let sql = format!(
        "SELECT s.import_id, s.site_id FROM register_import_sites s \
         JOIN register_imports i ON i.id = s.import_id \
         WHERE i.state = 'undone' AND s.site_id IN {ADDED}"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(import);
    for found in query.fetch_all(&mut **write).await? {
        let (file, site) = (
            row::number(&found, "import_id")?,
            row::number(&found, "site_id")?,
        );
        let mut above = tree.ancestors(SiteId(site)).into_iter();
        let query = match above.find(|site| !added.contains(site)) {
            Some(stays) => {
                let sql = "INSERT INTO register_import_sites (import_id, site_id) VALUES ($1, $2) \
                           ON CONFLICT (import_id, site_id) DO NOTHING";
                sqlx::query(sql).bind(file).bind(stays.0)
            }
            None => {
                let sql = "UPDATE register_imports SET province_only = 1 WHERE id = $1";
                sqlx::query(sql).bind(file)
            }
        };
        query.execute(&mut **write).await?;
        let sql = "DELETE FROM register_import_sites WHERE import_id = $1 AND site_id = $2";
        let query = sqlx::query(sql).bind(file).bind(site);
        query.execute(&mut **write).await?;
    }
    Ok(())
}
