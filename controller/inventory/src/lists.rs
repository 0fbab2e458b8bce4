//! The rows of the lists that are exported: the same texts whoever asks, the interface or the command.

use time::OffsetDateTime;
use xiezhi_model::{Account, AuditRecord, Grant, Host, Role, Site, SiteId, SiteTree};

use crate::sites::tier_name;

/// Columns of a list of sites; an import of sites takes them back.
pub const SITE_HEADER: [&str; 6] = ["编号", "名称", "层级", "上级编号", "法院代字", SITE_STATE];

/// The state's column among these, and what it says of a site that is out of use.
pub(crate) const SITE_STATE: &str = "状态";
pub(crate) const OUT_OF_USE: &str = "停用";

/// Columns of a list of accounts.
pub const ACCOUNT_HEADER: [&str; 8] = [
    "账号",
    "姓名",
    "单位编号",
    "单位",
    "角色",
    "双因素",
    "状态",
    "创建时间",
];

/// Columns of the audit log.
pub const AUDIT_HEADER: [&str; 7] = ["序号", "时间", "操作人", "操作", "对象", "详情", "摘要"];

/// Columns of a list of hosts.
pub const HOST_HEADER: [&str; 12] = [
    "主机号",
    "主机名",
    "单位编号",
    "单位",
    "状态",
    "最近上报",
    "版本",
    "地址",
    "CPU %",
    "内存 %",
    "磁盘 %",
    "吊销时间",
];

/// Columns of a list of hosts as the database has them; how they are now, only the running controller knows.
pub const HOST_RECORD_HEADER: [&str; 8] = [
    "主机号",
    "主机名",
    "单位编号",
    "单位",
    "身份",
    "最近上报",
    "版本",
    "吊销时间",
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

fn place(site: Option<SiteId>, tree: &SiteTree) -> [String; 2] {
    let site = site.and_then(|site| tree.get(site));
    site.map_or_else(Default::default, |site| {
        [site.key.clone(), site.name.clone()]
    })
}

/// In the place of a parent that the reader does not see: nobody has such a key, so an import refuses it. An
/// empty cell would make the site one without a parent.
const UNSEEN: &str = "（上级不在可见范围内）";

/// One line of a list of sites. `tree` is what the reader sees.
#[must_use]
pub fn site_row(site: &Site, tree: &SiteTree) -> Vec<String> {
    let parent = match site.parent {
        Some(parent) => tree.get(parent).map_or(UNSEEN, |parent| &parent.key),
        None => "",
    };
    let parent = parent.to_owned();
    let state = if site.is_in_use() {
        "在用"
    } else {
        OUT_OF_USE
    };
    vec![
        site.key.clone(),
        site.name.clone(),
        tier_name(site.tier).to_owned(),
        parent,
        site.court_code.clone(),
        state.to_owned(),
    ]
}

/// One line of a list of accounts, with those of its roles and the home that the reader may see.
#[must_use]
pub fn account_row(
    account: &Account,
    seen: impl Fn(Option<SiteId>) -> bool,
    second_factor: bool,
    tree: &SiteTree,
) -> Vec<String> {
    let user = &account.user;
    let grants = account.grants.iter().filter(|grant| seen(grant.site));
    let roles: Vec<String> = grants.map(|grant| role_text(grant, tree)).collect();
    let home = user.home.filter(|home| seen(Some(*home)));
    let [key, name] = place(home, tree);
    let state = match user.disabled_ms {
        Some(_) => "停用",
        None if user.password_once => "待设密码",
        None => "在用",
    };
    vec![
        user.name.clone(),
        user.display_name.clone(),
        key,
        name,
        roles.join("；"),
        if second_factor { "已设" } else { "未设" }.to_owned(),
        state.to_owned(),
        time_text(user.created_ms),
    ]
}

fn role_text(grant: &Grant, tree: &SiteTree) -> String {
    let name = role_name(grant.role);
    match grant.site {
        None => format!("{name}（全省）"),
        Some(_) => {
            let [_, site] = place(grant.site, tree);
            format!("{name}（{site}）")
        }
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::ProvinceAdministrator => "省级管理员",
        Role::CourtAdministrator => "法院管理员",
        Role::Technician => "技术员",
        Role::SecurityAdministrator => "安全管理员",
        Role::SecurityOfficer => "安全审核员",
        Role::AuditAdministrator => "审计管理员",
        Role::ReadOnly => "只读",
        Role::Wall => "大屏",
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
    /// Its state, in Chinese.
    pub state: &'static str,
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
pub fn host_row(host: &HostLine, tree: &SiteTree) -> Vec<String> {
    let [key, name] = place(host.site, tree);
    let time = |time_ms: Option<i64>| time_ms.map_or_else(String::new, time_text);
    let used = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
    let [cpu, memory, disk] = host.used.map(used);
    vec![
        host.id.to_string(),
        host.hostname.clone(),
        key,
        name,
        host.state.to_owned(),
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
pub fn host_record_row(host: &Host, tree: &SiteTree) -> Vec<String> {
    let [key, name] = place(Some(host.site), tree);
    let seen = (host.last_seen_ms > 0).then_some(host.last_seen_ms);
    let identity = match host.revoked_ms {
        Some(_) => "已吊销",
        None => "有效",
    };
    vec![
        host.id.0.to_string(),
        host.hostname.clone(),
        key,
        name,
        identity.to_owned(),
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
        let rows: Vec<_> = tree.iter().map(|site| site_row(site, &tree)).collect();
        let mut file = csv_start(&SITE_HEADER);
        file.extend(csv_lines(&rows));
        let read = read_sites(&file, &tree);
        assert_eq!(read.problems, []);
        let plan = xiezhi_model::plan_sites(&tree, &read.list.rows);
        assert_eq!((plan.rows.len(), plan.unchanged), (0, courts.len()));
        let kept = crate::SiteList::from_text(&read.list.to_text());
        assert_eq!(kept, Some(read.list));

        // Who does not see the province's own court cannot say that there is nothing above the others.
        let part = SiteTree::new(tree.iter().filter(|site| site.parent.is_some()).cloned());
        let rows: Vec<_> = part.iter().map(|site| site_row(site, &part)).collect();
        let mut file = csv_start(&SITE_HEADER);
        file.extend(csv_lines(&rows));
        assert!(!read_sites(&file, &tree).problems.is_empty());
    }

    #[test]
    fn times_are_those_of_beijing() {
        assert_eq!(time_text(1_760_000_000_000), "2025-10-09 16:53:20");
    }
}
