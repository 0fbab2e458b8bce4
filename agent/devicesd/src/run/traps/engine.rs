//! Who this host is to senders of SNMPv3 informs: an identity that stays, and a number of starts that
//! only grows, so that nothing that was signed for an earlier start can be played back.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use xiezhi_devices::traps::Engine;

/// The engine in its next start, kept in `path`; a file that is missing or torn makes a new identity,
/// which senders discover by themselves.
pub(super) fn next(path: &Path) -> Result<Engine> {
    let kept = fs::read_to_string(path).ok();
    let (id, boots) = match kept.as_deref().and_then(read) {
        Some((id, boots)) => (id, boots.saturating_add(1)),
        None => (Engine::new_id()?, 1),
    };
    let digits: String = id.iter().map(|octet| format!("{octet:02x}")).collect();
    write(path, &format!("{digits} {boots}\n"))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(Engine::new(id, boots)?)
}

fn read(text: &str) -> Option<(Vec<u8>, u32)> {
    let (digits, boots) = text.trim_end().split_once(' ')?;
    let octets = (0..digits.len()).step_by(2).map(|at| {
        let pair = digits.get(at..at + 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let id: Vec<u8> = octets.collect::<Option<_>>()?;
    let boots = boots.parse().ok()?;
    Engine::new(id.clone(), boots).ok()?;
    Some((id, boots))
}

/// Before it is used, and to the disk: a number of starts that came again would be believed.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_keeps_its_identity_and_counts_its_starts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine");
        next(&path).unwrap();
        let first = read(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(first.1, 1);
        next(&path).unwrap();
        let second = read(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(second, (first.0.clone(), 2));
        for torn in ["", "80", "80zz 1", "800000 x", "80 1"] {
            fs::write(&path, torn).unwrap();
            next(&path).unwrap();
            let new = read(&fs::read_to_string(&path).unwrap()).unwrap();
            assert!(new.0 != first.0 && new.1 == 1, "{torn}");
        }
        assert!(next(&folder.path().join("nowhere/engine")).is_err());
    }
}
