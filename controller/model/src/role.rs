//! What an account may do: roles of people, the permissions that each carries, and the three duties
//! that one account never joins.
//!
//! Source of the duties: GB/T 22239-2019 8.1.5 (系统管理、安全管理、审计管理 are separate).

/// One thing that the interface asks before it answers. Every route names exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// The overview, its live updates and the organisation tree.
    SeeOverview,
    /// Hosts and their samples, facts and gaps.
    SeeHosts,
    /// Security events.
    SeeSecurityEvents,
    /// Rooms, staff and assets.
    SeeRegister,
    /// Accounts and who holds which role.
    SeeAccounts,
    /// Dated settings.
    SeeSettings,
    /// The audit log.
    SeeAudit,
    /// Enrolment, revocation, directives and budgets of hosts.
    ManageHosts,
    /// The organisation tree.
    ManageSites,
    /// Rooms, staff and assets.
    ManageRegister,
    /// Accounts, and roles of the system's duty.
    ManageAccounts,
    /// Roles of the security duty.
    GrantSecurity,
    /// API tokens of programs.
    ManagePrograms,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::SeeOverview,
        Self::SeeHosts,
        Self::SeeSecurityEvents,
        Self::SeeRegister,
        Self::SeeAccounts,
        Self::SeeSettings,
        Self::SeeAudit,
        Self::ManageHosts,
        Self::ManageSites,
        Self::ManageRegister,
        Self::ManageAccounts,
        Self::GrantSecurity,
        Self::ManagePrograms,
    ];

    /// Stable word: shown to pages, which offer only what will be allowed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::SeeOverview => "see_overview",
            Self::SeeHosts => "see_hosts",
            Self::SeeSecurityEvents => "see_security_events",
            Self::SeeRegister => "see_register",
            Self::SeeAccounts => "see_accounts",
            Self::SeeSettings => "see_settings",
            Self::SeeAudit => "see_audit",
            Self::ManageHosts => "manage_hosts",
            Self::ManageSites => "manage_sites",
            Self::ManageRegister => "manage_register",
            Self::ManageAccounts => "manage_accounts",
            Self::GrantSecurity => "grant_security",
            Self::ManagePrograms => "manage_programs",
        }
    }

    /// Whether a program may do it with a token of its maker's ([`crate::ApiRight::UseApi`]). What is not
    /// named here is a person's: accounts with their roles, passwords, sessions and acts of two, the audit
    /// log, and tokens of programs.
    #[must_use]
    pub const fn is_for_programs(self) -> bool {
        matches!(
            self,
            Self::SeeOverview
                | Self::SeeHosts
                | Self::SeeSecurityEvents
                | Self::SeeRegister
                | Self::SeeSettings
                | Self::ManageHosts
                | Self::ManageSites
                | Self::ManageRegister
        )
    }

    /// Whether there is something to see only for who sees the whole province: it belongs to no
    /// site.
    #[must_use]
    pub const fn is_province_only(self) -> bool {
        matches!(
            self,
            Self::SeeSettings | Self::SeeAudit | Self::ManageSites | Self::ManagePrograms
        )
    }
}

/// The duties that exclude one another in one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Duty {
    /// 系统管理
    System,
    /// 安全管理
    Security,
    /// 审计管理
    Audit,
}

/// What somebody is in a part of the organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// 省级管理员: runs the whole system.
    ProvinceAdministrator,
    /// 法院管理员: runs one court and what is below it.
    CourtAdministrator,
    /// 技术员: keeps hosts, rooms and assets of a court.
    Technician,
    /// 安全管理员: grants the security roles and reviews.
    SecurityAdministrator,
    /// 安全审核员: reviews security events.
    SecurityOfficer,
    /// 审计管理员: reads everything, writes nothing.
    AuditAdministrator,
    /// 只读: looks.
    ReadOnly,
    /// 大屏: a screen on a wall.
    Wall,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ProvinceAdministrator,
        Self::CourtAdministrator,
        Self::Technician,
        Self::SecurityAdministrator,
        Self::SecurityOfficer,
        Self::AuditAdministrator,
        Self::ReadOnly,
        Self::Wall,
    ];

    /// Stable word: stored, shown by commands and taken by them.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ProvinceAdministrator => "province_admin",
            Self::CourtAdministrator => "court_admin",
            Self::Technician => "technician",
            Self::SecurityAdministrator => "sec_admin",
            Self::SecurityOfficer => "security_officer",
            Self::AuditAdministrator => "audit_admin",
            Self::ReadOnly => "read_only",
            Self::Wall => "wall",
        }
    }

    /// The role that [`Role::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// Its duty; `None` goes with any.
    #[must_use]
    pub const fn duty(self) -> Option<Duty> {
        match self {
            Self::ProvinceAdministrator | Self::CourtAdministrator | Self::Technician => {
                Some(Duty::System)
            }
            Self::SecurityAdministrator | Self::SecurityOfficer => Some(Duty::Security),
            Self::AuditAdministrator => Some(Duty::Audit),
            Self::ReadOnly | Self::Wall => None,
        }
    }

    /// What it may do within its part of the organisation.
    #[must_use]
    pub const fn permissions(self) -> &'static [Permission] {
        use Permission as P;
        match self {
            Self::ProvinceAdministrator => &[
                P::SeeOverview,
                P::SeeHosts,
                P::SeeSecurityEvents,
                P::SeeRegister,
                P::SeeAccounts,
                P::SeeSettings,
                P::SeeAudit,
                P::ManageHosts,
                P::ManageSites,
                P::ManageRegister,
                P::ManageAccounts,
                P::ManagePrograms,
            ],
            Self::CourtAdministrator => &[
                P::SeeOverview,
                P::SeeHosts,
                P::SeeSecurityEvents,
                P::SeeRegister,
                P::SeeAccounts,
                P::ManageHosts,
                P::ManageRegister,
                P::ManageAccounts,
            ],
            Self::Technician => &[
                P::SeeOverview,
                P::SeeHosts,
                P::SeeRegister,
                P::ManageRegister,
            ],
            Self::SecurityAdministrator => &[
                P::SeeOverview,
                P::SeeHosts,
                P::SeeSecurityEvents,
                P::SeeRegister,
                P::SeeAccounts,
                P::SeeSettings,
                P::SeeAudit,
                P::GrantSecurity,
            ],
            Self::SecurityOfficer => &[
                P::SeeOverview,
                P::SeeHosts,
                P::SeeSecurityEvents,
                P::SeeRegister,
            ],
            Self::AuditAdministrator => &[
                P::SeeOverview,
                P::SeeHosts,
                P::SeeSecurityEvents,
                P::SeeRegister,
                P::SeeAccounts,
                P::SeeSettings,
                P::SeeAudit,
            ],
            Self::ReadOnly => &[P::SeeOverview, P::SeeHosts, P::SeeRegister],
            Self::Wall => &[P::SeeOverview],
        }
    }

    /// Whether it carries this permission.
    #[must_use]
    pub fn may(self, permission: Permission) -> bool {
        self.permissions().contains(&permission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_roles() {
        for role in Role::ALL {
            assert_eq!(Role::from_word(role.word()), Some(role));
        }
        assert_eq!(Role::from_word("root"), None);
    }

    #[test]
    fn an_audit_administrator_reads_everything_and_writes_nothing() {
        let writes = |permission: &Permission| !permission.word().starts_with("see_");
        for permission in Permission::ALL {
            let may = Role::AuditAdministrator.may(permission);
            assert_eq!(may, !writes(&permission), "{permission:?}");
        }
    }

    #[test]
    fn no_role_has_powers_of_two_duties() {
        for role in Role::ALL {
            let system = role.may(Permission::ManageAccounts);
            let security = role.may(Permission::GrantSecurity);
            assert!(!(system && security), "{role:?}");
        }
    }

    #[test]
    fn every_permission_has_a_word_of_its_own_and_somebody_who_holds_it() {
        for permission in Permission::ALL {
            let same = Permission::ALL
                .iter()
                .filter(|one| one.word() == permission.word());
            assert_eq!(same.count(), 1);
            assert!(Role::ALL.into_iter().any(|role| role.may(permission)));
        }
    }
}
