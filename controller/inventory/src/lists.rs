//! The rows of the lists that are exported: the same texts whoever asks, the interface or the command.

use time::OffsetDateTime;
use xiezhi_model::{Account, AuditRecord, Grant, Host, Role, Site, SiteId, SiteTree};

pub use crate::reported::{
    DEVICE_HEADER, DeviceLine, EVENT_HEADER, GAP_HEADER, device_row, event_gap_row, event_row,
    gap_row,
};
use crate::sites::tier_name;
use crate::{Both, Language};

/// Columns of a list of sites; an import of sites takes them back in either language.
pub const SITE_HEADER: [Both; 6] = [
    ("编号", "id"),
    ("名称", "name"),
    ("层级", "tier"),
    ("上级编号", "parent_id"),
    ("法院代字", "court_code"),
    SITE_STATE,
];

/// The state's column among these, and what it says of a site that is out of use.
pub(crate) const SITE_STATE: Both = ("状态", "state");
pub(crate) const OUT_OF_USE: Both = ("停用", "retired");
const IN_USE: Both = ("在用", "in_use");

/// Columns of a list of accounts.
pub const ACCOUNT_HEADER: [Both; 8] = [
    ("账号", "Account"),
    ("姓名", "Name"),
    ("单位编号", "Site id"),
    ("单位", "Site"),
    ("角色", "Roles"),
    ("双因素", "Second factor"),
    ("状态", "State"),
    ("创建时间", "Made"),
];

/// Columns of the audit log.
pub const AUDIT_HEADER: [Both; 7] = [
    ("序号", "Number"),
    ("时间", "Time"),
    ("操作人", "Actor"),
    ("操作", "Act"),
    ("对象", "Subject"),
    ("详情", "Particulars"),
    ("摘要", "Digest"),
];

/// Columns of a list of hosts.
pub const HOST_HEADER: [Both; 12] = [
    ("主机号", "Host"),
    ("主机名", "Name"),
    ("单位编号", "Site id"),
    ("单位", "Site"),
    ("状态", "State"),
    ("最近上报", "Last report"),
    ("版本", "Version"),
    ("地址", "Address"),
    ("CPU %", "CPU %"),
    ("内存 %", "Memory %"),
    ("磁盘 %", "Disk %"),
    ("吊销时间", "Revoked"),
];

/// Columns of a list of hosts as the database has them; how they are now, only the running controller knows.
pub const HOST_RECORD_HEADER: [Both; 8] = [
    ("主机号", "Host"),
    ("主机名", "Name"),
    ("单位编号", "Site id"),
    ("单位", "Site"),
    ("身份", "Identity"),
    ("最近上报", "Last report"),
    ("版本", "Version"),
    ("吊销时间", "Revoked"),
];

/// A time of the controller's clock in Unix milliseconds as people in China read it.
#[must_use]
pub fn time_text(time_ms: i64) -> String {
    let shanghai = time::UtcOffset::from_hms(8, 0, 0).unwrap_or(time::UtcOffset::UTC);
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let time = OffsetDateTime::from_unix_timestamp(time_ms.div_euclid(1000)).ok();
    let text = time.and_then(|time| time.to_offset(shanghai).format(format).ok());
    text.unwrap_or_else(|| time_ms.to_string())
}

pub(crate) fn place(site: Option<SiteId>, tree: &SiteTree) -> [String; 2] {
    let site = site.and_then(|site| tree.get(site));
    site.map_or_else(Default::default, |site| {
        [site.key.clone(), site.name.clone()]
    })
}

/// In the place of a parent that the reader does not see: nobody has such a key, so an import refuses it. An
/// empty cell would make the site one without a parent.
const UNSEEN: Both = ("（上级不在可见范围内）", "(above: not yours to see)");

/// One line of a list of sites. `tree` is what the reader sees.
#[must_use]
pub fn site_row(site: &Site, tree: &SiteTree, language: Language) -> Vec<String> {
    let unseen = language.of(UNSEEN);
    let parent = match site.parent {
        Some(parent) => tree.get(parent).map_or(unseen, |parent| &parent.key),
        None => "",
    };
    let parent = parent.to_owned();
    let state = if site.is_in_use() { IN_USE } else { OUT_OF_USE };
    vec![
        site.key.clone(),
        site.name.clone(),
        language
            .of((tier_name(site.tier), site.tier.word()))
            .to_owned(),
        parent,
        site.court_code.clone(),
        language.of(state).to_owned(),
    ]
}

/// One line of a list of accounts, with those of its roles and the home that the reader may see.
#[must_use]
pub fn account_row(
    account: &Account,
    seen: impl Fn(Option<SiteId>) -> bool,
    second_factor: bool,
    tree: &SiteTree,
    language: Language,
) -> Vec<String> {
    let user = &account.user;
    let grants = account.grants.iter().filter(|grant| seen(grant.site));
    let roles: Vec<String> = grants
        .map(|grant| role_text(grant, tree, language))
        .collect();
    let home = user.home.filter(|home| seen(Some(*home)));
    let [key, name] = place(home, tree);
    let state = match user.disabled_ms {
        Some(_) => ("停用", "Disabled"),
        None if user.password_once => ("待设密码", "Password to be set"),
        None => ("在用", "Active"),
    };
    let factor = match second_factor {
        true => ("已设", "On"),
        false => ("未设", "Off"),
    };
    vec![
        user.name.clone(),
        user.display_name.clone(),
        key,
        name,
        roles.join(language.of(("；", "; "))),
        language.of(factor).to_owned(),
        language.of(state).to_owned(),
        time_text(user.created_ms),
    ]
}

fn role_text(grant: &Grant, tree: &SiteTree, language: Language) -> String {
    let name = language.of(role_name(grant.role));
    let place = match grant.site {
        None => language.of(("全省", "whole province")).to_owned(),
        Some(_) => {
            let [_, site] = place(grant.site, tree);
            site
        }
    };
    match language {
        Language::Chinese => format!("{name}（{place}）"),
        Language::English => format!("{name} ({place})"),
    }
}

const fn role_name(role: Role) -> Both {
    match role {
        Role::ProvinceAdministrator => ("省级管理员", "Province administrator"),
        Role::CourtAdministrator => ("法院管理员", "Court administrator"),
        Role::Technician => ("技术员", "Technician"),
        Role::SecurityAdministrator => ("安全管理员", "Security administrator"),
        Role::SecurityOfficer => ("安全审核员", "Security officer"),
        Role::AuditAdministrator => ("审计管理员", "Audit administrator"),
        Role::ReadOnly => ("只读", "Read only"),
        Role::Wall => ("大屏", "Wall screen"),
    }
}

/// One line of the audit log.
#[must_use]
pub fn audit_row(entry: &AuditRecord) -> Vec<String> {
    let detail = entry.detail.iter();
    let detail: Vec<String> = detail
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    vec![
        entry.position.to_string(),
        time_text(entry.time_ms),
        entry.actor.clone(),
        entry.action.clone(),
        entry.subject.clone(),
        detail.join("; "),
        entry.hash.clone(),
    ]
}

/// What a list says of a host. What is not known stays empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostLine {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub hostname: String,
    /// Where it is.
    pub site: Option<SiteId>,
    /// Its state, in both languages.
    pub state: Both,
    /// When it last reported, Unix milliseconds.
    pub seen_ms: Option<i64>,
    /// Its agent's version.
    pub version: String,
    /// From where it comes.
    pub address: String,
    /// How much of CPU, memory and its fullest disk is used, percent.
    pub used: [Option<f64>; 3],
    /// When it was revoked, Unix milliseconds.
    pub revoked_ms: Option<i64>,
}

/// One line of a list of hosts.
#[must_use]
pub fn host_row(host: &HostLine, tree: &SiteTree, language: Language) -> Vec<String> {
    let [key, name] = place(host.site, tree);
    let time = |time_ms: Option<i64>| time_ms.map_or_else(String::new, time_text);
    let used = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
    let [cpu, memory, disk] = host.used.map(used);
    vec![
        host.id.to_string(),
        host.hostname.clone(),
        key,
        name,
        language.of(host.state).to_owned(),
        time(host.seen_ms),
        host.version.clone(),
        host.address.clone(),
        cpu,
        memory,
        disk,
        time(host.revoked_ms),
    ]
}

/// One line of a list of hosts as the database has them.
#[must_use]
pub fn host_record_row(host: &Host, tree: &SiteTree, language: Language) -> Vec<String> {
    let [key, name] = place(Some(host.site), tree);
    let seen = (host.last_seen_ms > 0).then_some(host.last_seen_ms);
    let identity = match host.revoked_ms {
        Some(_) => ("已吊销", "Revoked"),
        None => ("有效", "Good"),
    };
    vec![
        host.id.0.to_string(),
        host.hostname.clone(),
        key,
        name,
        language.of(identity).to_owned(),
        seen.map_or_else(String::new, time_text),
        host.version.clone(),
        host.revoked_ms.map_or_else(String::new, time_text),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{csv_lines, csv_start};
    use crate::{demo_courts, read_sites};

    #[test]
    fn exported_sites_are_read_back_as_they_are() {
        let courts = demo_courts().unwrap();
        let sites = (1..).zip(&courts).map(|(id, court)| Site {
            id: SiteId(id),
            key: court.key.clone(),
            name: court.name.clone(),
            tier: court.tier,
            parent: courts
                .iter()
                .position(|one| Some(&one.key) == court.parent.as_ref())
                .map(|at| SiteId(at as i64 + 1)),
            court_code: court.court_code.clone(),
            // One that is out of use stays so.
            retired_ms: (id == 113).then_some(1),
            version: 1,
        });
        let tree = SiteTree::new(sites);
        for language in Language::ALL {
            let rows: Vec<_> = tree
                .iter()
                .map(|site| site_row(site, &tree, language))
                .collect();
            let mut file = csv_start(&language.header(&SITE_HEADER));
            file.extend(csv_lines(&rows));
            let read = read_sites(&file, &tree);
            assert_eq!(read.problems, []);
            let plan = xiezhi_model::plan_sites(&tree, &read.list.rows);
            assert_eq!((plan.rows.len(), plan.unchanged), (0, courts.len()));
            let kept = crate::SiteList::from_text(&read.list.to_text());
            assert_eq!(kept, Some(read.list));
            let said = String::from_utf8(file).unwrap();
            let words = said.contains("basic_court") && said.contains("retired");
            assert_eq!(words, language == Language::English);
        }

        // Who does not see the province's own court cannot say that there is nothing above the others.
        let part = SiteTree::new(tree.iter().filter(|site| site.parent.is_some()).cloned());
        let language = Language::Chinese;
        let rows: Vec<_> = part
            .iter()
            .map(|site| site_row(site, &part, language))
            .collect();
        let mut file = csv_start(&language.header(&SITE_HEADER));
        file.extend(csv_lines(&rows));
        assert!(!read_sites(&file, &tree).problems.is_empty());
    }

    #[test]
    fn times_are_those_of_beijing() {
        assert_eq!(time_text(1_760_000_000_000), "2025-10-09 16:53:20");
    }
}
