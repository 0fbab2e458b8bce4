//! Pages for paper that the command line makes: labels of assets, and what a technician needs to enrol hosts.
//! Each is one HTML file that needs nothing else; a browser prints it or saves it as PDF.

use xiezhi_inventory::{Both, Language};

use crate::problem::Problem;
use crate::qr::QrCode;

/// What stands on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelText {
    /// Name of the thing.
    pub name: String,
    /// Its code.
    pub code: String,
    /// Name of its site.
    pub site: String,
    /// Address of its page, for the squares.
    pub address: String,
}

/// A text too long for squares.
#[derive(Debug, thiserror::Error)]
#[error("the address {address:?} does not fit into a QR code: {why}")]
pub struct PrintError {
    address: String,
    why: String,
}

/// How hosts of a site are enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instructions {
    /// Name of the site.
    pub site: String,
    /// How many hosts may use the token.
    pub uses: u32,
    /// Until when, as people read it.
    pub until: String,
    /// Whether a person must approve each host.
    pub approval: bool,
    /// What to run on the host, as root.
    pub commands: Vec<String>,
}

/// Address of an asset's page, which its label carries.
#[must_use]
pub fn asset_address(controller: &str, id: i64) -> String {
    format!("{}/assets/{id}", controller.trim_end_matches('/'))
}

/// What to run on a host to enrol it. `controller` is the agents' address: `HOST:PORT`.
#[must_use]
pub fn enrol_commands(controller: &str, token: &str) -> Vec<String> {
    vec![
        // Not as an argument: every user of the host can read those while the command runs.
        format!(
            "printf %s {token} | xiezhi-agent enrol --controller https://{controller} --token -"
        ),
        "systemctl enable --now xiezhi-agent".to_owned(),
    ]
}

const STYLE: &str = "@page{size:A4;margin:8mm}*{box-sizing:border-box}\
body{margin:0;color:#000;background:#fff;font:9pt/1.35 'Noto Sans SC','Microsoft YaHei',sans-serif}\
.labels{display:grid;grid-template-columns:repeat(3,1fr);grid-auto-rows:33mm;gap:1.5mm;margin:0;padding:0;list-style:none}\
.label{display:flex;gap:2mm;align-items:center;padding:2mm;border:1px solid #999;break-inside:avoid;overflow:hidden}\
.label svg{flex:none;width:26mm;height:26mm}.label div{min-width:0;overflow-wrap:anywhere}\
.label b,.label code,.label span{display:block}.label span{font-size:7.5pt}\
.sheet{padding:8mm;font-size:12pt;line-height:1.7}.sheet h1{font-size:18pt}\
.sheet pre{padding:3mm;border:1px solid #999;font-size:10.5pt;white-space:pre-wrap;overflow-wrap:anywhere}";

fn page(title: &str, body: &str, language: Language) -> String {
    let spoken = language.of(("zh-CN", "en"));
    format!(
        "<!doctype html>\n<html lang=\"{spoken}\"><head><meta charset=\"utf-8\"><title>{}</title><style>{STYLE}</style></head>\n<body>{body}</body></html>\n",
        escaped(title)
    )
}

/// A text that is no markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            sign => out.push(sign),
        }
    }
    out
}

/// Labels on A4, three beside one another and eight above one another, as labels to stick on are sold.
///
/// # Errors
/// If an address is too long for squares.
pub fn labels_page(labels: &[LabelText], language: Language) -> Result<String, PrintError> {
    let labels = labels.iter().map(label).collect::<Result<String, _>>()?;
    Ok(page(
        language.of(("资产标签", "Labels of assets")),
        &format!("<ul class=\"labels\">{labels}</ul>"),
        language,
    ))
}

fn label(label: &LabelText) -> Result<String, PrintError> {
    let code = QrCode::of(&label.address).map_err(|problem: Problem| PrintError {
        address: label.address.clone(),
        why: problem.detail().to_owned(),
    })?;
    Ok(format!(
        "<li class=\"label\">{}<div><b>{}</b><code>{}</code><span>{}</span></div></li>\n",
        squares(&code),
        escaped(&label.name),
        escaped(&label.code),
        escaped(&label.site)
    ))
}

/// The squares as one path, with the four empty ones around that readers need.
fn squares(code: &QrCode) -> String {
    const AROUND: usize = 4;
    let mut path = String::new();
    for (y, row) in code.rows().iter().enumerate() {
        let dark = row.chars().enumerate().filter(|(_, sign)| *sign == '1');
        for (x, _) in dark {
            path.push_str(&format!("M{} {}h1v1h-1z", x + AROUND, y + AROUND));
        }
    }
    let size = code.rows().len() + 2 * AROUND;
    format!(
        "<svg viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\"><path d=\"{path}\"/></svg>"
    )
}

/// What the sheet says; the page of the screens says the same.
const WHO: Both = (
    "交给现场技术员。令牌等同于钥匙，用完请销毁这张纸。",
    "For the technician on site. The token is a key: destroy this sheet after use.",
);
const BEFORE: [Both; 3] = [
    (
        "以 root 登录要接入的主机，确认时间准确、能连到控制器。",
        "Sign in to the host as root; see that its clock is right and that it reaches the controller.",
    ),
    (
        "安装代理程序包（软件源或管理员提供的安装包）。",
        "Install the agent’s package, from the package source or as your administrator gave it to you.",
    ),
    ("逐行运行下面的命令：", "Run these commands line by line:"),
];
const APPROVAL: Both = (
    "这个令牌需要人工批准：接入后请打电话给管理员，报出代理显示的机器摘要，由其在“接入”页批准。",
    "This token needs approval: call the administrator, read out the machine digest that the agent shows, \
     and have it approved on the Enrolment page.",
);
const AFTER: Both = (
    "几秒后，主机出现在“主机”页，状态为“在线”。",
    "After a few seconds the host is on the Fleet page as Up.",
);
const HELP: Both = (
    "命令报错时，把屏幕上的整段文字拍照发给管理员，不要反复重试。",
    "If a command fails, send the administrator a photo of the whole message; do not try again and again.",
);

/// The sheet that goes to the court.
#[must_use]
pub fn instructions_page(of: &Instructions, language: Language) -> String {
    let Instructions {
        site, uses, until, ..
    } = of;
    let (title, limits) = match language {
        Language::Chinese => (
            format!("{site} 主机接入说明"),
            format!("可用 {uses} 次，有效至 {until}。"),
        ),
        Language::English => (
            format!("Enrolling hosts of {site}"),
            format!("Good for {uses} uses until {until}."),
        ),
    };
    let [first, second, third] = BEFORE.map(|step| language.of(step));
    let approval = match of.approval {
        true => format!("<li>{}</li>", language.of(APPROVAL)),
        false => String::new(),
    };
    let body = format!(
        "<article class=\"sheet\"><h1>{}</h1><p><b>{}</b> {}</p><ol><li>{first}</li><li>{second}</li>\
         <li>{third}<pre>{}</pre></li>{approval}<li>{}</li></ol><p>{}</p></article>",
        escaped(&title),
        language.of(WHO),
        escaped(&limits),
        escaped(&of.commands.join("\n")),
        language.of(AFTER),
        language.of(HELP),
    );
    page(&title, &body, language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_show_names_as_they_are_written_and_carry_their_address() {
        let one = LabelText {
            name: "<b>服务器</b>".to_owned(),
            code: "A&1".to_owned(),
            site: "\"中院\"".to_owned(),
            address: asset_address("https://c:8444/", 7),
        };
        assert_eq!(one.address, "https://c:8444/assets/7");
        let text = labels_page(&[one.clone(), one.clone()], Language::Chinese).unwrap();
        assert_eq!(text.matches("<li class=\"label\">").count(), 2);
        assert!(text.contains("&lt;b&gt;服务器&lt;/b&gt;") && text.contains("A&amp;1"));
        // The finder in the corner: seven dark squares behind four light ones.
        for x in 4..11 {
            assert!(text.contains(&format!("M{x} 4h1v1h-1z")), "{x}");
        }
        assert!(!text.contains("M3 4h1") && !text.contains("M11 4h1"));
        let long = LabelText {
            address: "x".repeat(5000),
            ..one
        };
        assert!(labels_page(&[long], Language::English).is_err());
    }

    #[test]
    fn instructions_name_the_commands_and_the_limits() {
        let of = Instructions {
            site: "兰州中院".to_owned(),
            uses: 3,
            until: "2026-11-29 12:00".to_owned(),
            approval: true,
            commands: enrol_commands("c:8443", "xz-token"),
        };
        let of_page = include_str!("../../../dashboards/web/assets/lib/enrol.js");
        for (at, language) in Language::ALL.into_iter().enumerate() {
            let text = instructions_page(&of, language);
            for part in ["兰州中院", "2026-11-29 12:00", language.word()] {
                assert!(text.contains(part), "{part}");
            }
            // The page's own sheet says the same.
            for step in [
                "who", "step1", "step2", "step3", "step4", "approval", "help",
            ] {
                let begin = format!("'enrol.sheet.{step}': ['");
                let (_, rest) = of_page.split_once(&begin).expect(step);
                let said = rest.split('\'').nth(2 * at).unwrap();
                assert!(text.contains(said), "{said}");
            }
            let command = "printf %s xz-token | xiezhi-agent enrol --controller https://c:8443";
            assert!(text.contains(command));
        }
        assert!(instructions_page(&of, Language::Chinese).contains("可用 3 次"));
    }
}
