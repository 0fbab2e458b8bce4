//! Answers that look like a controller's: the shapes are those of `xiezhi-api`.

use serde_json::{Value, json};

const COURTS: &str = include_str!("../../../../controller/inventory/data/courts.csv");
const STATES: [&str; 4] = ["up", "stale", "down", "unknown"];
const ACTIONS: [&str; 3] = ["login.succeeded", "host.enrolled", "token.created"];
const REASONS: [&str; 4] = [
    "reporting",
    "report_late",
    "site_reports_without_it",
    "silent_without_evidence",
];

/// A number between 0 and 1 that depends on `seed` only.
fn chance(seed: usize) -> f64 {
    let mixed = (seed as u64 ^ 0x9e37_79b9).wrapping_mul(0x2545_f491_4f6c_dd1d);
    ((mixed ^ (mixed >> 29)) % 10_000) as f64 / 10_000.0
}

fn state_of(host: usize) -> usize {
    match chance(host * 7) {
        draw if draw < 0.90 => 0,
        draw if draw < 0.94 => 1,
        draw if draw < 0.965 => 2,
        _ => 3,
    }
}

/// Lines of the import file: key, name, tier, parent, code.
fn courts() -> Vec<Vec<&'static str>> {
    COURTS
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect()
}

/// Hosts of a court: some courts have none.
fn hosts_of(court: usize) -> std::ops::Range<usize> {
    let number = match court {
        0 => 9,
        29 | 57 | 101 => 0,
        _ => 2 + court % 4,
    };
    court * 10..court * 10 + number
}

fn tally(courts: impl Iterator<Item = usize>) -> Value {
    let mut counts = [0; 4];
    for court in courts {
        // Two lines are cut: nothing is known of what lies behind them.
        for host in hosts_of(court) {
            counts[if matches!(court, 14 | 80) {
                3
            } else {
                state_of(host)
            }] += 1;
        }
    }
    json!({"up": counts[0], "stale": counts[1], "down": counts[2], "unknown": counts[3]})
}

pub(crate) fn counts() -> Value {
    tally(0..courts().len())
}

fn site(index: usize) -> Value {
    let all = courts();
    let row = &all[index];
    let parent = all.iter().position(|other| other[0] == row[3]);
    let below = (0..all.len()).filter(|&other| all[other][0].starts_with(row[0]));
    json!({"id": index + 1, "key": row[0], "name": row[1], "tier": row[2], "parent": parent.map(|p| p + 1),
        "code": row[4], "hosts": tally(std::iter::once(index)), "rollup": tally(below)})
}

fn host(number: usize, now: i64) -> Value {
    let court = number / 10;
    let state = if matches!(court, 14 | 80) {
        3
    } else {
        state_of(number)
    };
    let age = [4_000, 52_000, 1_900_000, 7_400_000][state];
    json!({"id": number + 1, "hostname": format!("{}-{:02}", ["fy-srv", "kjft", "pad-gw", "ywzd"][number % 4], number % 10 + 1),
        "site": {"id": court + 1, "name": courts()[court][1]}, "simulated": number != 3, "presence": STATES[state],
        "reason": REASONS[state], "since_ms": now - age * 3, "last_report_ms": now - age,
        "connected_since_ms": now - 90_000_000, "address": "10.62.4.7:51234",
        "version": if number.is_multiple_of(9) { "0.1.0" } else { "0.2.0" },
        "cpu_percent": if state == 0 { json!(chance(number + 5) * 60.0) } else { Value::Null },
        "memory_percent": 20.0 + chance(number + 9) * 60.0, "disk_percent": 10.0 + chance(number + 17) * 88.0,
        "load1": chance(number) * 3.0, "uptime_s": 864_000.0, "series": 312,
        "agent_memory_bytes": 4_600_000.0 + chance(number) * 900_000.0, "agent_cpu_s_per_h": 0.9 + chance(number) * 0.4,
        "skew_ms": if number == 42 { 63_000_000 } else { (chance(number + 3) * 80.0) as i64 - 30 },
        "dropped": if number.is_multiple_of(37) { 14 } else { 0 }, "pending": number % 3, "spool_bytes": 81_920, "trouble": "",
        "identity_conflict_ms": if number == 51 { json!(now - 9_000_000) } else { Value::Null },
        "revoked_ms": null, "certificate_expires_s": now / 1000 + 2_000_000, "enrolled_ms": now - 900_000_000,
        "epoch": 1, "policy_root": "", "machine": "9f0c1d".repeat(10), "evidence_key": "ab12".repeat(16), "interval_ms": 15000})
}

fn all_hosts(now: i64) -> Vec<Value> {
    (0..courts().len())
        .flat_map(hosts_of)
        .map(|number| host(number, now))
        .collect()
}

fn event(number: usize, now: i64) -> Value {
    let kinds = [
        ("login", "info", "root logged in from 10.62.4.7 over ssh"),
        (
            "login_failed",
            "warning",
            "password refused for root from 10.62.9.31",
        ),
        (
            "sudo",
            "notice",
            "zhangsan ran /usr/bin/systemctl restart nginx as root",
        ),
        (
            "usb_added",
            "warning",
            "USB storage device Kingston DataTraveler attached",
        ),
        (
            "listening_port_opened",
            "notice",
            "tcp port 8080 is listened on by uid 1000",
        ),
        (
            "agent_tampered",
            "critical",
            "/etc/xiezhi/agent.yaml was changed outside of a package",
        ),
    ];
    let (kind, severity, message) = kinds[(chance(number * 3) * 6.0) as usize % 6];
    let host = host(number % 4 + (number % 90) * 10, now);
    let time = now - 60_000 - number as i64 * 1_700_000;
    json!({"id": 5000 - number, "host": {"id": host["id"], "hostname": host["hostname"], "simulated": host["simulated"]},
        "site": host["site"], "time_ms": time, "received_ms": time + if number % 11 == 5 { 7_200_000 } else { 900 }, "kind": kind,
        "severity": severity, "message": message, "fields": {"user": "root", "source_address": "10.62.4.7", "service": "sshd"}})
}

/// Columns over one range, with a hole in the middle.
fn series(query: &[(String, String)], now: i64) -> Value {
    let number = |name: &str, other: i64| {
        query
            .iter()
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(other)
    };
    let (from, to) = (number("from", now - 3_600_000), number("to", now));
    let points = 240;
    let step = (to - from) / points;
    let times: Vec<i64> = (0..points)
        .map(|point| (from + point * step) / 1000)
        .collect();
    let line = |name: &str, labels: Value, base: f64, swing: f64, seed: usize| {
        let values: Vec<Value> = (0..points as usize)
            .map(|point| {
                if (120..128).contains(&point) {
                    return Value::Null;
                }
                let wave = ((point as f64) / 23.0 + seed as f64).sin() * 0.5 + 0.5;
                json!((base + swing * (wave * 0.7 + chance(point * 31 + seed) * 0.3)).max(0.0))
            })
            .collect();
        json!({"name": name, "labels": labels, "values": values})
    };
    let gigabyte = 1_073_741_824.0;
    let modes = [
        ("idle", 6.4, 0.2),
        ("user", 0.9, 0.8),
        ("system", 0.3, 0.3),
        ("iowait", 0.05, 0.2),
        ("softirq", 0.02, 0.03),
    ];
    let mut all: Vec<Value> = modes
        .iter()
        .enumerate()
        .map(|(seed, (mode, base, swing))| {
            line(
                "node_cpu_seconds_total",
                json!({"mode": mode}),
                *base,
                *swing,
                seed,
            )
        })
        .collect();
    all.push(line(
        "node_memory_MemTotal_bytes",
        json!({}),
        16.0 * gigabyte,
        0.0,
        1,
    ));
    all.push(line(
        "node_memory_MemAvailable_bytes",
        json!({}),
        8.0 * gigabyte,
        gigabyte,
        2,
    ));
    all.push(line(
        "node_memory_MemFree_bytes",
        json!({}),
        2.0 * gigabyte,
        gigabyte,
        2,
    ));
    for (seed, device) in ["eth0", "eth1", "lo"].into_iter().enumerate() {
        all.push(line(
            "node_network_receive_bytes_total",
            json!({"device": device}),
            40_000.0,
            900_000.0 / (seed + 1) as f64,
            seed + 4,
        ));
        all.push(line(
            "node_network_transmit_bytes_total",
            json!({"device": device}),
            20_000.0,
            300_000.0,
            seed + 8,
        ));
    }
    all.push(line(
        "node_disk_read_bytes_total",
        json!({"device": "sda"}),
        0.0,
        90_000.0,
        3,
    ));
    all.push(line(
        "node_disk_written_bytes_total",
        json!({"device": "sda"}),
        20_000.0,
        400_000.0,
        6,
    ));
    for (name, base) in [
        ("node_load1", 0.4),
        ("node_load5", 0.6),
        ("node_load15", 0.7),
    ] {
        all.push(line(name, json!({}), base, 0.8, name.len()));
    }
    for (mount, size, free) in [
        ("/", 80.0, 31.0),
        ("/var", 200.0, 14.0),
        ("/boot", 1.0, 0.7),
    ] {
        let labels = json!({"device": "/dev/sda2", "fstype": "ext4", "mountpoint": mount});
        all.push(line(
            "node_filesystem_size_bytes",
            labels.clone(),
            size * gigabyte,
            0.0,
            1,
        ));
        all.push(line(
            "node_filesystem_avail_bytes",
            labels,
            free * gigabyte,
            0.0,
            1,
        ));
    }
    json!({"from_ms": from, "to_ms": to, "step_ms": step, "times": times, "series": all})
}

fn facts() -> Value {
    json!({"hostname": "fy-srv-01", "os": {"id": "kylin", "version": "V10", "name": "Kylin Linux Advanced Server V10 (Lance)"},
        "kernel": "4.19.90-89.11.v2401.ky10.x86_64", "architecture": "x86_64", "cpu_model": "Hygon C86 7285 32-core Processor",
        "cpu_count": 64, "memory_bytes": 274_877_906_944_u64, "virtualisation": "none",
        "machine": {"vendor": "Sugon", "model": "R6240H0", "serial": "6101A2300911"},
        "disks": [{"name": "sda", "model": "SAMSUNG MZ7LH960", "serial": "S45NNA0M", "size_bytes": 960_197_124_096_u64, "rotational": false, "removable": false}],
        "interfaces": [{"name": "eth0", "mac": "ac:1f:6b:00:12:34", "addresses": ["10.62.4.7/24", "fe80::ae1f:6bff:fe00:1234/64"], "speed_mbit": 1000, "state": "up", "driver": "igb"}],
        "packages": {"manager": "rpm", "count": 1187, "digest": "aa"}, "listening": [{"protocol": "tcp", "address": "0.0.0.0", "port": 22, "uid": 0}],
        "boot_time_s": 1_760_000_000, "timezone": "Asia/Shanghai", "unreadable": ["/sys/class/dmi/id/product_serial: permission denied"]})
}

fn overview(now: i64) -> Value {
    let hosts = all_hosts(now);
    let mut attention: Vec<&Value> = hosts
        .iter()
        .filter(|host| host["presence"] != "up")
        .collect();
    attention.sort_by_key(|host| {
        STATES
            .iter()
            .position(|state| host["presence"] == *state)
            .map(|p| [3, 2, 0, 1][p])
    });
    attention.truncate(8);
    json!({"now_ms": now, "counts": counts(), "simulated": hosts.len() - 1, "conflicts": 1, "pending_approvals": 2,
        "sites": {"total": courts().len(), "with_hosts": courts().len() - 3},
        "events_24h": {"total": 214, "critical": 2, "warning": 31, "notice": 80, "info": 101},
        "gaps_24h": {"gaps": 3, "batches": 42},
        "organisation": (0..courts().len()).map(site).collect::<Vec<_>>(), "attention": attention,
        "recent_events": (0..7).map(|n| event(n, now)).collect::<Vec<_>>()})
}

fn path_of(court: &str, with_self: bool) -> Vec<Value> {
    let all = courts();
    (0..all.len())
        .filter(|&index| court.starts_with(all[index][0]) && (with_self || court != all[index][0]))
        .map(|index| json!({"id": index + 1, "name": all[index][1]}))
        .collect()
}

pub(crate) fn answer(path: &str, query: &[(String, String)], now: i64) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let index = parts
        .get(1)
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(1)
        - 1;
    Some(match (parts.first().copied()?, parts.get(2).copied()) {
        ("me" | "login" | "logout", _) => {
            json!({"user": {"name": "admin", "role": "administrator"}, "version": "0.1.0", "now_ms": now})
        }
        ("overview", _) => overview(now),
        ("sites", None) if parts.len() == 1 => {
            json!({"items": (0..courts().len()).map(site).collect::<Vec<_>>(), "next": null, "total": courts().len()})
        }
        ("sites", _) => {
            let key = courts().get(index)?[0];
            let children = (0..courts().len())
                .filter(|&other| courts()[other][3] == key)
                .map(site);
            json!({"site": site(index), "path": path_of(key, false), "children": children.collect::<Vec<_>>()})
        }
        ("hosts", None) if parts.len() == 1 => {
            let one = query
                .iter()
                .find(|(key, _)| key == "site")
                .map(|(_, value)| value.parse::<i64>().unwrap_or(0));
            let items: Vec<Value> = all_hosts(now)
                .into_iter()
                .filter(|host| one.is_none_or(|one| host["site"]["id"] == one))
                .collect();
            let total = items.len();
            json!({"items": items.into_iter().take(100).collect::<Vec<_>>(), "next": (total > 100).then_some("x"), "total": total,
                "counts": counts(), "simulated": total - 1, "versions": [{"version": "0.2.0", "hosts": 350}, {"version": "0.1.0", "hosts": 40}]})
        }
        ("hosts", None) => {
            json!({"host": host(index, now), "record": {"enrolled_ms": now - 900_000_000, "epoch": 1, "policy_root": "", "machine": "9f0c1d".repeat(10), "evidence_key": "ab12".repeat(16)}, "path": path_of(courts().get(index / 10)?[0], true)})
        }
        ("hosts", Some("series")) => series(query, now),
        ("hosts", Some("facts")) => json!({"facts": facts(), "received_ms": now - 500_000}),
        ("hosts", Some(_)) => json!({"outcome": "done", "detail": ""}),
        ("events", _) => {
            json!({"items": (0..40).map(|n| event(n, now)).collect::<Vec<_>>(), "next": "1_1",
            "gaps": [{"host": {"id": 31, "hostname": "pad-gw-01", "simulated": true}, "epoch": 1, "stream": "security", "first": 40, "last": 52,
                "from_ms": now - 9_000_000, "to_ms": now - 6_000_000, "reason": "full"}]})
        }
        ("tokens", _) if query.is_empty() && parts.len() == 1 => {
            json!({"token": "xz1-abcdefg", "id": "9f00aa1122334455", "expires_ms": now + 600_000_000,
            "commands": ["printf %s xz1-abcdefg | xiezhi-agent enrol --controller https://controller:7443 --token -"],
            "items": [{"id": "9f00aa1122334455", "site": {"id": 3, "name": "嘉峪关市中级人民法院"}, "uses": 5, "uses_left": 3, "expires_ms": now + 600_000_000,
                "approval": true, "simulated": false, "created_ms": now, "created_by": "user:admin", "revoked_ms": null, "state": "active"}]})
        }
        ("approvals", _) => {
            json!({"items": [{"id": 1, "hostname": "kjft-03", "site": {"id": 3, "name": "嘉峪关市中级人民法院"}, "version": "0.2.0",
            "requested_ms": now - 300_000, "machine": "9f0c1d".repeat(10), "evidence_key": "ab12".repeat(16), "token": "9f00", "state": "pending"}]})
        }
        ("audit", _) if parts.get(1) == Some(&"chain") => {
            json!({"state": "intact", "position": 42, "hash": "c0ffee12".repeat(8)})
        }
        ("audit", _) => {
            json!({"items": (0..42).rev().map(|n| json!({"position": n + 1, "time_ms": now - (42 - n) * 300_000, "actor": if n % 3 == 0 { "user:admin" } else { "host:31" },
            "action": ACTIONS[n as usize % 3], "subject": "host:31",
            "detail": {"address": "10.62.4.7", "site": "嘉峪关市中级人民法院"}, "hash": "c0ffee12".repeat(8)})).collect::<Vec<_>>(), "next": null})
        }
        _ => return None,
    })
}
