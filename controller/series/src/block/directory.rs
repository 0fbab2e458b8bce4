//! Where the pages are: pieces of a few hundred entries, of which memory keeps the first lines.
//!
//! ```text
//! directory = offset:varint base:signed entry*                pages of a directory lie side by side
//! entry     = shared:varint length:varint text-rest first-host:signed hosts:varint
//!             page-length:varint oldest − base:signed duration:varint
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;

use xiezhi_protocol::codec::varint;

use super::envelope::Place;
use super::page::PageExtent;
use crate::frame::HostKey;

/// Entries of one piece.
const PIECE_ENTRIES: usize = 128;

/// A page that was written.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) text: Arc<str>,
    pub(crate) extent: PageExtent,
    pub(crate) place: Place,
}

/// The first entry of a piece, kept in memory.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: Arc<str>,
    pub(crate) host: HostKey,
    pub(crate) place: Place,
}

/// Pieces of these entries, each with the line for it; its place is relative to the first.
pub(crate) fn pieces(entries: &[Entry]) -> impl Iterator<Item = (Line, Vec<u8>)> {
    entries.chunks(PIECE_ENTRIES).filter_map(|chunk| {
        let first = chunk.first()?;
        let place = Place {
            offset: 0,
            length: 0,
        };
        let line = Line {
            text: Arc::clone(&first.text),
            host: first.extent.first_host,
            place,
        };
        Some((line, piece(chunk, first)))
    })
}

fn piece(entries: &[Entry], first: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    let base_ms = first.extent.oldest_ms;
    varint::write(&mut out, first.place.offset);
    varint::write_signed(&mut out, base_ms);
    let mut before: &str = "";
    for entry in entries {
        let text = &*entry.text;
        let both = text.bytes().zip(before.bytes());
        let mut shared = both.take_while(|(left, right)| left == right).count();
        while !text.is_char_boundary(shared) {
            shared -= 1;
        }
        let rest = text.get(shared..).unwrap_or_default();
        varint::write(&mut out, shared as u64);
        varint::write(&mut out, rest.len() as u64);
        out.extend_from_slice(rest.as_bytes());
        before = text;
        let extent = &entry.extent;
        varint::write_signed(&mut out, extent.first_host);
        varint::write(
            &mut out,
            extent.last_host.wrapping_sub(extent.first_host) as u64,
        );
        varint::write(&mut out, u64::from(entry.place.length));
        varint::write_signed(&mut out, extent.oldest_ms.wrapping_sub(base_ms));
        let duration = extent.newest_ms.wrapping_sub(extent.oldest_ms);
        varint::write(&mut out, duration as u64);
    }
    out
}

/// Visits the entries of a piece. `None` if the bytes are none; what was visited stands.
pub(crate) fn each(
    mut bytes: &[u8],
    visit: &mut dyn FnMut(&str, PageExtent, Place) -> ControlFlow<()>,
) -> Option<ControlFlow<()>> {
    let mut offset = varint::read(&mut bytes)?;
    let base_ms = varint::read_signed(&mut bytes)?;
    let mut text = String::new();
    while !bytes.is_empty() {
        read_text(&mut bytes, &mut text)?;
        let first_host = varint::read_signed(&mut bytes)?;
        let hosts = varint::read(&mut bytes)?;
        let length = u32::try_from(varint::read(&mut bytes)?).ok()?;
        let oldest_ms = base_ms.wrapping_add(varint::read_signed(&mut bytes)?);
        let duration = varint::read(&mut bytes)?;
        let extent = PageExtent {
            first_host,
            last_host: first_host.wrapping_add(hosts as i64),
            oldest_ms,
            newest_ms: oldest_ms.saturating_add_unsigned(duration),
        };
        if visit(&text, extent, Place { offset, length }).is_break() {
            return Some(ControlFlow::Break(()));
        }
        offset = offset.checked_add(u64::from(length))?;
    }
    Some(ControlFlow::Continue(()))
}

fn read_text(bytes: &mut &[u8], text: &mut String) -> Option<()> {
    let shared = usize::try_from(varint::read(bytes)?).ok()?;
    let length = usize::try_from(varint::read(bytes)?).ok()?;
    let (rest, after) = bytes.split_at_checked(length)?;
    *bytes = after;
    text.get(..shared)?;
    text.truncate(shared);
    text.push_str(std::str::from_utf8(rest).ok()?);
    Some(())
}
