//! Size and free space of each file system.
//!
//! Source: the mount table of process 1 (or of this process where that is hidden) and statfs(2).
//! Mount points and types are left out as node_exporter's defaults do. Network file systems are
//! left out too: statfs on one whose server is gone blocks for ever and would hang the agent; the
//! server's own agent watches them.

use super::{Cadence, Collector};
use crate::bytes::{lines, words};
use crate::error::{CollectError, Problems};
use crate::files::{Base, Files};
use crate::kernel;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

/// Most file systems that are reported. Container hosts that mount thousands exclude them by type.
const MAX_FILE_SYSTEMS: usize = 256;

/// node_exporter's default exclusion, `^/(…)($|/)`.
const EXCLUDED_MOUNT_POINTS: [&str; 6] = ["/dev", "/proc", "/run", "/sys", "/mnt", "/media"];
/// Excluded with whatever is below, but not themselves.
const EXCLUDED_BELOW: [&str; 2] = ["/var/lib/docker/", "/var/lib/containers/storage/"];

/// node_exporter's default exclusion.
const EXCLUDED_TYPES: [&str; 24] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// File systems whose server may be gone.
const NETWORK_TYPES: [&str; 16] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "ceph",
    "9p",
    "lustre",
    "gpfs",
    "beegfs",
    "glusterfs",
    "coda",
    "orangefs",
    "fuse",
];

#[derive(Default)]
pub(super) struct Filesystem {
    mounts: Vec<Mount>,
}

#[derive(PartialEq, Eq)]
struct Mount {
    device: String,
    mount_point: String,
    kind: String,
}

impl Collector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, host: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        self.read_mounts(out.files, &mut problems)?;
        for mount in &self.mounts {
            report(
                mount,
                kernel::space(host, out.files, &mount.mount_point),
                &mut out.samples,
            );
        }
        problems.finish()
    }
}

impl Filesystem {
    fn read_mounts(
        &mut self,
        files: &mut Files,
        problems: &mut Problems,
    ) -> Result<(), CollectError> {
        self.mounts.clear();
        let path = if files.read(Base::Proc, "1/mounts").is_ok() {
            "1/mounts"
        } else {
            "mounts"
        };
        for line in lines(files.read(Base::Proc, path)?) {
            let Some(mount) = parse(line) else {
                problems.malformed("mounts", "a line is not `device mountpoint type …`");
                continue;
            };
            if is_excluded(&mount) || self.mounts.contains(&mount) {
                continue;
            }
            if self.mounts.len() >= MAX_FILE_SYSTEMS {
                let limit = MAX_FILE_SYSTEMS;
                problems.add(CollectError::TooMany {
                    what: "file systems",
                    limit,
                });
                break;
            }
            self.mounts.push(mount);
        }
        Ok(())
    }
}

fn report(mount: &Mount, space: Result<kernel::Space, CollectError>, samples: &mut Samples<'_>) {
    let labels = [
        ("device", mount.device.as_str()),
        ("fstype", &mount.kind),
        ("mountpoint", &mount.mount_point),
    ];
    let failed = if space.is_err() { 1.0 } else { 0.0 };
    samples.put("node_filesystem_device_error", &labels, failed);
    let Ok(space) = space else { return };
    let bytes = |blocks: u64| blocks as f64 * space.block_bytes as f64;
    samples.put("node_filesystem_size_bytes", &labels, bytes(space.blocks));
    samples.put("node_filesystem_free_bytes", &labels, bytes(space.free));
    samples.put(
        "node_filesystem_avail_bytes",
        &labels,
        bytes(space.available),
    );
    samples.put("node_filesystem_files", &labels, space.files as f64);
    samples.put(
        "node_filesystem_files_free",
        &labels,
        space.files_free as f64,
    );
    let read_only = if space.read_only { 1.0 } else { 0.0 };
    samples.put("node_filesystem_readonly", &labels, read_only);
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = words(line);
    let mut next = || Some(unescape(fields.next()?));
    Some(Mount {
        device: next()?,
        mount_point: next()?,
        kind: next()?,
    })
}

/// Undoes the `\040` form in which the kernel writes blanks (fstab(5)).
fn unescape(word: &[u8]) -> String {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = if *first == b'\\' {
            after.get(..3).and_then(octal)
        } else {
            None
        };
        plain.push(octal.unwrap_or(*first));
        rest = if octal.is_some() {
            after.get(3..).unwrap_or_default()
        } else {
            after
        };
    }
    String::from_utf8(plain)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

fn is_excluded(mount: &Mount) -> bool {
    let point = mount.mount_point.as_str();
    let is_below = |folder: &str| {
        point
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    EXCLUDED_MOUNT_POINTS.iter().any(|folder| is_below(folder))
        || EXCLUDED_BELOW
            .iter()
            .any(|folder| point.len() > folder.len() && point.starts_with(folder))
        || EXCLUDED_TYPES.contains(&mount.kind.as_str())
        || NETWORK_TYPES.contains(&mount.kind.as_str())
        || mount.kind.starts_with("fuse.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(line: &str) -> Mount {
        parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn blanks_in_mount_points_are_decoded() {
        assert_eq!(
            mount("/dev/sdb1 /srv/case\\040files\\134x ext4 rw 0 0").mount_point,
            "/srv/case files\\x"
        );
        assert_eq!(
            mount("/dev/sdb1 /srv/\\9 ext4 rw 0 0").mount_point,
            "/srv/\\9"
        );
    }

    #[test]
    fn network_file_systems_are_never_asked() {
        for kind in ["nfs", "nfs4", "cifs", "fuse.sshfs", "ceph", "9p"] {
            assert!(
                is_excluded(&mount(&format!("server:/x /data {kind} rw 0 0"))),
                "{kind}"
            );
        }
    }

    #[test]
    fn exclusions_end_at_a_folder_boundary() {
        for point in [
            "/dev/shm",
            "/proc",
            "/run/user/0",
            "/mnt/a",
            "/var/lib/docker/x",
        ] {
            assert!(
                is_excluded(&mount(&format!("d {point} ext4 rw 0 0"))),
                "{point}"
            );
        }
        for point in ["/", "/development", "/runner", "/var/lib/docker", "/home"] {
            assert!(
                !is_excluded(&mount(&format!("d {point} ext4 rw 0 0"))),
                "{point}"
            );
        }
    }
}
