//! What is released: one entry per binary. A file to ship is one line here.

/// A binary and all that is installed with it.
pub(super) struct Product {
    /// Name of the package, the binary and the service.
    pub(super) name: &'static str,
    /// Cargo package that builds it.
    pub(super) cargo_package: &'static str,
    /// Programs that are installed beside it: their cargo packages and names.
    pub(super) beside: &'static [(&'static str, &'static str)],
    /// Cargo profile that it is released with.
    pub(super) profile: &'static str,
    /// Folder with the other files.
    pub(super) folder: &'static str,
    /// One line.
    pub(super) summary: &'static str,
    /// A paragraph.
    pub(super) description: &'static str,
    /// Files from the folder, besides the scripts.
    pub(super) files: &'static [File],
}

impl Product {
    /// Cargo package and name of each of its programs, its own first.
    pub(super) fn programs(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        std::iter::once((self.cargo_package, self.name)).chain(self.beside.iter().copied())
    }
}

/// A file that is installed.
pub(super) struct File {
    /// Its name in the product's folder.
    pub(super) source: &'static str,
    /// Where it goes, without the leading slash.
    pub(super) target: &'static str,
    /// Whether people change it, so that an upgrade must not.
    pub(super) configuration: bool,
}

/// Scripts that each product's folder has: after installation, before and after removal.
pub(super) const SCRIPTS: [&str; 3] = ["postinstall.sh", "preremove.sh", "postremove.sh"];

const fn file(source: &'static str, target: &'static str) -> File {
    File {
        source,
        target,
        configuration: false,
    }
}

const fn configuration(source: &'static str, target: &'static str) -> File {
    File {
        source,
        target,
        configuration: true,
    }
}

pub(super) const PRODUCTS: &[Product] = &[
    Product {
        name: "xiezhi-agent",
        cargo_package: "xiezhi-agentd",
        beside: &[("xiezhi-devicesd", "xiezhi-devices")],
        profile: "dist-agent",
        folder: "agent/agentd/packaging",
        summary: "reports a host's health and security events to the Xiezhi controller",
        description: "The agent collects metrics under node_exporter's names and security events, keeps them in a \
                      bounded spool while the line is cut, and sends them over mutual TLS 1.3.",
        files: &[
            configuration("agent.yaml", "etc/xiezhi/agent.yaml"),
            file(
                "xiezhi-agent.service",
                "usr/lib/systemd/system/xiezhi-agent.service",
            ),
            file("sysusers.conf", "usr/lib/sysusers.d/xiezhi-agent.conf"),
            file("tmpfiles.conf", "usr/lib/tmpfiles.d/xiezhi-agent.conf"),
        ],
    },
    Product {
        name: "xiezhi-controller",
        cargo_package: "xiezhi-controllerd",
        beside: &[],
        profile: "dist",
        folder: "controller/controllerd/packaging",
        summary: "takes in what Xiezhi agents report, keeps it and shows it",
        description: "The controller enrols hosts with its own certificate authority, stores samples and security \
                      events exactly once, and serves the screens.",
        files: &[
            configuration("controller.yaml", "etc/xiezhi/controller.yaml"),
            file(
                "xiezhi-controller.service",
                "usr/lib/systemd/system/xiezhi-controller.service",
            ),
            file("sysusers.conf", "usr/lib/sysusers.d/xiezhi-controller.conf"),
            file("tmpfiles.conf", "usr/lib/tmpfiles.d/xiezhi-controller.conf"),
        ],
    },
];
