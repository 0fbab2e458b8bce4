//! A caller's scope as part of a statement.

use xiezhi_model::Scope;

/// ` AND column IN (…)` for a column that holds sites' numbers; nothing for the whole province.
///
/// The numbers are written into the text: a scope may hold more sites than a statement takes values,
/// and numbers cannot be anything else.
pub(crate) fn sites(column: &str, scope: &Scope) -> String {
    let Some(sites) = scope.sites() else {
        return String::new();
    };
    let mut numbers: Vec<String> = sites.iter().map(ToString::to_string).collect();
    if numbers.is_empty() {
        // `IN ()` is no SQL on PostgreSQL; no site has this number.
        numbers.push("0".to_owned());
    }
    format!(" AND {column} IN ({})", numbers.join(", "))
}

/// ` AND column IN (…)` for a column that holds hosts' numbers.
pub(crate) fn hosts(column: &str, scope: &Scope) -> String {
    match scope {
        Scope::Province => String::new(),
        Scope::Sites(_) => {
            let sites = sites("site_id", scope);
            format!(" AND {column} IN (SELECT id FROM hosts WHERE 1 = 1{sites})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use xiezhi_model::SiteId;

    #[test]
    fn a_scope_becomes_a_condition_and_the_province_none() {
        let two = Scope::Sites(Arc::new([SiteId(3), SiteId(7)].into()));
        assert_eq!(sites("s.id", &two), " AND s.id IN (3, 7)");
        assert_eq!(
            hosts("host_id", &two),
            " AND host_id IN (SELECT id FROM hosts WHERE 1 = 1 AND site_id IN (3, 7))"
        );
        let none = Scope::Sites(Arc::new([].into()));
        assert_eq!(sites("s.id", &none), " AND s.id IN (0)");
        assert_eq!(sites("s.id", &Scope::Province), "");
        assert_eq!(hosts("host_id", &Scope::Province), "");
    }
}
