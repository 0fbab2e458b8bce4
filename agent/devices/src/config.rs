//! The devices that a host polls, as people write them in `devices.d/*.yaml`.
//!
//! ```yaml
//! credentials:                       # sets that many devices share, whichever file they stand in
//!   campus: {version: 2c, community: "sealed:…"}
//! devices:
//!   - {name: sw-3f, address: 10.8.3.2, every: 60s, credentials: campus, note: 三楼弱电间}
//!   - name: ups-1
//!     address: 10.8.3.9:1161
//!     profile: apc-smart-ups         # if it should not be recognised by itself
//!     credentials: {version: 2c, community: "…"}
//!     traps: {credentials: campus, from: [10.8.0.9]}   # if they come otherwise, or from elsewhere
//! ```
//!
//! Pure: texts in, devices and problems out. A bad device or file stops no other.

pub mod login;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use xiezhi_document::{Document, Problems, Said, Section};
use xiezhi_protocol::poll::is_device_name;

use crate::credentials::Credentials;
use login::Opener;

/// SNMP's port.
pub const PORT: u16 = 161;

/// Between two polls if nothing else is said.
pub const EVERY: Duration = Duration::from_secs(60);

/// Shortest and longest time between two polls.
const EVERY_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Most devices of one host.
pub const MOST: usize = 10_000;

/// A file of the folder.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// As messages name it.
    pub path: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// A device that is to be polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name, which is its name everywhere.
    pub name: String,
    /// Where it is asked.
    pub address: SocketAddr,
    /// How often.
    pub every: Duration,
    /// How this host proves that it may ask.
    pub credentials: Credentials,
    /// The profile to read it with; `None` recognises it.
    pub profile: Option<String>,
    /// How its traps are known.
    pub traps: Traps,
    /// Where it stands, or anything else that its people want to remember.
    pub note: String,
    /// The file that it stands in.
    pub file: String,
}

/// How the traps of a device are known to be its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traps {
    /// How they are proved; `None` as its answers are.
    pub credentials: Option<Credentials>,
    /// Addresses that they may come from besides the one where it is asked.
    pub from: Vec<IpAddr>,
}

/// What a folder says.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// The devices by name.
    pub devices: BTreeMap<String, Device>,
    /// What is wrong, file by file.
    pub problems: Vec<Problems>,
}

/// Either credentials or the name of a set of them.
enum Login {
    Own(Credentials),
    Set(String),
}

/// What a device says of its traps, and where their credentials stand.
#[derive(Default)]
struct TrapsDraft {
    login: Option<(Login, (usize, usize))>,
    from: Vec<IpAddr>,
}

/// A device before its set of credentials is looked up.
struct Draft {
    name: String,
    address: SocketAddr,
    every: Duration,
    login: Login,
    profile: Option<String>,
    traps: TrapsDraft,
    note: String,
    /// Where its name and its credentials stand.
    places: [(usize, usize); 2],
}

/// Reads the files of a folder. `open` opens sealed values, `is_profile` knows the profiles.
#[must_use]
pub fn read(files: &[File<'_>], open: &Opener<'_>, is_profile: &dyn Fn(&str) -> bool) -> Folder {
    let mut sets: BTreeMap<String, Option<Credentials>> = BTreeMap::new();
    let mut drafts = Vec::new();
    for file in files {
        let document = Document::parse(file.path, file.text);
        let (read, problems) = document.read(|section| {
            let own = section.section("credentials", |section| read_sets(section, open));
            let devices = section.sections("devices", |section| draft(section, open, is_profile));
            (own.unwrap_or_default(), devices)
        });
        let (own, devices) = read;
        for (name, credentials) in own {
            // The same set in two files: the first counts, and is told below if they differ.
            sets.entry(name).or_insert(credentials);
        }
        drafts.push((file.path, devices, problems));
    }
    let mut folder = Folder::default();
    for (path, devices, mut problems) in drafts {
        for draft in devices.into_iter().flatten() {
            folder.add(path, draft, &sets, &mut problems);
        }
        if !problems.is_empty() {
            folder.problems.push(problems);
        }
    }
    folder
}

impl Folder {
    fn add(
        &mut self,
        path: &str,
        draft: Draft,
        sets: &BTreeMap<String, Option<Credentials>>,
        problems: &mut Problems,
    ) {
        let [at_name, at_login] = draft.places;
        if let Some(other) = self.devices.get(&draft.name) {
            let (name, file) = (&draft.name, &other.file);
            let said = Said::new(
                format!("there are two devices `{name}`, the other in {file}; keep one"),
                format!("设备 `{name}` 重复（另一处在 {file}），请只保留一处"),
            );
            return problems.add(at_name.0, at_name.1, said);
        }
        if self.devices.len() >= MOST {
            let said = Said::new(
                format!("this host polls at most {MOST} devices; poll the others from another"),
                format!("一台主机最多采集 {MOST} 台设备，其余请由其他主机采集"),
            );
            return problems.add(at_name.0, at_name.1, said);
        }
        let Some(credentials) = found(draft.login, sets, at_login, problems) else {
            return;
        };
        let mut traps = Traps {
            from: draft.traps.from,
            credentials: None,
        };
        if let Some((login, place)) = draft.traps.login {
            traps.credentials = found(login, sets, place, problems);
        }
        let device = Device {
            name: draft.name.clone(),
            address: draft.address,
            every: draft.every,
            credentials,
            profile: draft.profile,
            traps,
            note: draft.note,
            file: path.to_owned(),
        };
        self.devices.insert(draft.name, device);
    }
}

/// The credentials that a login means; what is wrong with a set was told where it stands.
fn found(
    login: Login,
    sets: &BTreeMap<String, Option<Credentials>>,
    place: (usize, usize),
    problems: &mut Problems,
) -> Option<Credentials> {
    let set = match login {
        Login::Own(credentials) => return Some(credentials),
        Login::Set(set) => set,
    };
    if let Some(found) = sets.get(&set) {
        return found.clone();
    }
    let said = Said::new(
        format!("no file here has `credentials:` with a set `{set}`"),
        format!("各文件的 `credentials:` 中都没有名为 `{set}` 的凭据"),
    );
    problems.add(place.0, place.1, said);
    None
}

fn read_sets(section: &mut Section<'_>, open: &Opener<'_>) -> Vec<(String, Option<Credentials>)> {
    let names = section.keys();
    names
        .into_iter()
        .map(|name| {
            let read = section.section(&name, |section| login::credentials(section, open));
            (name, read.flatten())
        })
        .collect()
}

fn draft(
    section: &mut Section<'_>,
    open: &Opener<'_>,
    is_profile: &dyn Fn(&str) -> bool,
) -> Option<Draft> {
    let name = name(section);
    let address = address(section);
    let every = every(section);
    let profile = section.text("profile");
    if let Some(profile) = profile.as_ref().filter(|profile| !is_profile(profile)) {
        let said = Said::new(
            format!("there is no profile `{profile}`; see `xiezhi-agent profile list`"),
            format!("没有名为 `{profile}` 的设备配置，请运行 `xiezhi-agent profile list` 查看"),
        );
        section.problem("profile", said);
        return None;
    }
    let note = section.text("note").unwrap_or_default();
    let login = login_of(section, open);
    let traps = section.section("traps", |section| traps(section, open));
    Some(Draft {
        places: [section.place("name"), section.place("credentials")],
        name: name?,
        address: address?,
        every: every?,
        login: login?,
        profile,
        traps: traps.unwrap_or_default(),
        note,
    })
}

/// Credentials, or the name of a set of them.
fn login_of(section: &mut Section<'_>, open: &Opener<'_>) -> Option<Login> {
    if section.is_section("credentials") {
        let own = section.section("credentials", |section| login::credentials(section, open));
        return own.flatten().map(Login::Own);
    }
    let what = Said::new(
        "the name of a set, or version, community and so on",
        "凭据名称，或直接写 version、community 等",
    );
    section.required_text("credentials", what).map(Login::Set)
}

fn traps(section: &mut Section<'_>, open: &Opener<'_>) -> TrapsDraft {
    let place = section.place("credentials");
    let has_login = section.keys().iter().any(|key| key == "credentials");
    let login = has_login.then(|| login_of(section, open)).flatten();
    TrapsDraft {
        login: login.map(|login| (login, place)),
        from: section.parsed_list("from", Said::new("an IP address", "IP 地址")),
    }
}

fn name(section: &mut Section<'_>) -> Option<String> {
    let what = Said::new("what the device is called", "设备名称");
    let name = section.required_text("name", what)?;
    if is_device_name(&name) {
        return Some(name);
    }
    let said = Said::new(
        "a name has 1 to 63 small letters, digits, dots, dashes and underscores, a letter or digit first",
        "名称由 1 至 63 个小写字母、数字、点、连字符或下划线组成，并以字母或数字开头",
    );
    section.problem("name", said);
    None
}

fn address(section: &mut Section<'_>) -> Option<SocketAddr> {
    let what = Said::new("the device's IP address", "设备的 IP 地址");
    let text = section.required_text("address", what)?;
    let address = parse_address(&text);
    if address.is_none() {
        let said = Said::new(
            format!("`{text}` is no address such as 10.8.0.7, 10.8.0.7:1161 or [2001:db8::7]:161"),
            format!("`{text}` 不是地址，例如 10.8.0.7、10.8.0.7:1161 或 [2001:db8::7]:161"),
        );
        section.problem("address", said);
    }
    address
}

/// An address with or without a port.
#[must_use]
pub fn parse_address(text: &str) -> Option<SocketAddr> {
    let address: Option<SocketAddr> = text.parse().ok();
    let bare = || text.parse::<IpAddr>().ok();
    address.or_else(|| bare().map(|ip| SocketAddr::new(ip, PORT)))
}

fn every(section: &mut Section<'_>) -> Option<Duration> {
    if !section.keys().iter().any(|key| key == "every") {
        return Some(EVERY);
    }
    let every = section.duration("every")?;
    let (least, most) = EVERY_BOUNDS;
    if (least..=most).contains(&every) {
        return Some(every);
    }
    section.problem("every", Said::new("from 1s to 1h", "应在 1s 到 1h 之间"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;
    use xiezhi_document::Language;

    fn closed(_: &str) -> Result<Secret, Said> {
        Err(Said::from("closed"))
    }

    fn folder(texts: &[(&str, &str)]) -> Folder {
        let files: Vec<File<'_>> = texts
            .iter()
            .map(|(path, text)| File { path, text })
            .collect();
        read(&files, &closed, &|profile| profile == "ups")
    }

    fn told(folder: &Folder) -> String {
        let problems = folder.problems.iter();
        problems.map(|one| one.shown(Language::English)).collect()
    }

    #[test]
    fn devices_share_credentials_across_files() {
        let folder = folder(&[
            (
                "a.yaml",
                "devices:\n- {name: sw-1, address: 10.0.0.1, credentials: campus}\n\
                 - {name: sw-2, address: '10.0.0.2:1161', every: 5m, profile: ups, credentials: campus, note: 三楼}\n",
            ),
            (
                "b.yaml",
                "credentials:\n  campus: {version: 2c, community: public}\n",
            ),
        ]);
        assert_eq!(told(&folder), "");
        let device = &folder.devices["sw-2"];
        assert_eq!(device.address, "10.0.0.2:1161".parse().unwrap());
        assert_eq!(device.every, Duration::from_secs(300));
        assert_eq!(device.note, "三楼");
        assert_eq!(folder.devices["sw-1"].address.port(), PORT);
        assert_eq!(folder.devices["sw-1"].every, EVERY);
        assert_eq!(folder.devices["sw-1"].credentials, device.credentials);
        assert_eq!(device.traps, Traps::default());
    }

    #[test]
    fn traps_may_be_proved_otherwise_and_come_from_elsewhere() {
        let folder = folder(&[(
            "a.yaml",
            "credentials: {traps: {version: 2c, community: other}}\ndevices:\n\
             - name: sw-1\n  address: 10.0.0.1\n  credentials: {version: 2c, community: public}\n\
             \x20 traps: {credentials: traps, from: [10.0.0.9, '2001:db8::1']}\n\
             - name: sw-2\n  address: 10.0.0.2\n  credentials: traps\n\
             \x20 traps: {credentials: nobody, from: [x]}\n",
        )]);
        let traps = &folder.devices["sw-1"].traps;
        assert_eq!(
            traps.credentials,
            Some(folder.devices["sw-2"].credentials.clone())
        );
        let from: Vec<IpAddr> = ["10.0.0.9", "2001:db8::1"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(traps.from, from);
        let told = told(&folder);
        assert!(
            told.contains("no file here has `credentials:` with a set `nobody`"),
            "{told}"
        );
        assert!(told.contains("IP address"), "{told}");
    }

    #[test]
    fn a_bad_device_or_file_stops_no_other_and_is_told_with_its_place() {
        let own = "credentials: {version: 2c, community: hidden-word}";
        let text = format!(
            "devices:\n\
             - {{name: good, address: 10.0.0.1, {own}}}\n\
             - {{name: Bad, address: 10.0.0.1, {own}}}\n\
             - {{name: far, address: nowhere, {own}}}\n\
             - {{name: fast, address: 10.0.0.1, every: 2h, {own}}}\n\
             - {{name: odd, address: 10.0.0.1, profile: none, {own}}}\n\
             - {{name: lost, address: 10.0.0.1, credentials: nobody}}\n\
             - {{name: good, address: 10.0.0.9, {own}}}\n\
             - {{name: shut, address: 10.0.0.1, credentials: {{version: 2c, community: 'sealed:abc'}}}}\n\
             - {{name: extra, address: 10.0.0.1, colour: red, {own}}}\n"
        );
        let folder = folder(&[("a.yaml", &text), ("b.yaml", "devices: [\n")]);
        let names: Vec<&str> = folder.devices.keys().map(String::as_str).collect();
        assert_eq!(names, ["extra", "good"]);
        let told = told(&folder);
        for part in [
            "a.yaml:3:10: a name has 1 to 63",
            "a.yaml:4:24: `nowhere` is no address",
            "a.yaml:5:42: from 1s to 1h",
            "a.yaml:6:43: there is no profile `none`",
            "a.yaml:7:48: no file here has `credentials:` with a set `nobody`",
            "a.yaml:8:10: there are two devices `good`, the other in a.yaml",
            "a.yaml:9:73: closed",
            "a.yaml:10:36: unknown key `colour`",
            "b.yaml:",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(!told.contains("hidden"), "{told}");
    }

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        for (text, expected) in [
            ("10.8.0.7", Some("10.8.0.7:161")),
            ("10.8.0.7:1161", Some("10.8.0.7:1161")),
            ("2001:db8::7", Some("[2001:db8::7]:161")),
            ("[2001:db8::7]:99", Some("[2001:db8::7]:99")),
            ("switch.court", None),
            ("10.8.0.7:", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(parse_address(text), expected, "{text}");
        }
    }
}
