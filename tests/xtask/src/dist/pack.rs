//! Stages a product's files in one tree and makes the three packages of it.
//!
//! All three hold the same tree and the same scripts. Times are those of the last commit, owners are
//! root, so that the same source gives the same packages.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::floor::FLOOR;
use super::product::{Product, SCRIPTS};
use crate::process::{call, output, root, target};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const MAINTAINER: &str = "Xiezhi maintainers <maintainers@xiezhi.internal>";

const INSTALL: &str = r#"#!/bin/sh
# Installs from the tarball, as root. A configuration file that is there already stays; the new one
# is put beside it as FILE.new.
set -eu

cd "$(dirname "$0")/files"
find . -type f | while read -r file; do
    target=/${file#./}
    mode=$(stat -c %a "$file")
    case $target in
        /etc/*) if [ -e "$target" ]; then target=$target.new; fi ;;
    esac
    install -D -m "$mode" "$file" "$target"
done
sh ../postinstall.sh 1
"#;

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Xiezhi

Files: *
Copyright: The Xiezhi authors
License: Apache-2.0
 On Debian systems the text of this licence is in /usr/share/common-licenses/Apache-2.0.
";

/// A product's files as they will lie on a host, below a folder of their own.
pub(super) struct Staged<'a> {
    product: &'a Product,
    folder: PathBuf,
    time_s: String,
}

impl<'a> Staged<'a> {
    /// Copies everything to its place.
    pub(super) fn new(product: &'a Product, programs: &[PathBuf]) -> Result<Self> {
        let folder = target().join("dist-stage").join(product.name);
        if folder.exists() {
            fs::remove_dir_all(&folder).context("clearing the stage")?;
        }
        let log =
            output(
                Command::new("git")
                    .current_dir(root())
                    .args(["log", "-1", "--format=%ct"]),
            );
        // Outside of a checkout there is no commit: then the time does not matter either.
        let time_s = log.map_or_else(|_| "0".to_owned(), |text| text.trim().to_owned());
        let staged = Self {
            product,
            folder,
            time_s,
        };
        for (program, (_, name)) in programs.iter().zip(product.programs()) {
            staged.put(&format!("usr/bin/{name}"), &fs::read(program)?, 0o755)?;
        }
        staged.put(&staged.copyright(), COPYRIGHT.as_bytes(), 0o644)?;
        for file in product.files {
            let mut content = fs::read_to_string(staged.source(file.source))
                .with_context(|| format!("reading {}", file.source))?;
            if file.source == "controller.yaml" {
                content = with_passphrase_file(&content)?;
            }
            staged.put(file.target, content.as_bytes(), 0o644)?;
        }
        Ok(staged)
    }

    /// Every installed path, without the leading slash, sorted.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = vec![self.copyright()];
        let programs = self.product.programs();
        paths.extend(programs.map(|(_, name)| format!("usr/bin/{name}")));
        paths.extend(self.product.files.iter().map(|file| file.target.to_owned()));
        paths.sort();
        paths
    }

    /// `NAME-VERSION-linux-x86_64.tar.gz`, with an `install.sh`.
    pub(super) fn tarball(&self, out: &Path) -> Result<PathBuf> {
        let name = format!("{}-{VERSION}", self.product.name);
        let top = self.folder.join(&name);
        fs::create_dir_all(&top)?;
        copy_tree(&self.files(), &top.join("files"))?;
        write(&top.join("install.sh"), INSTALL.as_bytes(), 0o755)?;
        for script in SCRIPTS {
            write(&top.join(script), &fs::read(self.source(script))?, 0o755)?;
        }
        let path = out.join(format!("{name}-linux-x86_64.tar.gz"));
        let mut tar = Command::new("tar");
        tar.args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--format=gnu",
        ]);
        tar.arg(format!("--mtime=@{}", self.time_s))
            .arg("--use-compress-program=gzip -9n");
        tar.arg("--create")
            .arg("--file")
            .arg(&path)
            .arg("--directory")
            .arg(&self.folder)
            .arg(&name);
        call(&mut tar)?;
        Ok(path)
    }

    /// `NAME_VERSION_amd64.deb`.
    pub(super) fn deb(&self, out: &Path) -> Result<PathBuf> {
        let tree = self.folder.join("deb");
        copy_tree(&self.files(), &tree)?;
        let control = tree.join("DEBIAN");
        write(&control.join("control"), self.control()?.as_bytes(), 0o644)?;
        let configuration = self.product.files.iter().filter(|file| file.configuration);
        let conffiles: String = configuration
            .map(|file| format!("/{}\n", file.target))
            .collect();
        write(&control.join("conffiles"), conffiles.as_bytes(), 0o644)?;
        for (script, name) in SCRIPTS.iter().zip(["postinst", "prerm", "postrm"]) {
            write(&control.join(name), &fs::read(self.source(script))?, 0o755)?;
        }
        let path = out.join(format!("{}_{VERSION}_amd64.deb", self.product.name));
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.env("SOURCE_DATE_EPOCH", &self.time_s);
        // gzip, because the dpkg of the older distributions reads no zstd.
        dpkg.args(["--build", "--root-owner-group", "-Zgzip"])
            .arg(&tree)
            .arg(&path);
        call(&mut dpkg)?;
        Ok(path)
    }

    /// `NAME-VERSION-1.x86_64.rpm`.
    pub(super) fn rpm(&self, out: &Path) -> Result<PathBuf> {
        let top = self.folder.join("rpm");
        let spec = top.join("product.spec");
        write(&spec, self.spec()?.as_bytes(), 0o644)?;
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild
            .env("SOURCE_DATE_EPOCH", &self.time_s)
            .args(["--quiet", "-bb"]);
        let definitions = [
            format!("_topdir {}", top.display()),
            format!("_dbpath {}", top.join("db").display()),
            format!("_rpmdir {}", top.display()),
            "_rpmfilename package.rpm".to_owned(),
            "_build_name_fmt package.rpm".to_owned(),
            // The rpm of the older distributions reads no zstd.
            "_binary_payload w9.gzdio".to_owned(),
            "_build_id_links none".to_owned(),
            "_buildhost release".to_owned(),
            "debug_package %{nil}".to_owned(),
            "__os_install_post %{nil}".to_owned(),
            "use_source_date_epoch_as_buildtime 1".to_owned(),
            "clamp_mtime_to_source_date_epoch 1".to_owned(),
        ];
        for definition in &definitions {
            rpmbuild.arg("--define").arg(definition);
        }
        rpmbuild.args(["--target", "x86_64-linux"]).arg(&spec);
        call(&mut rpmbuild)?;
        let path = out.join(format!("{}-{VERSION}-1.x86_64.rpm", self.product.name));
        fs::copy(top.join("package.rpm"), &path).context("taking the .rpm")?;
        Ok(path)
    }

    fn control(&self) -> Result<String> {
        let product = self.product;
        let (major, minor) = FLOOR;
        let mut kilobytes = 0;
        for path in self.paths() {
            kilobytes += fs::metadata(self.files().join(path))?.len().div_ceil(1024);
        }
        Ok(format!(
            "Package: {}\nVersion: {VERSION}\nArchitecture: amd64\nMaintainer: {MAINTAINER}\n\
             Section: admin\nPriority: optional\nInstalled-Size: {kilobytes}\n\
             Depends: libc6 (>= {major}.{minor}), passwd\nRecommends: systemd\n\
             Description: {}\n {}\n",
            product.name,
            product.summary,
            wrap(product.description, "\n ")
        ))
    }

    fn spec(&self) -> Result<String> {
        let product = self.product;
        let (major, minor) = FLOOR;
        let script = |name: &str| {
            let text = fs::read_to_string(self.source(name))?;
            ensure!(
                !text.contains('%'),
                "{name} contains %, which rpmbuild would expand"
            );
            Ok(text)
        };
        let [after, before_removal, after_removal] = SCRIPTS;
        let mut spec = format!(
            "Name: {}\nVersion: {VERSION}\nRelease: 1\nSummary: {}\nLicense: Apache-2.0\n\
             Packager: {MAINTAINER}\nGroup: System/Monitoring\nAutoReqProv: no\nRequires: glibc >= {major}.{minor}\nRequires(post): shadow-utils\n\n\
             %description\n{}\n\n%install\ncp -a {}/. %{{buildroot}}/\n\n%post\n{}\n%preun\n{}\n\
             %postun\n{}\n%files\n",
            product.name,
            capitalised(product.summary),
            wrap(product.description, "\n"),
            self.files().display(),
            script(after)?,
            script(before_removal)?,
            script(after_removal)?,
        );
        for path in self.paths() {
            let is_configuration = product
                .files
                .iter()
                .any(|file| file.configuration && file.target == path);
            let kind = if is_configuration {
                "%config(noreplace) "
            } else {
                ""
            };
            writeln!(spec, "%attr(-,root,root) {kind}/{path}")?;
        }
        Ok(spec)
    }

    fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    fn copyright(&self) -> String {
        format!("usr/share/doc/{}/copyright", self.product.name)
    }

    fn source(&self, name: &str) -> PathBuf {
        root().join(self.product.folder).join(name)
    }

    fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        write(&self.files().join(path), content, mode)
    }
}

/// The installed controller finds its passphrase in the file that postinstall.sh makes.
fn with_passphrase_file(configuration: &str) -> Result<String> {
    const COMMENTED: &str = "# passphrase_file: /etc/xiezhi/ca-passphrase";
    ensure!(
        configuration.contains(COMMENTED),
        "controller.yaml no longer has the line `{COMMENTED}`, which the package needs"
    );
    Ok(configuration.replace(COMMENTED, COMMENTED.trim_start_matches("# ")))
}

/// Lines of 78 letters at most: package tools show them as they are.
fn wrap(text: &str, line_break: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= 78 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(line_break)
}

/// Debian wants a summary to begin small, rpm wants it to begin big.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let failed = || format!("writing {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(path)).with_context(failed)?;
    fs::write(path, content).with_context(failed)?;
    // Whatever the umask of whoever builds is.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(failed)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut source = from.as_os_str().to_owned();
    source.push("/.");
    call(Command::new("cp").arg("-a").arg(source).arg(to))?;
    call(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::product::PRODUCTS;

    #[test]
    fn descriptions_are_wrapped_where_words_end() {
        for product in PRODUCTS {
            let wrapped = wrap(product.description, "\n");
            assert!(wrapped.lines().all(|line| line.len() <= 78), "{wrapped}");
            assert_eq!(
                wrapped.split_whitespace().collect::<Vec<_>>(),
                product.description.split_whitespace().collect::<Vec<_>>()
            );
        }
        assert_eq!(capitalised("reports health"), "Reports health");
    }

    #[test]
    fn every_file_that_a_package_needs_is_there() {
        for product in PRODUCTS {
            let folder = root().join(product.folder);
            for name in product.files.iter().map(|file| file.source).chain(SCRIPTS) {
                assert!(folder.join(name).is_file(), "{}/{name}", product.folder);
            }
        }
    }

    #[test]
    fn the_packaged_controller_names_its_passphrase_file_and_changes_nothing_else() {
        let path = root().join("controller/controllerd/packaging/controller.yaml");
        let shipped = fs::read_to_string(path).unwrap();
        let packaged = with_passphrase_file(&shipped).unwrap();
        let changed: Vec<_> = shipped
            .lines()
            .zip(packaged.lines())
            .filter(|(one, other)| one != other)
            .collect();
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].1, "passphrase_file: /etc/xiezhi/ca-passphrase");
        assert!(with_passphrase_file("log: info\n").is_err());
    }
}
