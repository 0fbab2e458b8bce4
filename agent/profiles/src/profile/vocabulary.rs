//! The words of profiles: kinds of devices, units, and names of values that all vendors share.

use super::Text;

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A switch.
    Switch,
    /// A router.
    Router,
    /// A firewall or another gateway.
    Firewall,
    /// A wireless access point or its controller.
    Wireless,
    /// An uninterruptible power supply.
    Ups,
    /// A power distribution unit.
    Pdu,
    /// A printer or copier.
    Printer,
    /// A camera.
    Camera,
    /// A video recorder.
    Recorder,
    /// A monitor of temperature, humidity, smoke, water.
    Environment,
    /// A server, by its operating system or its management controller.
    Server,
    /// A storage array or network storage.
    Storage,
    /// A video-conference terminal.
    Terminal,
    /// A video-conference bridge.
    Mcu,
    /// A projector, matrix or another courtroom box.
    Av,
    /// Anything else.
    Other,
}

/// The kinds by the words of profiles, with what people call them.
pub const KINDS: &[(&str, Kind, &str, &str)] = &[
    ("switch", Kind::Switch, "交换机", "switch"),
    ("router", Kind::Router, "路由器", "router"),
    ("firewall", Kind::Firewall, "防火墙", "firewall"),
    ("wireless", Kind::Wireless, "无线设备", "wireless"),
    ("ups", Kind::Ups, "UPS 电源", "UPS"),
    ("pdu", Kind::Pdu, "配电单元", "PDU"),
    ("printer", Kind::Printer, "打印机", "printer"),
    ("camera", Kind::Camera, "摄像机", "camera"),
    ("recorder", Kind::Recorder, "录像机", "video recorder"),
    (
        "environment",
        Kind::Environment,
        "环境监控",
        "environment monitor",
    ),
    ("server", Kind::Server, "服务器", "server"),
    ("storage", Kind::Storage, "存储", "storage"),
    (
        "terminal",
        Kind::Terminal,
        "视频会议终端",
        "video-conference terminal",
    ),
    ("mcu", Kind::Mcu, "视频会议 MCU", "video-conference bridge"),
    ("av", Kind::Av, "音视频设备", "audio-video device"),
    ("other", Kind::Other, "其他设备", "other device"),
];

impl Kind {
    /// The word of profiles and of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.entry().0
    }

    /// What people call it.
    #[must_use]
    pub fn label(self) -> Text {
        let (_, _, zh, en) = self.entry();
        Text {
            zh: zh.to_owned(),
            en: en.to_owned(),
        }
    }

    fn entry(self) -> (&'static str, Self, &'static str, &'static str) {
        const OTHER: (&str, Kind, &str, &str) = ("other", Kind::Other, "其他设备", "other device");
        let found = KINDS.iter().find(|(_, kind, _, _)| *kind == self);
        found.copied().unwrap_or(OTHER)
    }
}

/// What a value is counted in: base units, as Prometheus asks for them, wherever there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A plain number.
    None,
    /// Hundredths.
    Percent,
    /// Degrees Celsius.
    Celsius,
    /// Volts.
    Volts,
    /// Amperes.
    Amperes,
    /// Watts.
    Watts,
    /// Volt-amperes.
    VoltAmperes,
    /// Kilowatt hours.
    KilowattHours,
    /// Hertz.
    Hertz,
    /// Turns a minute.
    Rpm,
    /// Bytes.
    Bytes,
    /// Bits a second.
    BitsPerSecond,
    /// Seconds.
    Seconds,
    /// Decibels over a milliwatt.
    Dbm,
    /// Printed pages.
    Pages,
}

/// The units by the words of profiles, with the sign that people read.
pub const UNITS: &[(&str, Unit, &str)] = &[
    ("none", Unit::None, ""),
    ("percent", Unit::Percent, "%"),
    ("celsius", Unit::Celsius, "°C"),
    ("volts", Unit::Volts, "V"),
    ("amperes", Unit::Amperes, "A"),
    ("watts", Unit::Watts, "W"),
    ("volt_amperes", Unit::VoltAmperes, "VA"),
    ("kilowatt_hours", Unit::KilowattHours, "kWh"),
    ("hertz", Unit::Hertz, "Hz"),
    ("rpm", Unit::Rpm, "rpm"),
    ("bytes", Unit::Bytes, "B"),
    ("bits_per_second", Unit::BitsPerSecond, "bit/s"),
    ("seconds", Unit::Seconds, "s"),
    ("dbm", Unit::Dbm, "dBm"),
    ("pages", Unit::Pages, "页"),
];

impl Unit {
    /// The word of profiles and of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.entry().0
    }

    /// The sign behind a number.
    #[must_use]
    pub fn sign(self) -> &'static str {
        self.entry().2
    }

    fn entry(self) -> (&'static str, Self, &'static str) {
        let found = UNITS.iter().find(|(_, unit, _)| *unit == self);
        found.copied().unwrap_or(("none", Self::None, ""))
    }
}

/// A value that devices of many vendors have: one word, one unit, one name for people.
pub(crate) struct Known {
    pub(crate) id: &'static str,
    pub(crate) unit: Unit,
    pub(crate) zh: &'static str,
    pub(crate) en: &'static str,
}

const fn known(id: &'static str, unit: Unit, zh: &'static str, en: &'static str) -> Known {
    Known { id, unit, zh, en }
}

/// Values that profiles need not name again. A profile may have others, with a label and a unit.
pub(crate) const KNOWN: &[Known] = &[
    known("uptime", Unit::Seconds, "运行时间", "Uptime"),
    known("cpu_usage", Unit::Percent, "CPU 使用率", "CPU use"),
    known("memory_usage", Unit::Percent, "内存使用率", "Memory use"),
    known("memory_total", Unit::Bytes, "内存总量", "Memory"),
    known("memory_used", Unit::Bytes, "已用内存", "Memory in use"),
    known("memory_free", Unit::Bytes, "空闲内存", "Free memory"),
    known(
        "memory_state",
        Unit::None,
        "内存条状态",
        "Memory module state",
    ),
    known("cpu_state", Unit::None, "处理器状态", "Processor state"),
    known("storage_usage", Unit::Percent, "存储使用率", "Storage use"),
    known("storage_total", Unit::Bytes, "存储容量", "Storage size"),
    known("storage_used", Unit::Bytes, "已用存储", "Storage in use"),
    known("storage_free", Unit::Bytes, "剩余存储", "Free storage"),
    known("temperature", Unit::Celsius, "温度", "Temperature"),
    known("humidity", Unit::Percent, "湿度", "Humidity"),
    known("voltage", Unit::Volts, "电压", "Voltage"),
    known("current", Unit::Amperes, "电流", "Current"),
    known("power", Unit::Watts, "功率", "Power"),
    known("energy", Unit::KilowattHours, "电量", "Energy"),
    known("frequency", Unit::Hertz, "频率", "Frequency"),
    known("fan_speed", Unit::Rpm, "风扇转速", "Fan speed"),
    known(
        "fan_speed_percent",
        Unit::Percent,
        "风扇转速比例",
        "Fan speed share",
    ),
    known("fan_state", Unit::None, "风扇状态", "Fan state"),
    known(
        "power_supply_state",
        Unit::None,
        "电源状态",
        "Power supply state",
    ),
    known(
        "temperature_state",
        Unit::None,
        "温度状态",
        "Temperature state",
    ),
    known("sensor_state", Unit::None, "传感器状态", "Sensor state"),
    known("health", Unit::None, "整机健康状态", "Overall health"),
    known("alarms", Unit::None, "当前告警数", "Active alarms"),
    known("component_state", Unit::None, "部件状态", "Component state"),
    known(
        "battery_charge",
        Unit::Percent,
        "电池电量",
        "Battery charge",
    ),
    known(
        "battery_runtime",
        Unit::Seconds,
        "电池可用时间",
        "Battery runtime",
    ),
    known(
        "battery_voltage",
        Unit::Volts,
        "电池电压",
        "Battery voltage",
    ),
    known(
        "battery_temperature",
        Unit::Celsius,
        "电池温度",
        "Battery temperature",
    ),
    known(
        "battery_current",
        Unit::Amperes,
        "电池电流",
        "Battery current",
    ),
    known("battery_state", Unit::None, "电池状态", "Battery state"),
    known(
        "battery_replace",
        Unit::None,
        "电池更换提示",
        "Battery replacement",
    ),
    known(
        "on_battery_time",
        Unit::Seconds,
        "电池供电时长",
        "Time on battery",
    ),
    known("input_voltage", Unit::Volts, "输入电压", "Input voltage"),
    known("input_current", Unit::Amperes, "输入电流", "Input current"),
    known(
        "input_frequency",
        Unit::Hertz,
        "输入频率",
        "Input frequency",
    ),
    known("output_voltage", Unit::Volts, "输出电压", "Output voltage"),
    known(
        "output_current",
        Unit::Amperes,
        "输出电流",
        "Output current",
    ),
    known(
        "output_frequency",
        Unit::Hertz,
        "输出频率",
        "Output frequency",
    ),
    known("output_power", Unit::Watts, "输出功率", "Output power"),
    known("output_load", Unit::Percent, "输出负载", "Output load"),
    known("load_state", Unit::None, "负载状态", "Load state"),
    known("output_source", Unit::None, "供电方式", "Output source"),
    known("ups_state", Unit::None, "UPS 状态", "UPS state"),
    known("supply_level", Unit::Percent, "耗材余量", "Supply level"),
    known("tray_level", Unit::Percent, "纸盒余量", "Tray level"),
    known("pages", Unit::Pages, "打印页数", "Pages printed"),
    known("printer_state", Unit::None, "打印机状态", "Printer state"),
    known("cover_state", Unit::None, "盖板状态", "Cover state"),
    known("disk_state", Unit::None, "硬盘状态", "Disk state"),
    known("smart_state", Unit::None, "硬盘健康自检", "Disk self-test"),
    known(
        "disk_temperature",
        Unit::Celsius,
        "硬盘温度",
        "Disk temperature",
    ),
    known("raid_state", Unit::None, "阵列状态", "Array state"),
    known("pool_state", Unit::None, "存储池状态", "Pool state"),
    known("pool_usage", Unit::Percent, "存储池使用率", "Pool use"),
    known("volume_state", Unit::None, "卷状态", "Volume state"),
    known(
        "controller_state",
        Unit::None,
        "控制器状态",
        "Controller state",
    ),
    known(
        "optical_rx_power",
        Unit::Dbm,
        "光模块接收功率",
        "Optical receive power",
    ),
    known(
        "optical_tx_power",
        Unit::Dbm,
        "光模块发送功率",
        "Optical transmit power",
    ),
    known(
        "optical_bias",
        Unit::Amperes,
        "光模块偏置电流",
        "Optical bias current",
    ),
    known("sessions", Unit::None, "会话数", "Sessions"),
    known("clients", Unit::None, "接入终端数", "Clients"),
    known("processes", Unit::None, "进程数", "Processes"),
    known("users", Unit::None, "登录用户数", "Users"),
    known("channel_state", Unit::None, "通道状态", "Channel state"),
    known("recording_state", Unit::None, "录像状态", "Recording state"),
    known("call_state", Unit::None, "会议状态", "Call state"),
    known("calls", Unit::None, "通话数", "Calls"),
    known(
        "registration_state",
        Unit::None,
        "注册状态",
        "Registration state",
    ),
    known("camera_state", Unit::None, "摄像头状态", "Camera state"),
    known(
        "microphone_state",
        Unit::None,
        "麦克风状态",
        "Microphone state",
    ),
    known("packet_loss", Unit::Percent, "丢包率", "Packet loss"),
    known("lamp_time", Unit::Seconds, "灯泡使用时间", "Lamp time"),
    known("lamp_state", Unit::None, "灯泡状态", "Lamp state"),
    known("power_state", Unit::None, "开关机状态", "Power state"),
    known("water", Unit::None, "漏水", "Water"),
    known("smoke", Unit::None, "烟雾", "Smoke"),
    known("door", Unit::None, "门", "Door"),
    known("contact_state", Unit::None, "开关量状态", "Contact state"),
    known("link_state", Unit::None, "链路状态", "Link state"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_for_one_thing() {
        let mut ids: Vec<&str> = KNOWN.iter().map(|known| known.id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for (word, kind, zh, _) in KINDS {
            assert_eq!(kind.word(), *word);
            assert_eq!(kind.label().zh, *zh);
        }
        for (word, unit, sign) in UNITS {
            assert_eq!((unit.word(), unit.sign()), (*word, *sign));
        }
    }
}
