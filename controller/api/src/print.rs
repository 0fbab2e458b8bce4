//! Pages for paper that the command line makes: labels of assets, and what a technician needs to enrol hosts.
//! Each is one HTML file that needs nothing else; a browser prints it or saves it as PDF.

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

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"zh-CN\"><head><meta charset=\"utf-8\"><title>{}</title><style>{STYLE}</style></head>\n<body>{body}</body></html>\n",
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
pub fn labels_page(labels: &[LabelText]) -> Result<String, PrintError> {
    let labels = labels.iter().map(label).collect::<Result<String, _>>()?;
    Ok(page(
        "资产标签",
        &format!("<ul class=\"labels\">{labels}</ul>"),
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

/// The sheet that goes to the court.
#[must_use]
pub fn instructions_page(of: &Instructions) -> String {
    let title = format!("{} 主机接入说明", of.site);
    let approval = match of.approval {
        true => {
            "<li>这个令牌需要人工批准：接入后请打电话给管理员，报出代理显示的机器摘要，由其在“接入”页批准。</li>"
        }
        false => "",
    };
    let body = format!(
        "<article class=\"sheet\"><h1>{}</h1>\
         <p><b>交给现场技术员。令牌等同于钥匙，用完请销毁这张纸。</b> 可用 {} 次，有效至 {}。</p>\
         <ol><li>以 root 登录要接入的主机，确认时间准确、能连到控制器。</li>\
         <li>安装代理程序包（软件源或管理员提供的安装包）。</li>\
         <li>逐行运行下面的命令：<pre>{}</pre></li>{approval}\
         <li>几秒后，主机出现在“主机”页，状态为“在线”。</li></ol>\
         <p>命令报错时，把屏幕上的整段文字拍照发给管理员，不要反复重试。</p></article>",
        escaped(&title),
        of.uses,
        escaped(&of.until),
        escaped(&of.commands.join("\n"))
    );
    page(&title, &body)
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
        let text = labels_page(&[one.clone(), one.clone()]).unwrap();
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
        assert!(labels_page(&[long]).is_err());
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
        let text = instructions_page(&of);
        for part in ["兰州中院", "可用 3 次", "2026-11-29 12:00", "人工批准"] {
            assert!(text.contains(part), "{part}");
        }
        // The page's own sheet says the same.
        let of_page = include_str!("../../../dashboards/web/assets/lib/enrol.js");
        for step in ["step1", "step2", "step4", "help"] {
            let begin = format!("'enrol.sheet.{step}': ['");
            let (_, rest) = of_page.split_once(&begin).expect(step);
            let (said, _) = rest.split_once('\'').unwrap();
            assert!(text.contains(said), "{said}");
        }
        assert!(
            text.contains("printf %s xz-token | xiezhi-agent enrol --controller https://c:8443")
        );
    }
}
