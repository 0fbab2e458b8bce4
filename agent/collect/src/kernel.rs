//! What a host answers by system call: asked of the running kernel, or read from the text files of
//! a recorded host (`calls/NAME`, one value or one line each).

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bytes::{lines, number, signed, text, words};
use crate::error::CollectError;
use crate::files::{Base, Files};
use crate::root::HostRoot;

/// uname(2).
#[derive(Debug, Clone, Default)]
pub(crate) struct Uname {
    pub(crate) system: String,
    pub(crate) node: String,
    pub(crate) release: String,
    pub(crate) version: String,
    pub(crate) machine: String,
    pub(crate) domain: String,
}

/// statfs(2), in units of `block_bytes`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Space {
    pub(crate) block_bytes: u64,
    pub(crate) blocks: u64,
    pub(crate) free: u64,
    pub(crate) available: u64,
    pub(crate) files: u64,
    pub(crate) files_free: u64,
    pub(crate) read_only: bool,
}

/// adjtimex(2), as the kernel names its fields.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    pub(crate) state: i64,
    pub(crate) offset: i64,
    pub(crate) frequency: i64,
    pub(crate) maxerror: i64,
    pub(crate) esterror: i64,
    pub(crate) status: i64,
    pub(crate) constant: i64,
    pub(crate) tick: i64,
    pub(crate) pps_frequency: i64,
    pub(crate) jitter: i64,
    pub(crate) shift: i64,
    pub(crate) stability: i64,
    pub(crate) jitter_count: i64,
    pub(crate) calibration_count: i64,
    pub(crate) error_count: i64,
    pub(crate) stability_count: i64,
    pub(crate) tai: i64,
}

/// Unix time in milliseconds.
pub(crate) fn now_ms(host: &HostRoot, files: &mut Files) -> Result<i64, CollectError> {
    if host.is_live() {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        return Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    }
    let recorded = files.read(Base::Root, "calls/time_ms")?;
    signed(recorded.trim_ascii()).ok_or_else(|| malformed("calls/time_ms"))
}

pub(crate) fn uname(host: &HostRoot, files: &mut Files) -> Result<Uname, CollectError> {
    if host.is_live() {
        let name = rustix::system::uname();
        return Ok(Uname {
            system: name.sysname().to_string_lossy().into_owned(),
            node: name.nodename().to_string_lossy().into_owned(),
            release: name.release().to_string_lossy().into_owned(),
            version: name.version().to_string_lossy().into_owned(),
            machine: name.machine().to_string_lossy().into_owned(),
            domain: name.domainname().to_string_lossy().into_owned(),
        });
    }
    let mut recorded = lines(files.read(Base::Root, "calls/uname")?);
    let mut next = || {
        let line = recorded.next().ok_or_else(|| malformed("calls/uname"))?;
        Ok(text(line).into_owned())
    };
    Ok(Uname {
        system: next()?,
        node: next()?,
        release: next()?,
        version: next()?,
        machine: next()?,
        domain: next()?,
    })
}

/// The file system that is mounted at `mount_point`, given as the host names it.
pub(crate) fn space(
    host: &HostRoot,
    files: &mut Files,
    mount_point: &str,
) -> Result<Space, CollectError> {
    if host.is_live() {
        let found =
            rustix::fs::statvfs(host.path(mount_point)).map_err(|error| CollectError::Call {
                what: "statfs",
                source: error.into(),
            })?;
        return Ok(Space {
            block_bytes: found.f_frsize,
            blocks: found.f_blocks,
            free: found.f_bfree,
            available: found.f_bavail,
            files: found.f_files,
            files_free: found.f_ffree,
            read_only: found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        });
    }
    let escaped = mount_point.replace(' ', "\\040");
    let recorded = files.read(Base::Root, "calls/statfs")?;
    let line = lines(recorded).find(|line| words(line).next() == Some(escaped.as_bytes()));
    line.and_then(recorded_space)
        .ok_or_else(|| CollectError::Call {
            what: "statfs",
            source: io::ErrorKind::NotFound.into(),
        })
}

fn recorded_space(line: &[u8]) -> Option<Space> {
    let mut fields = words(line).skip(1);
    let mut next = || number(fields.next()?);
    Some(Space {
        block_bytes: next()?,
        blocks: next()?,
        free: next()?,
        available: next()?,
        files: next()?,
        files_free: next()?,
        read_only: next()? == 1,
    })
}

/// Reads the kernel's clock discipline and changes nothing (`modes` is 0).
///
/// rustix and nix do not wrap adjtimex(2). The wrapper of `rtime-clock` keeps `unsafe` out of our
/// code; it is called with an all-zero request, which by adjtimex(2) only reads and needs no
/// privilege.
pub(crate) fn clock(host: &HostRoot, files: &mut Files) -> Result<Clock, CollectError> {
    if host.is_live() {
        let mut request = rtime_clock::adjtime::Timex::new();
        let state =
            rtime_clock::adjtime::adjtimex(&mut request).map_err(|source| CollectError::Call {
                what: "adjtimex",
                source,
            })?;
        let found = &request.0;
        return Ok(Clock {
            state: state.into(),
            offset: found.offset,
            frequency: found.freq,
            maxerror: found.maxerror,
            esterror: found.esterror,
            status: found.status.into(),
            constant: found.constant,
            tick: found.tick,
            pps_frequency: found.ppsfreq,
            jitter: found.jitter,
            shift: found.shift.into(),
            stability: found.stabil,
            jitter_count: found.jitcnt,
            calibration_count: found.calcnt,
            error_count: found.errcnt,
            stability_count: found.stbcnt,
            tai: found.tai.into(),
        });
    }
    recorded_clock(files.read(Base::Root, "calls/timex")?).ok_or_else(|| malformed("calls/timex"))
}

fn recorded_clock(recorded: &[u8]) -> Option<Clock> {
    let mut fields = words(recorded.trim_ascii());
    let mut next = || signed(fields.next()?);
    Some(Clock {
        state: next()?,
        offset: next()?,
        frequency: next()?,
        maxerror: next()?,
        esterror: next()?,
        status: next()?,
        constant: next()?,
        tick: next()?,
        pps_frequency: next()?,
        jitter: next()?,
        shift: next()?,
        stability: next()?,
        jitter_count: next()?,
        calibration_count: next()?,
        error_count: next()?,
        stability_count: next()?,
        tai: next()?,
    })
}

fn malformed(path: &'static str) -> CollectError {
    CollectError::Malformed {
        path,
        what: "not in the form that a recorded host has",
    }
}

/// Bytes per page of memory.
pub(crate) fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// Clock ticks per second in which `/proc` counts processor time.
pub(crate) fn ticks_per_second() -> f64 {
    // USER_HZ is 100 on every architecture that Linux still runs on but alpha and ia64.
    100.0
}
