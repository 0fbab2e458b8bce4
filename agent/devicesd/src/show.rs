//! A reading on a terminal.

#![expect(clippy::print_stderr, reason = "commands answer on the terminal")]

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use xiezhi_document::{Language, Said};
use xiezhi_profiles::{
    FACTS, Fact, Level, Measured, Port, Profile, Reading, Reason, Table, Text, Unit,
};

pub(crate) fn help(text: &str) -> ExitCode {
    say_part!("{text}");
    ExitCode::SUCCESS
}

/// Writes to the terminal. Whoever reads a pipe may have seen enough: then there is nobody to tell.
pub(crate) fn write_out(text: fmt::Arguments<'_>) {
    if let Err(error) = std::io::stdout().write_fmt(text) {
        let seen_enough = error.kind() == std::io::ErrorKind::BrokenPipe;
        std::process::exit(i32::from(!seen_enough));
    }
}

/// Shows why a command failed.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("xiezhi-agent: {error:#}");
}

/// The sentence in `language`.
pub(crate) fn said(language: Language, said: &Said) -> &str {
    match language {
        Language::English => &said.en,
        Language::Chinese => &said.zh,
    }
}

/// The text in `language`.
pub(crate) fn text(language: Language, text: &Text) -> &str {
    match language {
        Language::English => &text.en,
        Language::Chinese => &text.zh,
    }
}

/// Of two words the one in `language`.
pub(crate) fn word<'a>(language: Language, zh: &'a str, en: &'a str) -> &'a str {
    match language {
        Language::English => en,
        Language::Chinese => zh,
    }
}

/// Rows with their columns below one another, whatever the script.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) {
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut line = String::new();
        for (cell, widest) in row.iter().zip(&widths) {
            line.push_str(cell);
            let padding = widest.saturating_sub(width(cell)) + 2;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        say!("  {}", line.trim_end());
    }
}

/// Columns of a terminal that `text` takes: two for a Chinese character or a full-width sign.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{ffdc}');
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// What was read with `profile`.
pub(crate) fn reading(language: Language, profile: &Profile, reading: &Reading<'_>) {
    facts(language, profile, reading);
    ports(language, &reading.ports);
    values(language, reading);
    left_out(language, reading);
}

fn facts(language: Language, profile: &Profile, reading: &Reading<'_>) {
    let label = text(language, &profile.label);
    let version = profile.version;
    let mut rows = vec![[
        word(language, "设备", "device").to_owned(),
        match language {
            Language::English => format!("{label} (profile {}, version {version})", profile.name),
            Language::Chinese => format!("{label}（配置 {}，第 {version} 版）", profile.name),
        },
    ]];
    for (_, fact) in FACTS {
        if let Some(found) = reading.facts.get(fact) {
            rows.push([fact_word(language, *fact).to_owned(), found.clone()]);
        }
    }
    columns(&rows);
}

fn fact_word(language: Language, fact: Fact) -> &'static str {
    match fact {
        Fact::Vendor => word(language, "厂商", "vendor"),
        Fact::Model => word(language, "型号", "model"),
        Fact::Serial => word(language, "序列号", "serial"),
        Fact::Firmware => word(language, "软件版本", "firmware"),
        Fact::Hardware => word(language, "硬件版本", "hardware"),
    }
}

fn ports(language: Language, ports: &[Port]) {
    if ports.is_empty() {
        return;
    }
    heading(word(language, "端口", "ports"), ports.len());
    let rows: Vec<[String; 4]> = ports
        .iter()
        .map(|port| {
            [
                port.name.clone(),
                port_state(language, port).to_owned(),
                port.speed.map_or_else(String::new, speed),
                port.alias.clone().unwrap_or_default(),
            ]
        })
        .collect();
    columns(&rows);
}

fn port_state(language: Language, port: &Port) -> &'static str {
    match (port.enabled, port.state) {
        (Some(false), _) => word(language, "已停用", "disabled"),
        (_, Some(1)) => word(language, "已连接", "up"),
        (_, Some(2 | 7)) => word(language, "未连接", "down"),
        (_, Some(6)) => word(language, "不在位", "not present"),
        (_, Some(3)) => word(language, "测试中", "testing"),
        (_, Some(5)) => word(language, "待命", "dormant"),
        _ => word(language, "未知", "unknown"),
    }
}

fn speed(bits: u64) -> String {
    match bits {
        0 => String::new(),
        bits if bits >= 1_000_000_000 && bits % 1_000_000_000 == 0 => {
            format!("{} Gbit/s", bits / 1_000_000_000)
        }
        bits if bits >= 1_000_000 => format!("{} Mbit/s", bits / 1_000_000),
        bits => format!("{} kbit/s", bits / 1_000),
    }
}

fn values(language: Language, reading: &Reading<'_>) {
    let single: Vec<&Measured<'_>> = one_table(reading, None);
    if !single.is_empty() {
        heading(word(language, "数值", "values"), single.len());
        let rows: Vec<[String; 2]> = single
            .iter()
            .map(|value| [metric_name(language, value), shown(language, value)])
            .collect();
        columns(&rows);
    }
    let mut tables: Vec<&Table> = Vec::new();
    for table in reading.values.iter().filter_map(|value| value.table) {
        if !tables.iter().any(|known| std::ptr::eq(*known, table)) {
            tables.push(table);
        }
    }
    for table in tables {
        let cells = one_table(reading, Some(table));
        heading(text(language, &table.label), cells.len());
        let rows: Vec<[String; 3]> = cells
            .iter()
            .map(|value| {
                [
                    row_name(value),
                    metric_name(language, value),
                    shown(language, value),
                ]
            })
            .collect();
        columns(&rows);
    }
}

fn one_table<'a, 'p>(reading: &'a Reading<'p>, table: Option<&Table>) -> Vec<&'a Measured<'p>> {
    let same = |value: &&Measured<'_>| match (value.table, table) {
        (None, None) => true,
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        _ => false,
    };
    reading.values.iter().filter(same).collect()
}

fn metric_name(language: Language, value: &Measured<'_>) -> String {
    text(language, &value.metric.label).to_owned()
}

fn row_name(value: &Measured<'_>) -> String {
    let words: Vec<&str> = value.labels.iter().map(|(_, text)| text.as_str()).collect();
    words.join(", ")
}

fn shown(language: Language, value: &Measured<'_>) -> String {
    if let Some(meaning) = value.meaning {
        let sign = match meaning.level {
            Level::Ok => "",
            Level::Unknown => " ?",
            Level::Warning => " !",
            Level::Critical => " !!",
        };
        return format!("{}{sign}", text(language, &meaning.text));
    }
    let number = value.shown();
    if value.metric.unit == Unit::Seconds
        && let Some(duration) = duration(language, value.number.real())
    {
        return duration;
    }
    if value.metric.states.is_empty() {
        return format!("{number} {}", value.metric.unit.sign())
            .trim_end()
            .to_owned();
    }
    let unnamed = word(
        language,
        "（配置中没有这个状态）",
        "(a state that the profile does not name)",
    );
    format!("{number} {unnamed}")
}

/// Two minutes and more as people say them.
fn duration(language: Language, seconds: f64) -> Option<String> {
    if !(120.0..1e10).contains(&seconds) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds above"
    )]
    let minutes = (seconds / 60.0) as u64;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    Some(match (language, days, hours) {
        (Language::Chinese, 0, 0) => format!("{minutes} 分钟"),
        (Language::Chinese, 0, _) => format!("{hours} 小时 {minutes} 分"),
        (Language::Chinese, ..) => format!("{days} 天 {hours} 小时"),
        (Language::English, 0, 0) => format!("{minutes} min"),
        (Language::English, 0, _) => format!("{hours} h {minutes} min"),
        (Language::English, ..) => format!("{days} d {hours} h"),
    })
}

fn left_out(language: Language, reading: &Reading<'_>) {
    if reading.left_out.is_empty() {
        return;
    }
    heading(word(language, "未采用", "left out"), reading.left_out.len());
    let rows: Vec<[String; 3]> = reading
        .left_out
        .iter()
        .map(|left| {
            [
                text(language, &left.metric.label).to_owned(),
                left.metric.object.at(&left.index).to_string(),
                reason(language, left.reason).to_owned(),
            ]
        })
        .collect();
    columns(&rows);
}

fn reason(language: Language, reason: Reason) -> &'static str {
    match reason {
        Reason::NotANumber => word(language, "设备返回的不是数字", "the device told no number"),
        Reason::Skipped => word(
            language,
            "设备表示没有此项",
            "the device says that it has none",
        ),
        Reason::Impossible => word(language, "超出合理范围", "outside what is possible"),
        Reason::NoOther => word(
            language,
            "缺少换算所需的对象",
            "what it is a part of is missing",
        ),
    }
}

fn heading(name: &str, count: usize) {
    say!("\n{name} ({count})");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chinese_character_takes_two_columns() {
        assert_eq!(width("电池 ok"), 7);
        assert_eq!(width("°C"), 2);
    }

    #[test]
    fn durations_are_shown_as_people_say_them() {
        assert_eq!(duration(Language::English, 119.0), None);
        assert_eq!(duration(Language::English, 3060.0).unwrap(), "51 min");
        assert_eq!(
            duration(Language::Chinese, 109_762.0).unwrap(),
            "1 天 6 小时"
        );
        assert_eq!(duration(Language::Chinese, 7300.0).unwrap(), "2 小时 1 分");
    }

    #[test]
    fn speeds_are_shown_as_people_say_them() {
        assert_eq!(speed(10_000_000_000), "10 Gbit/s");
        assert_eq!(speed(2_500_000_000), "2500 Mbit/s");
        assert_eq!(speed(64_000), "64 kbit/s");
        assert_eq!(speed(0), "");
    }
}
