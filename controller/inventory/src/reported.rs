//! The rows of lists of what hosts report: events, gaps, and devices of the network.

use xiezhi_model::{Device, DeviceState, Gap, Severity, Signature, SiteId, SiteTree, StoredEvent};

use crate::lists::{place, time_text};
use crate::{Both, Language};

/// Columns of a list of events.
pub const EVENT_HEADER: [Both; 14] = [
    ("事件号", "Event"),
    ("时间", "Time"),
    ("收到时间", "Received"),
    ("主机号", "Host"),
    ("主机名", "Name"),
    ("单位编号", "Site id"),
    ("单位", "Site"),
    ("类别", "Stream"),
    ("级别", "Severity"),
    ("类型", "Kind"),
    ("类型代码", "Kind code"),
    ("内容", "Message"),
    ("详情", "Particulars"),
    ("签名", "Signature"),
];

/// Columns of a list of gaps.
pub const GAP_HEADER: [Both; 12] = [
    ("主机号", "Host"),
    ("主机名", "Name"),
    ("单位编号", "Site id"),
    ("单位", "Site"),
    ("类别", "Stream"),
    ("纪元", "Epoch"),
    ("首批", "First batch"),
    ("末批", "Last batch"),
    ("批数", "Batches"),
    ("开始", "From"),
    ("结束", "To"),
    ("原因", "Reason"),
];

/// Columns of a list of devices.
pub const DEVICE_HEADER: [Both; 17] = [
    ("设备号", "Device"),
    ("设备", "Name"),
    ("单位编号", "Site id"),
    ("单位", "Site"),
    ("状态", "State"),
    ("问题代码", "Problem code"),
    ("开始于", "Since"),
    ("类型", "Kind"),
    ("型号", "Model"),
    ("序列号", "Serial number"),
    ("画像", "Profile"),
    ("需要画像", "Needs a profile"),
    ("采集主机号", "Polled by"),
    ("采集主机", "Polling host"),
    ("最近应答", "Last answer"),
    ("最近采集", "Last poll"),
    ("采集间隔（秒）", "Interval in seconds"),
];

const fn severity_name(severity: Severity) -> Both {
    match severity {
        Severity::Info => ("信息", "Info"),
        Severity::Notice => ("注意", "Notice"),
        Severity::Warning => ("警告", "Warning"),
        Severity::Critical => ("严重", "Critical"),
    }
}

const fn signature_name(signature: Signature) -> Both {
    match signature {
        Signature::NotExpected => ("不要求", "Not expected"),
        Signature::Good => ("正确", "Good"),
        Signature::Missing => ("没有", "Missing"),
        Signature::Bad => ("不对", "Bad"),
    }
}

/// What a stream of a host is called; a word that is not known stays as it is.
fn stream_name(word: &str, language: Language) -> String {
    let both = match word {
        "security" => ("安全事件", "Security events"),
        "events" => ("普通事件", "Events"),
        "samples" => ("指标", "Samples"),
        "polls" => ("设备采集", "Polls of devices"),
        other => return other.to_owned(),
    };
    language.of(both).to_owned()
}

fn reason_name(word: &str, language: Language) -> String {
    let both = match word {
        "full" => ("队列已满", "spool full"),
        "age" => ("超过保存期", "too old"),
        "damaged" => ("文件损坏", "damaged"),
        "missing" => ("主机也没有了", "the host no longer has them"),
        "refused" => ("被控制器拒收", "refused by the controller"),
        other => return other.to_owned(),
    };
    language.of(both).to_owned()
}

/// What an event's kind is called; a word that is not known stays as it is.
fn kind_name(word: &str, language: Language) -> String {
    let both = match word {
        "login" => ("登录", "Login"),
        "login_failed" => ("登录失败", "Login failed"),
        "logout" => ("退出", "Logout"),
        "sudo" => ("提权执行", "Sudo"),
        "sudo_failed" => ("提权被拒", "Sudo refused"),
        "account_changed" => ("账号变更", "Account changed"),
        "group_changed" => ("用户组变更", "Group changed"),
        "key_changed" => ("密钥变更", "Key changed"),
        "listening_port_opened" => ("新监听端口", "Port opened"),
        "listening_port_closed" => ("端口关闭", "Port closed"),
        "setuid_file_added" => ("新增提权文件", "Setuid file added"),
        "setuid_file_changed" => ("提权文件变更", "Setuid file changed"),
        "package_changed" => ("软件包变更", "Package changed"),
        "usb_added" => ("接入 USB", "USB added"),
        "usb_removed" => ("拔出 USB", "USB removed"),
        "time_stepped" => ("时钟跳变", "Clock stepped"),
        "agent_tampered" => ("代理被改动", "Agent tampered"),
        "audit" => ("审计记录", "Audit trail"),
        "agent_started" => ("代理启动", "Agent started"),
        "agent_stopped" => ("代理停止", "Agent stopped"),
        "source_gap" => ("来源中断", "Source gap"),
        "facts" => ("配置变化", "Facts changed"),
        "device_silent" => ("设备无应答", "Device silent"),
        "device_answers" => ("设备恢复应答", "Device answers"),
        "device_restarted" => ("设备重启", "Device restarted"),
        "device_changed" => ("设备变更", "Device changed"),
        "device_port_up" => ("端口接通", "Port up"),
        "device_port_down" => ("端口断开", "Port down"),
        other => return other.to_owned(),
    };
    language.of(both).to_owned()
}

const fn state_name(state: DeviceState) -> Both {
    match state {
        DeviceState::Answered => ("正常应答", "Answers"),
        DeviceState::Partial => ("部分应答", "Answers in part"),
        DeviceState::Silent => ("无应答", "Silent"),
        DeviceState::Refused => ("凭据被拒", "Credentials refused"),
        DeviceState::Unreachable => ("不可达", "Unreachable"),
        DeviceState::Unknown => ("未知", "Unknown"),
    }
}

/// What a device's kind is called; a word that is not known stays as it is.
fn device_kind_name(word: &str, language: Language) -> String {
    let both = match word {
        "av" => ("音视频设备", "Audio and video"),
        "camera" => ("摄像机", "Camera"),
        "environment" => ("环境监测", "Environment"),
        "firewall" => ("防火墙", "Firewall"),
        "mcu" => ("会议控制单元", "Conference unit"),
        "other" => ("其他", "Other"),
        "pdu" => ("配电单元", "Power strip"),
        "printer" => ("打印机", "Printer"),
        "recorder" => ("录像机", "Recorder"),
        "router" => ("路由器", "Router"),
        "server" => ("服务器", "Server"),
        "storage" => ("存储", "Storage"),
        "switch" => ("交换机", "Switch"),
        "terminal" => ("会议终端", "Conference terminal"),
        "ups" => ("不间断电源", "UPS"),
        "wireless" => ("无线设备", "Wireless"),
        other => return other.to_owned(),
    };
    language.of(both).to_owned()
}

/// A time that may be unknown: 0.
fn known_time(time_ms: i64, language: Language) -> String {
    match time_ms {
        0 => language.of(("未知", "unknown")).to_owned(),
        _ => time_text(time_ms),
    }
}

/// One line of a list of events.
#[must_use]
pub fn event_row(event: &StoredEvent, tree: &SiteTree, language: Language) -> Vec<String> {
    let [key, name] = place(Some(event.site), tree);
    let fields = event.fields.iter();
    let fields: Vec<String> = fields
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    vec![
        event.id.to_string(),
        time_text(event.time_ms),
        time_text(event.received_ms),
        event.host.to_string(),
        event.hostname.clone(),
        key,
        name,
        stream_name(event.stream.word(), language),
        language.of(severity_name(event.severity)).to_owned(),
        kind_name(&event.kind, language),
        event.kind.clone(),
        event.message.clone(),
        fields.join("; "),
        language.of(signature_name(event.signature)).to_owned(),
    ]
}

const fn batches(gap: &Gap) -> u64 {
    gap.last.saturating_sub(gap.first).saturating_add(1)
}

/// A gap as a line of a list of events: nobody knows what was in it.
#[must_use]
pub fn event_gap_row(
    gap: &Gap,
    hostname: &str,
    site: Option<SiteId>,
    tree: &SiteTree,
    language: Language,
) -> Vec<String> {
    let [key, name] = place(site, tree);
    let (from, to) = (
        known_time(gap.from_ms, language),
        known_time(gap.to_ms, language),
    );
    let (count, reason) = (batches(gap), reason_name(&gap.reason, language));
    let text = match language {
        Language::Chinese => format!("{from} 至 {to} 之间有 {count} 批记录缺失（{reason}）"),
        Language::English => format!("{count} batches missing between {from} and {to} ({reason})"),
    };
    let at = gap.to_ms.max(gap.from_ms);
    vec![
        String::new(),
        known_time(at, language),
        String::new(),
        gap.host.to_string(),
        hostname.to_owned(),
        key,
        name,
        stream_name(&gap.stream, language),
        String::new(),
        language.of(("记录缺口", "Gap in the record")).to_owned(),
        "gap".to_owned(),
        text,
        String::new(),
        String::new(),
    ]
}

/// One line of a list of gaps.
#[must_use]
pub fn gap_row(
    gap: &Gap,
    hostname: &str,
    site: Option<SiteId>,
    tree: &SiteTree,
    language: Language,
) -> Vec<String> {
    let [key, name] = place(site, tree);
    vec![
        gap.host.to_string(),
        hostname.to_owned(),
        key,
        name,
        stream_name(&gap.stream, language),
        gap.epoch.to_string(),
        gap.first.to_string(),
        gap.last.to_string(),
        batches(gap).to_string(),
        known_time(gap.from_ms, language),
        known_time(gap.to_ms, language),
        reason_name(&gap.reason, language),
    ]
}

/// What a list says of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLine<'a> {
    /// The device.
    pub device: &'a Device,
    /// Its state now.
    pub state: DeviceState,
    /// Name of the host that polls it.
    pub hostname: String,
}

/// One line of a list of devices.
#[must_use]
pub fn device_row(line: &DeviceLine<'_>, tree: &SiteTree, language: Language) -> Vec<String> {
    let device = line.device;
    let [key, name] = place(Some(device.site), tree);
    let needs = match device.needs_profile {
        true => ("是", "Yes"),
        false => ("否", "No"),
    };
    vec![
        device.id.to_string(),
        device.name.clone(),
        key,
        name,
        language.of(state_name(line.state)).to_owned(),
        device.problem.clone(),
        time_text(device.state_since_ms),
        device_kind_name(&device.kind, language),
        device.model.clone(),
        device.serial.clone(),
        device.profile.clone(),
        language.of(needs).to_owned(),
        device.host.to_string(),
        line.hostname.clone(),
        device.last_answer_ms.map_or_else(String::new, time_text),
        time_text(device.last_poll_ms),
        device.every_s.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_model::{EventStream, HostId};

    #[test]
    fn a_gap_says_between_which_times_nobody_knows_and_has_all_columns() {
        let gap = Gap {
            host: HostId(3),
            epoch: 1,
            stream: EventStream::Security.word().to_owned(),
            first: 5,
            last: 9,
            from_ms: 0,
            to_ms: 1_760_000_000_000,
            reason: "full".to_owned(),
        };
        let tree = SiteTree::default();
        let row = event_gap_row(&gap, "alpha", None, &tree, Language::Chinese);
        assert_eq!(row.len(), EVENT_HEADER.len());
        assert_eq!(
            row[11],
            "未知 至 2025-10-09 16:53:20 之间有 5 批记录缺失（队列已满）"
        );
        let row = gap_row(&gap, "alpha", None, &tree, Language::English);
        assert_eq!(row.len(), GAP_HEADER.len());
        assert_eq!(
            (&*row[4], &*row[8], &*row[11]),
            ("Security events", "5", "spool full")
        );
    }
}
