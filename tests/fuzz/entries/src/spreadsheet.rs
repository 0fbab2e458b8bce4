//! Spreadsheets that people upload: CSV in several encodings, and XLSX.

use std::io::{Cursor, Write as _};

use xiezhi_inventory::read_sites;
use xiezhi_inventory::register::{Sheet, read_register};
use xiezhi_model::{RegisterKind, Site, SiteId, SiteTree, Tier};

/// These bytes as a file, and what follows the first byte as the sheet within a workbook: whatever they
/// are, problems with their cells or rows; rows come back the same from where they wait for a decision.
pub fn spreadsheet(bytes: &[u8]) {
    read(bytes);
    if let Some((_, sheet)) = bytes.split_first() {
        read(&workbook(sheet));
    }
}

fn read(file: &[u8]) {
    let tree = tree();
    for kind in RegisterKind::ALL {
        let reading = read_register(kind, file, &tree, Some(SiteId(1)));
        assert!(reading.problems.len() <= reading.problem_count);
        assert!(reading.sheet.rows.iter().all(|row| row.line > 0));
        if reading.problem_count == 0 {
            let again = Sheet::from_text(kind, &reading.sheet.to_text());
            assert_eq!(again.as_ref(), Some(&reading.sheet));
        }
    }
    let reading = read_sites(file, &tree);
    assert!(reading.problems.len() <= reading.problem_count);
}

fn tree() -> SiteTree {
    SiteTree::new(vec![Site {
        id: SiteId(1),
        key: "gs".to_owned(),
        name: "高级人民法院".to_owned(),
        tier: Tier::HighCourt,
        parent: None,
        court_code: String::new(),
        retired_ms: None,
        version: 0,
    }])
}

/// A workbook with this sheet, packed without compression, so that a changed byte is one of the sheet.
pub(crate) fn workbook(sheet: &[u8]) -> Vec<u8> {
    const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006/relationships";
    let relation = |kind: &str, target: &str| {
        format!(
            "<Relationships xmlns=\"{PACKAGE}\"><Relationship Id=\"r1\" Type=\"{RELATIONS}/{kind}\" \
             Target=\"{target}\"/></Relationships>"
        )
    };
    let book = format!(
        "<workbook xmlns:r=\"{RELATIONS}\"><sheets><sheet name=\"a\" sheetId=\"1\" r:id=\"r1\"/></sheets>\
         </workbook>"
    );
    let parts = [
        ("_rels/.rels", relation("officeDocument", "xl/workbook.xml")),
        (
            "xl/_rels/workbook.xml.rels",
            relation("worksheet", "worksheets/sheet1.xml"),
        ),
        ("xl/workbook.xml", book),
    ];
    let parts = parts.iter().map(|(name, text)| (*name, text.as_bytes()));
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in parts.chain([("xl/worksheets/sheet1.xml", sheet)]) {
        archive.start_file(name, stored).expect("a small archive");
        archive.write_all(content).expect("memory");
    }
    archive.finish().expect("memory").into_inner()
}
