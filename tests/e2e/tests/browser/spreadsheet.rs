//! Spreadsheets as people save them: a workbook of today, and a text in the Chinese encoding of older
//! programs.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use zip::write::SimpleFileOptions;

/// Writes a workbook of one sheet; `merged` names areas such as `C5:C6`.
pub(crate) fn workbook(
    folder: &Path,
    name: &str,
    rows: &[&[&str]],
    merged: &[&str],
) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.xlsx"));
    std::fs::write(&path, archive(&sheet(rows, merged))?)?;
    Ok(path)
}

/// Writes a CSV in GB18030, with the line ends of Windows.
pub(crate) fn old_csv(folder: &Path, name: &str, rows: &[&[&str]]) -> Result<PathBuf> {
    let text: String = rows.iter().map(|row| row.join(",") + "\r\n").collect();
    let (bytes, _, lossy) = encoding_rs::GB18030.encode(&text);
    ensure!(!lossy, "{name} holds what GB18030 has not");
    let path = folder.join(format!("{name}.csv"));
    std::fs::write(&path, bytes)?;
    Ok(path)
}

fn sheet(rows: &[&[&str]], merged: &[&str]) -> String {
    let cell = |(column, text): (u8, &&str), line: usize| {
        let letter = char::from(b'A' + column);
        format!("<c r=\"{letter}{line}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
    };
    let row = |(line, cells): (usize, &&[&str])| {
        let cells = (0_u8..).zip(*cells).filter(|(_, text)| !text.is_empty());
        let cells: String = cells.map(|one| cell(one, line)).collect();
        format!("<row r=\"{line}\">{cells}</row>")
    };
    let rows: String = (1..).zip(rows).map(row).collect();
    let areas = merged
        .iter()
        .map(|area| format!("<mergeCell ref=\"{area}\"/>"));
    let areas: String = areas.collect();
    let merged = match areas.is_empty() {
        true => areas,
        false => format!("<mergeCells>{areas}</mergeCells>"),
    };
    format!("<sheetData>{rows}</sheetData>{merged}")
}

fn archive(sheet: &str) -> Result<Vec<u8>> {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let package = "http://schemas.openxmlformats.org/package/2006";
    let related = |kind: &str, target: &str| {
        format!(
            "<Relationships xmlns=\"{package}/relationships\">\
             <Relationship Id=\"r1\" Type=\"{relations}/{kind}\" Target=\"{target}\"/></Relationships>"
        )
    };
    let parts = [
        (
            "[Content_Types].xml",
            format!("<Types xmlns=\"{package}/content-types\"/>"),
        ),
        ("_rels/.rels", related("officeDocument", "xl/workbook.xml")),
        (
            "xl/_rels/workbook.xml.rels",
            related("worksheet", "worksheets/sheet1.xml"),
        ),
        (
            "xl/workbook.xml",
            format!(
                "<workbook xmlns=\"{main}\" xmlns:r=\"{relations}\"><sheets>\
                 <sheet name=\"名单\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
            ),
        ),
        (
            "xl/worksheets/sheet1.xml",
            format!("<worksheet xmlns=\"{main}\">{sheet}</worksheet>"),
        ),
    ];
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        archive.start_file(name, SimpleFileOptions::default())?;
        archive.write_all(text.as_bytes())?;
    }
    Ok(archive.finish()?.into_inner())
}
