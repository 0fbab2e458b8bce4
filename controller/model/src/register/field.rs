//! The fields of the register: names, headers that spreadsheets have for them, and what they take.

use super::RegisterKind;

/// One thing that the register knows of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// 编号: what the site calls it by; never changes.
    Code,
    /// 名称, 姓名
    Name,
    /// 用途: what a room is for.
    Use,
    /// 类型: what sort of asset.
    Type,
    /// 型号
    Model,
    /// 序列号
    Serial,
    /// 庭室: code of a room of the same site.
    Room,
    /// 责任人: code of a member of staff of the same site.
    Owner,
    /// 楼层
    Floor,
    /// 职务
    Title,
    /// 电话
    Phone,
    /// 邮箱
    Email,
    /// 购置日期
    Bought,
    /// 保修到期
    Warranty,
    /// 状态: see [`RegisterKind::states`].
    State,
    /// 备注
    Note,
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text of so many characters at most.
    Text(usize),
    /// A day, kept as `2026-11-22`.
    Date,
    /// One of the words; people may write the Chinese name.
    Choice(&'static [(&'static str, &'static str)]),
    /// Code of an item of this kind at the same site.
    Code(RegisterKind),
}

/// How a day is written.
pub const DATE_SHAPE: &str = "2026-11-22";

/// Longest code, in characters: it stands on a label and in an index.
const LONGEST_CODE: usize = 64;

const USES: &[(&str, &str)] = &[
    ("division", "庭室"),
    ("tech_courtroom", "科技法庭"),
    ("internet_courtroom", "互联网法庭"),
    ("command_center", "执行指挥中心"),
    ("remote_arraignment", "远程提讯"),
    ("server_room", "机房"),
    ("service_window", "诉讼服务"),
    ("office", "办公室"),
    ("other", "其他"),
];

const TYPES: &[(&str, &str)] = &[
    ("server", "服务器"),
    ("computer", "计算机"),
    ("network", "网络设备"),
    ("security", "安全设备"),
    ("storage", "存储设备"),
    ("printer", "打印机"),
    ("courtroom", "法庭设备"),
    ("video", "视频设备"),
    ("phone", "电话"),
    ("power", "电源设备"),
    ("other", "其他"),
];

/// Why a text is no value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// It must hold something.
    #[error("is empty: fill it in")]
    Empty,
    /// Too long.
    #[error("has more than {0} characters: shorten it")]
    TooLong(usize),
    /// A line break or the like.
    #[error("holds a line break or another control character: take it out")]
    Control,
    /// No day.
    #[error("is no day: write it like {DATE_SHAPE}")]
    Date,
    /// None of the words.
    #[error("is not one of {0}")]
    Choice(String),
    /// Another kind has it.
    #[error("is no field of {}", .0.word())]
    NotOfThisKind(RegisterKind),
}

impl FieldProblem {
    /// Stable word, for pages that say it in their own language.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong(_) => "too_long",
            Self::Control => "control",
            Self::Date => "no_date",
            Self::Choice(_) => "no_choice",
            Self::NotOfThisKind(_) => "no_field",
        }
    }
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Code,
        Self::Name,
        Self::Use,
        Self::Type,
        Self::Model,
        Self::Serial,
        Self::Room,
        Self::Owner,
        Self::Floor,
        Self::Title,
        Self::Phone,
        Self::Email,
        Self::Bought,
        Self::Warranty,
        Self::State,
        Self::Note,
    ];

    /// Stable word: stored, in answers and as an English header.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Name => "name",
            Self::Use => "use",
            Self::Type => "type",
            Self::Model => "model",
            Self::Serial => "serial",
            Self::Room => "room",
            Self::Owner => "owner",
            Self::Floor => "floor",
            Self::Title => "title",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Bought => "bought",
            Self::Warranty => "warranty",
            Self::State => "state",
            Self::Note => "note",
        }
    }

    /// The field that [`Field::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.word() == word)
    }

    /// Headers that spreadsheets have for it; the first is that of an export.
    #[must_use]
    pub const fn headers(self, kind: RegisterKind) -> &'static [&'static str] {
        use RegisterKind::{Asset, Room, Staff};
        match (self, kind) {
            (Self::Code, Room) => &["房间编号", "庭室编号", "房间号", "编号"],
            (Self::Code, Staff) => &["工号", "人员编号", "警号", "编号"],
            (Self::Code, Asset) => &["资产编号", "资产号", "固定资产编号", "编号"],
            (Self::Name, Room) => &["房间名称", "庭室名称", "名称"],
            (Self::Name, Staff) => &["姓名", "名字"],
            (Self::Name, Asset) => &["资产名称", "设备名称", "名称"],
            (Self::Use, _) => &["用途"],
            (Self::Type, _) => &["类型", "资产类型", "设备类型", "类别"],
            (Self::Model, _) => &["型号", "规格型号", "品牌型号"],
            (Self::Serial, _) => &["序列号", "出厂编号", "SN", "serial number"],
            (Self::Room, Staff) => &["所在庭室", "部门", "庭室", "房间编号", "庭室编号"],
            (Self::Room, _) => &["存放房间", "庭室", "存放地点", "房间编号", "庭室编号"],
            (Self::Owner, _) => &["责任人工号", "责任人", "使用人", "保管人"],
            (Self::Floor, _) => &["楼层"],
            (Self::Title, _) => &["职务", "岗位"],
            (Self::Phone, _) => &["电话", "联系电话", "手机"],
            (Self::Email, _) => &["邮箱", "电子邮箱", "e-mail"],
            (Self::Bought, _) => &["购置日期", "采购日期", "启用日期", "购买日期"],
            (Self::Warranty, _) => &["保修到期", "保修期至", "质保到期", "维保到期"],
            (Self::State, _) => &["状态", "使用状态"],
            (Self::Note, _) => &["备注", "说明", "remarks"],
        }
    }

    /// What it takes for this kind.
    #[must_use]
    pub const fn shape(self, kind: RegisterKind) -> Shape {
        match self {
            Self::Code => Shape::Text(LONGEST_CODE),
            Self::Room => Shape::Code(RegisterKind::Room),
            Self::Owner => Shape::Code(RegisterKind::Staff),
            Self::Use => Shape::Choice(USES),
            Self::Type => Shape::Choice(TYPES),
            Self::State => Shape::Choice(kind.states()),
            Self::Bought | Self::Warranty => Shape::Date,
            Self::Name | Self::Model | Self::Serial => Shape::Text(128),
            Self::Floor | Self::Title | Self::Phone | Self::Email => Shape::Text(64),
            Self::Note => Shape::Text(500),
        }
    }

    /// Checks a text and gives it as it is kept: trimmed, days as [`DATE_SHAPE`], choices as words.
    ///
    /// # Errors
    /// Says what to do.
    pub fn check(self, kind: RegisterKind, text: &str) -> Result<String, FieldProblem> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(String::new());
        }
        if text.chars().any(char::is_control) {
            return Err(FieldProblem::Control);
        }
        let (half, is_for_machines) = (half_width(text), self.is_for_machines());
        if is_for_machines && half.chars().any(is_unseen) {
            return Err(FieldProblem::Control);
        }
        let text = if is_for_machines { half.as_str() } else { text };
        match self.shape(kind) {
            Shape::Text(most) if text.chars().count() > most => Err(FieldProblem::TooLong(most)),
            Shape::Code(_) if text.chars().count() > LONGEST_CODE => {
                Err(FieldProblem::TooLong(LONGEST_CODE))
            }
            Shape::Text(_) | Shape::Code(_) => Ok(text.to_owned()),
            Shape::Date => day(text).ok_or(FieldProblem::Date),
            Shape::Choice(words) => choice(words, text),
        }
    }
}

impl Field {
    /// Codes, numbers and days, which are compared: what looks the same is the same.
    const fn is_for_machines(self) -> bool {
        matches!(
            self,
            Self::Code
                | Self::Serial
                | Self::Room
                | Self::Owner
                | Self::Phone
                | Self::Email
                | Self::Bought
                | Self::Warranty
        )
    }
}

/// Full-width letters, digits and the signs of codes, as Chinese keyboards write them, in their usual width.
/// Brackets and other signs stay.
#[must_use]
pub fn half_width(text: &str) -> String {
    let half = |sign: char| match sign {
        '０'..='９'
        | 'Ａ'..='Ｚ'
        | 'ａ'..='ｚ'
        | '－'
        | '．'
        | '／'
        | '＿'
        | '＠'
        | '＋'
        | '＃' => {
            // U+FF01 to U+FF5E stand in the order of U+0021 to U+007E.
            char::from_u32(u32::from(sign) - 0xfee0).unwrap_or(sign)
        }
        other => other,
    };
    text.chars().map(half).collect()
}

/// Signs of no width, which two codes that look alike would differ by.
const fn is_unseen(sign: char) -> bool {
    matches!(sign,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn choice(words: &[(&'static str, &str)], text: &str) -> Result<String, FieldProblem> {
    let is = |(word, chinese): &&(&'static str, &str)| {
        word.eq_ignore_ascii_case(text) || *chinese == text
    };
    match words.iter().find(is) {
        Some((word, _)) => Ok((*word).to_owned()),
        None => {
            let all = words
                .iter()
                .map(|(word, chinese)| format!("{chinese} ({word})"));
            Err(FieldProblem::Choice(all.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// A day in any of the ways that people write it, year first.
fn day(text: &str) -> Option<String> {
    let parts = text
        .trim_end_matches('日')
        .split(['-', '/', '.', '年', '月']);
    let numbers: Vec<u32> = match (text.len(), text.parse::<u32>()) {
        (8, Ok(whole)) => vec![whole / 10_000, whole / 100 % 100, whole % 100],
        _ => parts
            .map(|part| part.trim().parse().ok())
            .collect::<Option<_>>()?,
    };
    let &[year, month, day] = numbers.as_slice() else {
        return None;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let known = (1900..=2200).contains(&year) && (1..=days).contains(&day);
    known.then(|| format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_fields() {
        for field in Field::ALL {
            assert_eq!(Field::from_word(field.word()), Some(field));
        }
    }

    #[test]
    fn days_are_read_as_people_write_them_and_others_refused() {
        for text in [
            "2024-3-5",
            "2024/03/05",
            "2024.3.5",
            "2024年3月5日",
            "20240305",
        ] {
            assert_eq!(day(text).as_deref(), Some("2024-03-05"), "{text}");
        }
        for text in [
            "2023-02-29",
            "24-3-5",
            "5.3.2024",
            "2024-13-01",
            "2024-3",
            "12345",
            "a-b-c",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
        assert!(day("2024-02-29").is_some());
    }

    #[test]
    fn codes_that_look_the_same_are_the_same_and_names_stay_as_they_are() {
        let kind = RegisterKind::Asset;
        for text in ["A-101", "Ａ－１０１", " A-101\u{3000}"] {
            assert_eq!(
                Field::Code.check(kind, text).as_deref(),
                Ok("A-101"),
                "{text}"
            );
        }
        assert_eq!(
            Field::Code.check(kind, "（2020）１").as_deref(),
            Ok("（2020）1")
        );
        assert_eq!(
            Field::Bought.check(kind, "２０２４－３－５").as_deref(),
            Ok("2024-03-05")
        );
        assert_eq!(
            Field::Name.check(kind, "Ａ型\u{200c}机").as_deref(),
            Ok("Ａ型\u{200c}机")
        );
        for text in ["A-\u{200b}101", "\u{feff}A-101"] {
            assert_eq!(
                Field::Code.check(kind, text),
                Err(FieldProblem::Control),
                "{text:?}"
            );
        }
    }

    #[test]
    fn choices_are_taken_in_both_languages() {
        let kind = RegisterKind::Asset;
        for text in ["报废", "retired", " Retired "] {
            assert_eq!(Field::State.check(kind, text).as_deref(), Ok("retired"));
        }
        let problem = Field::Type.check(kind, "手推车").unwrap_err();
        assert!(problem.to_string().contains("服务器 (server)"), "{problem}");
    }

    #[test]
    fn no_two_fields_of_a_kind_share_a_header() {
        for kind in RegisterKind::ALL {
            let mut seen = std::collections::BTreeSet::new();
            for field in kind.fields() {
                for header in field.headers(kind).iter().chain([&field.word()]) {
                    assert!(seen.insert(*header), "{header} of {}", kind.word());
                }
            }
        }
    }
}
