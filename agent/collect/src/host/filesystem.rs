//! Size and free space of each file system.
//!
//! Source: the mount table of this process (`mountinfo`, proc_pid_mountinfo(5)) and statfs(2).
//! Mount points and types are left out as node_exporter's defaults do. Network file systems are
//! left out too: statfs on one whose server is gone blocks for ever and would hang the agent; the
//! server's own agent watches them.
//!
//! The agent's service has a mount namespace of its own in which everything is mounted read-only
//! and some folders are mounted onto themselves. The host must not look like that: whether a file
//! system is read-only is taken from its superblock, never from the mount, and a folder mounted
//! onto itself is no file system. The price: a mount that only the host's administrator made
//! read-only, of a file system that is writable elsewhere, counts as writable.

use std::collections::BTreeSet;

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

const MOUNT_INFO: &str = "self/mountinfo";

#[derive(Default)]
pub(super) struct Filesystem {
    mounts: Vec<Mount>,
}

#[derive(Debug)]
struct Mount {
    device: String,
    mount_point: String,
    kind: String,
    /// Of the superblock; `None` where only statfs can tell, because there is no `mountinfo`.
    read_only: Option<bool>,
}

/// Where a file system's folder is mounted: `major:minor`, the folder, the mount point, as the
/// kernel writes them.
type Place<'a> = (&'a [u8], &'a [u8], &'a [u8]);

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
        if files.read(Base::Proc, MOUNT_INFO).is_ok() {
            let text = files.read(Base::Proc, MOUNT_INFO)?;
            let places: BTreeSet<Place<'_>> = lines(text).filter_map(place).collect();
            let wanted = lines(text)
                .filter(|line| !place(line).is_some_and(|place| is_onto_itself(place, &places)));
            self.keep(wanted.map(parse_info), problems);
        } else {
            let text = files.read(Base::Proc, "mounts")?;
            self.keep(lines(text).map(parse_mounts), problems);
        }
        Ok(())
    }

    fn keep(&mut self, found: impl Iterator<Item = Option<Mount>>, problems: &mut Problems) {
        for mount in found {
            let Some(mount) = mount else {
                problems.malformed("mounts", "a line does not have the form of proc(5)");
                continue;
            };
            if is_excluded(&mount) {
                continue;
            }
            if let Some(below) = self.mounts.iter_mut().find(|known| known.is_same(&mount)) {
                // The later of two mounts at one place hides the other.
                below.read_only = mount.read_only;
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
    }
}

impl Mount {
    /// Whether both would be reported under the same labels.
    fn is_same(&self, other: &Self) -> bool {
        self.mount_point == other.mount_point
            && self.device == other.device
            && self.kind == other.kind
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
    let is_read_only = mount.read_only.unwrap_or(space.read_only);
    let read_only = if is_read_only { 1.0 } else { 0.0 };
    samples.put("node_filesystem_readonly", &labels, read_only);
}

/// `36 35 98:0 /folder /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue`, with any
/// number of fields before the `-`.
fn parse_info(line: &[u8]) -> Option<Mount> {
    let (_, _, mount_point) = place(line)?;
    // Single blanks: a mount source may be empty.
    let mut fields = line.split(|byte| *byte == b' ').skip(6);
    fields.find(|field| field == b"-")?;
    let (kind, device, options) = (fields.next()?, fields.next()?, fields.next()?);
    let mut options = options.split(|byte| *byte == b',');
    Some(Mount {
        device: unescape(device),
        mount_point: unescape(mount_point),
        kind: unescape(kind),
        read_only: Some(options.any(|option| option == b"ro")),
    })
}

fn place(line: &[u8]) -> Option<Place<'_>> {
    let mut fields = line.split(|byte| *byte == b' ').skip(2);
    Some((fields.next()?, fields.next()?, fields.next()?))
}

/// Whether some mount above shows the same folder at the same place already.
fn is_onto_itself(
    (device, mut folder, mut point): Place<'_>,
    places: &BTreeSet<Place<'_>>,
) -> bool {
    while let (Some((folder_above, name)), Some((point_above, point_name))) =
        (split_last(folder), split_last(point))
    {
        if name != point_name {
            return false;
        }
        if places.contains(&(device, folder_above, point_above)) {
            return true;
        }
        (folder, point) = (folder_above, point_above);
    }
    false
}

/// The path above and the last name; `None` for `/`.
fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    let name = path.get(at + 1..).filter(|name| !name.is_empty())?;
    let above = if at == 0 { b"/" } else { path.get(..at)? };
    Some((above, name))
}

/// `/dev/sda1 /mnt ext4 rw,noatime 0 0`
fn parse_mounts(line: &[u8]) -> Option<Mount> {
    let mut fields = words(line);
    let mut next = || Some(unescape(fields.next()?));
    Some(Mount {
        device: next()?,
        mount_point: next()?,
        kind: next()?,
        read_only: None,
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
        parse_mounts(line.as_bytes()).unwrap()
    }

    /// The mount points that are left of a table, each with whether it is read-only.
    fn kept(table: &str) -> Vec<(String, Option<bool>)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("proc/self")).unwrap();
        std::fs::write(folder.path().join("proc/self/mountinfo"), table).unwrap();
        let mut files = Files::open(&HostRoot::at(folder.path()));
        let (mut filesystem, mut problems) = (Filesystem::default(), Problems::new());
        filesystem.read_mounts(&mut files, &mut problems).unwrap();
        problems.finish().unwrap();
        let mounts = filesystem.mounts.into_iter();
        mounts
            .map(|mount| (mount.mount_point, mount.read_only))
            .collect()
    }

    #[test]
    fn read_only_is_the_superblock_not_the_mount() {
        let table = "1 0 8:1 / / ro - ext4 /dev/a rw,errors=remount-ro\n\
                     2 1 8:2 / /srv rw shared:1 master:2 - ext4 /dev/b ro\n";
        let expected = [("/".into(), Some(false)), ("/srv".into(), Some(true))];
        assert_eq!(kept(table), expected);
    }

    #[test]
    fn only_folders_mounted_onto_themselves_are_left_out() {
        let points = |table: &str| -> Vec<String> {
            kept(table).into_iter().map(|(point, _)| point).collect()
        };
        let root = "1 0 8:1 / / rw - ext4 /dev/a rw\n";
        let with = |line: &str| points(&format!("{root}{line} rw - ext4 /dev/a rw\n"));
        assert_eq!(with("2 1 8:1 /home /home"), ["/"]);
        assert_eq!(with("2 1 8:1 /var/lib/x /var/lib/x"), ["/"]);
        assert_eq!(with("2 1 8:1 /data/home /home"), ["/", "/home"]);
        assert_eq!(with("2 1 8:2 /home /home"), ["/", "/home"]);
        assert_eq!(with("2 1 8:2 / /home"), ["/", "/home"]);
        // A file system of its own, a folder of it mounted onto itself, and one mounted elsewhere.
        let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /srv rw - xfs /dev/b rw\n\
                     3 2 8:2 /a/b /srv/a/b rw - xfs /dev/b rw\n4 1 8:2 /a /a rw - xfs /dev/b rw\n";
        assert_eq!(points(table), ["/", "/srv", "/a"]);
        // The root may itself be a folder: a btrfs subvolume.
        let table = "1 0 0:30 /@ / rw - btrfs /dev/a rw\n2 1 0:30 /@/home /home rw - btrfs /dev/a rw\n\
                     3 1 0:30 /@srv /srv rw - btrfs /dev/a rw\n";
        assert_eq!(points(table), ["/", "/srv"]);
    }

    #[test]
    fn of_two_mounts_at_one_place_the_later_one_counts() {
        let table = "1 0 0:9 / /tmp rw - tmpfs tmpfs rw\n2 1 0:10 / /tmp rw - tmpfs tmpfs ro\n";
        assert_eq!(kept(table), [("/tmp".into(), Some(true))]);
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
