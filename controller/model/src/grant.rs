//! Who holds which role where, and what that lets an account see.
//!
//! [`Grants::scope`] is the one function that says which sites a permission reaches; pages, API
//! calls and PromQL all ask it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::role::{Duty, Permission, Role};
use crate::{SiteId, SiteTree};

/// A role in a part of the organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Which role.
    pub role: Role,
    /// The site with all below it; `None` is the whole province.
    pub site: Option<SiteId>,
}

impl Grant {
    /// A role in the whole province.
    #[must_use]
    pub const fn province(role: Role) -> Self {
        Self { role, site: None }
    }

    /// A role at a site and below it.
    #[must_use]
    pub const fn at(role: Role, site: SiteId) -> Self {
        Self {
            role,
            site: Some(site),
        }
    }
}

/// Why an account may not hold these roles together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefusal {
    /// Two duties in one account.
    #[error(
        "system, security and audit administration exclude one another in one account: \
         use a second account for the other duty, held by another person"
    )]
    TwoDuties,
    /// A wall with anything else.
    #[error("an account of a wall screen holds no other role: make an account of its own for it")]
    WallAndMore,
    /// The whole province for who runs a court.
    #[error("a court administrator needs a site: choose the court")]
    NeedsSite,
    /// A site for who runs the province.
    #[error(
        "the roles province administrator and audit administrator are for the whole province: \
             leave the site out"
    )]
    NeedsProvince,
    /// Too many.
    #[error("an account may hold {MAX_GRANTS} roles at most: grant one further up instead")]
    TooMany,
}

/// Most roles of one account.
pub const MAX_GRANTS: usize = 32;

/// The roles of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    held: BTreeSet<Grant>,
    /// Whether a program acts under them: then only what [`Permission::is_for_programs`] names.
    by_program: bool,
}

impl Grants {
    /// Whether these may stand in one account.
    ///
    /// # Errors
    /// Says which rule they break.
    pub fn check(&self) -> Result<(), GrantRefusal> {
        if self.held.len() > MAX_GRANTS {
            return Err(GrantRefusal::TooMany);
        }
        if self.duties().len() > 1 {
            return Err(GrantRefusal::TwoDuties);
        }
        let walls = self
            .held
            .iter()
            .filter(|one| one.role == Role::Wall)
            .count();
        if walls > 0 && walls < self.held.len() {
            return Err(GrantRefusal::WallAndMore);
        }
        for Grant { role, site } in &self.held {
            match (role, site) {
                (Role::CourtAdministrator, None) => return Err(GrantRefusal::NeedsSite),
                (Role::ProvinceAdministrator | Role::AuditAdministrator, Some(_)) => {
                    return Err(GrantRefusal::NeedsProvince);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The duties in it: one at most if [`Grants::check`] holds.
    #[must_use]
    pub fn duties(&self) -> BTreeSet<Duty> {
        self.held.iter().filter_map(|one| one.role.duty()).collect()
    }

    /// Each grant, in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.held.iter()
    }

    /// Whether it is a screen on a wall and nothing else.
    #[must_use]
    pub fn is_wall(&self) -> bool {
        !self.held.is_empty() && self.held.iter().all(|one| one.role == Role::Wall)
    }

    /// Whether nothing was granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether this very grant is among them.
    #[must_use]
    pub fn holds(&self, grant: Grant) -> bool {
        self.held.contains(&grant)
    }

    /// The same with one more.
    #[must_use]
    pub fn with(mut self, grant: Grant) -> Self {
        self.held.insert(grant);
        self
    }

    /// The same without one.
    #[must_use]
    pub fn without(mut self, grant: Grant) -> Self {
        self.held.remove(&grant);
        self
    }

    /// Whether one of them is of this role and reaches all that this grant does.
    #[must_use]
    pub fn cover(&self, grant: Grant, tree: &SiteTree) -> bool {
        self.held.iter().any(|one| {
            one.role == grant.role
                && match (one.site, grant.site) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(above), Some(site)) => tree.subtree(above).contains(&site),
                }
        })
    }

    /// What a program may do that acts under one role of these, in a part of where it is held; `None` if it
    /// is not held there.
    #[must_use]
    pub fn for_program(&self, grant: Grant, tree: &SiteTree) -> Option<Self> {
        self.cover(grant, tree).then(|| Self {
            held: [grant].into(),
            by_program: true,
        })
    }

    /// Which sites a permission reaches; `None` if none of the roles carries it.
    ///
    /// A permission over things that belong to no site ([`Permission::is_province_only`]) is held
    /// by a grant for the province only. A program is denied whatever is not named for programs.
    #[must_use]
    pub fn scope(&self, permission: Permission, tree: &SiteTree) -> Option<Scope> {
        if self.by_program && !permission.is_for_programs() {
            return None;
        }
        let mut sites = BTreeSet::new();
        for Grant { site, .. } in self.held.iter().filter(|one| one.role.may(permission)) {
            match site {
                None => return Some(Scope::Province),
                Some(_) if permission.is_province_only() => {}
                // A site that is gone reaches nothing.
                Some(site) => sites.extend(tree.subtree(*site)),
            }
        }
        (!sites.is_empty()).then(|| Scope::Sites(Arc::new(sites)))
    }

    /// What it may do anywhere, for pages to offer.
    #[must_use]
    pub fn permissions(&self, tree: &SiteTree) -> Vec<Permission> {
        let all = Permission::ALL.into_iter();
        all.filter(|one| self.scope(*one, tree).is_some()).collect()
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Self {
            held: grants.into_iter().collect(),
            by_program: false,
        }
    }
}

/// The part of the organisation that a caller sees. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything, and what belongs to no site.
    Province,
    /// These sites only.
    Sites(Arc<BTreeSet<SiteId>>),
}

impl Scope {
    /// Whether this site is in it.
    #[must_use]
    pub fn sees(&self, site: SiteId) -> bool {
        match self {
            Self::Province => true,
            Self::Sites(sites) => sites.contains(&site),
        }
    }

    /// Whether this site is in it; no site is the whole province.
    #[must_use]
    pub fn covers(&self, site: Option<SiteId>) -> bool {
        site.map_or(*self == Self::Province, |site| self.sees(site))
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Province, scope) | (scope, Self::Province) => scope.clone(),
            (Self::Sites(one), Self::Sites(two)) => {
                Self::Sites(Arc::new(one.intersection(two).copied().collect()))
            }
        }
    }

    /// What is in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Province, _) | (_, Self::Province) => Self::Province,
            (Self::Sites(one), Self::Sites(two)) => {
                Self::Sites(Arc::new(one.union(two).copied().collect()))
            }
        }
    }

    /// The sites, if they are not all.
    #[must_use]
    pub fn sites(&self) -> Option<&BTreeSet<SiteId>> {
        match self {
            Self::Province => None,
            Self::Sites(sites) => Some(sites),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Site, Tier};

    fn tree() -> SiteTree {
        let site = |id: i64, parent: Option<i64>| Site {
            id: SiteId(id),
            key: id.to_string(),
            name: id.to_string(),
            tier: Tier::Other,
            parent: parent.map(SiteId),
            court_code: String::new(),
            retired_ms: None,
            version: 0,
        };
        SiteTree::new([
            site(1, None),
            site(2, Some(1)),
            site(3, Some(2)),
            site(4, Some(1)),
        ])
    }

    fn grants(of: &[Grant]) -> Grants {
        of.iter().copied().collect()
    }

    #[test]
    fn what_is_in_both_scopes_is_no_more_than_either() {
        let of =
            |sites: &[i64]| Scope::Sites(Arc::new(sites.iter().copied().map(SiteId).collect()));
        assert_eq!(Scope::Province.and(&Scope::Province), Scope::Province);
        assert_eq!(Scope::Province.and(&of(&[2, 3])), of(&[2, 3]));
        assert_eq!(of(&[2, 3]).and(&Scope::Province), of(&[2, 3]));
        assert_eq!(of(&[2, 3]).and(&of(&[3, 4])), of(&[3]));
        assert_eq!(of(&[2]).and(&of(&[4])), of(&[]));
    }

    #[test]
    fn a_role_reaches_its_site_and_below_and_nothing_else() {
        let technician = grants(&[Grant::at(Role::Technician, SiteId(2))]);
        let scope = technician.scope(Permission::SeeHosts, &tree()).unwrap();
        assert_eq!(scope.sites().unwrap(), &[SiteId(2), SiteId(3)].into());
        assert!(!scope.sees(SiteId(1)) && !scope.sees(SiteId(4)));
        assert!(!scope.covers(None));
        assert_eq!(technician.scope(Permission::ManageHosts, &tree()), None);
    }

    #[test]
    fn several_roles_add_up_each_for_what_it_may() {
        let both = grants(&[
            Grant::at(Role::CourtAdministrator, SiteId(3)),
            Grant::at(Role::ReadOnly, SiteId(4)),
        ]);
        let see = both.scope(Permission::SeeHosts, &tree()).unwrap();
        assert_eq!(see.sites().unwrap(), &[SiteId(3), SiteId(4)].into());
        let manage = both.scope(Permission::ManageHosts, &tree()).unwrap();
        assert_eq!(manage.sites().unwrap(), &[SiteId(3)].into());
    }

    #[test]
    fn what_belongs_to_no_site_is_seen_from_the_province_only() {
        let court = grants(&[Grant::at(Role::SecurityAdministrator, SiteId(1))]);
        assert_eq!(court.scope(Permission::SeeAudit, &tree()), None);
        assert!(court.scope(Permission::GrantSecurity, &tree()).is_some());
        let province = grants(&[Grant::province(Role::SecurityAdministrator)]);
        let scope = province.scope(Permission::SeeAudit, &tree());
        assert_eq!(scope, Some(Scope::Province));
    }

    #[test]
    fn a_role_at_a_site_that_is_gone_reaches_nothing() {
        let lost = grants(&[Grant::at(Role::Technician, SiteId(99))]);
        assert_eq!(lost.scope(Permission::SeeHosts, &tree()), None);
        assert_eq!(lost.permissions(&tree()), []);
    }

    #[test]
    fn a_program_reaches_a_part_of_what_its_account_does_and_only_what_is_named_for_programs() {
        let grant = |role, site: i64| Grant::at(role, SiteId(site));
        let court = grants(&[grant(Role::CourtAdministrator, 2), grant(Role::ReadOnly, 4)]);
        let program = court.for_program(grant(Role::CourtAdministrator, 3), &tree());
        let program = program.unwrap();
        for permission in Permission::ALL {
            let scope = program.scope(permission, &tree());
            let may = Role::CourtAdministrator.may(permission) && permission.is_for_programs();
            assert_eq!(scope.is_some(), may, "{permission:?}");
            if let Some(scope) = scope {
                assert_eq!(scope.sites().unwrap(), &[SiteId(3)].into());
            }
        }
        // Neither above, nor beside, nor under a role that is held elsewhere or not at all.
        for outside in [
            grant(Role::CourtAdministrator, 1),
            grant(Role::CourtAdministrator, 4),
            grant(Role::ReadOnly, 2),
            grant(Role::Technician, 2),
            Grant::province(Role::CourtAdministrator),
            grant(Role::CourtAdministrator, 99),
        ] {
            assert_eq!(court.for_program(outside, &tree()), None, "{outside:?}");
        }
        // What is the account's alone stays with it.
        assert!(court.scope(Permission::ManageAccounts, &tree()).is_some());
    }

    #[test]
    fn duties_exclude_one_another() {
        let cases: [(&[Grant], Result<(), GrantRefusal>); 7] = [
            (&[], Ok(())),
            (
                &[
                    Grant::at(Role::Technician, SiteId(2)),
                    Grant::at(Role::CourtAdministrator, SiteId(3)),
                    Grant::province(Role::ReadOnly),
                ],
                Ok(()),
            ),
            (
                &[
                    Grant::at(Role::Technician, SiteId(2)),
                    Grant::at(Role::SecurityOfficer, SiteId(3)),
                ],
                Err(GrantRefusal::TwoDuties),
            ),
            (
                &[
                    Grant::province(Role::AuditAdministrator),
                    Grant::province(Role::SecurityAdministrator),
                ],
                Err(GrantRefusal::TwoDuties),
            ),
            (
                &[Grant::province(Role::Wall), Grant::province(Role::ReadOnly)],
                Err(GrantRefusal::WallAndMore),
            ),
            (
                &[Grant::province(Role::CourtAdministrator)],
                Err(GrantRefusal::NeedsSite),
            ),
            (
                &[Grant::at(Role::AuditAdministrator, SiteId(2))],
                Err(GrantRefusal::NeedsProvince),
            ),
        ];
        for (of, expected) in cases {
            assert_eq!(grants(of).check(), expected, "{of:?}");
        }
    }
}
