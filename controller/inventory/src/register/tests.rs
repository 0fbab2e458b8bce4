//! Spreadsheets as people make them.

mod nasty;

use std::io::{Cursor, Write as _};

use proptest::prelude::*;
use xiezhi_model::{Site, Tier};
use zip::write::SimpleFileOptions;

use super::*;
use crate::Language;

fn site(id: i64, key: &str, name: &str) -> Site {
    Site {
        id: SiteId(id),
        key: key.to_owned(),
        name: name.to_owned(),
        tier: Tier::BasicCourt,
        parent: None,
        court_code: String::new(),
        retired_ms: None,
        version: 0,
    }
}

fn tree() -> SiteTree {
    SiteTree::new([
        site(1, "gs-01", "兰州中院"),
        site(2, "gs-02", "城关法院"),
        site(3, "gs-03", "城关法院"),
    ])
}

fn read(bytes: &[u8]) -> Reading {
    read_register(RegisterKind::Asset, bytes, &tree(), None)
}

/// `row:column:word` of every problem.
fn told(reading: &Reading) -> Vec<String> {
    let told = reading.problems.iter().map(|problem| {
        let column = problem.letters().unwrap_or_else(|| "-".to_owned());
        format!("{}:{column}:{}", problem.line, problem.kind.word())
    });
    told.collect()
}

const GOOD: &str = "资产编号,资产名称,所属单位,序列号,购置日期,备注\n\
                    A-1,核心交换机,gs-01,SN1,2024/3/5,=1+1\n\
                    A-2,打印机,兰州中院,,,\n";

fn good(reading: &Reading) {
    assert_eq!(told(reading), [""; 0]);
    let rows = &reading.sheet.rows;
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0].site, rows[0].line, rows[1].site),
        (SiteId(1), 2, SiteId(1))
    );
    assert_eq!(rows[0].values[&Field::Name], "核心交换机");
    assert_eq!(rows[0].values[&Field::Bought], "2024-03-05");
    assert_eq!(rows[0].values[&Field::Note], "=1+1", "a text stays a text");
    assert_eq!(rows[1].values[&Field::Serial], "");
    assert!(
        !rows[0].values.contains_key(&Field::Model),
        "there is no such column"
    );
}

#[test]
fn csv_is_read_in_every_encoding_that_spreadsheets_write() {
    good(&read(GOOD.as_bytes()));
    good(&read(&[b"\xef\xbb\xbf", GOOD.as_bytes()].concat()));
    good(&read(&encoding_rs::GB18030.encode(GOOD).0));
    let wide: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    good(&read(&[b"\xff\xfe", wide.as_slice()].concat()));
    good(&read(GOOD.replace(',', "\t").as_bytes()));
}

#[test]
fn every_problem_is_told_with_its_cell_and_nothing_else_is_lost() {
    let file = "资产台账,,,,,\n\
                序号,资产编号*,资产名称,单位,类型,保修到期（年月日）,序列号\n\
                1,A-1,服务器,gs-01,服务器,明年,\n\
                2,,打印机,gs-01,打印机,,\n\
                3,A-3,电话,gs-99,手推车,,\n\
                4,A-4,电话,城关法院,,,\n\
                5,A-5,电话,,,,\n\
                6,A-1,服务器,兰州中院,,,6.92E+12\n";
    let reading = read(file.as_bytes());
    let expected = [
        "3:F:no_date",
        "4:B:empty",
        "5:D:unknown_site",
        "5:E:no_choice",
        "6:D:several_sites",
        "7:D:no_site",
        "8:B:duplicate",
        "8:G:digits_lost",
    ];
    assert_eq!(told(&reading), expected);
    for end in ["\r\n", "\r"] {
        let file = file.replace('\n', end);
        assert_eq!(told(&read(file.as_bytes())), expected, "{end:?}");
    }
    assert_eq!(reading.ignored, ["序号"]);
    let date = reading.problems[0].to_string();
    assert_eq!(
        date,
        "row 3, column F: warranty \"明年\" is no day: write it like 2026-11-22"
    );
}

#[test]
fn files_that_are_no_spreadsheets_say_what_to_do() {
    for (bytes, word) in [
        (&b""[..], "no_header"),
        (b"hello\n", "no_header"),
        ("资产编号,资产名称\n".as_bytes(), "nothing"),
        (b"PK\x03\x04 and then nothing", "unreadable"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old_format"),
        (b"code,name\n\xff\xff\xff,x\n", "encoding"),
    ] {
        let reading = read(bytes);
        assert_eq!(reading.problems[0].kind.word(), word, "{bytes:?}");
        assert!(reading.sheet.rows.is_empty());
    }
    let broken = [GOOD.as_bytes(), b"A-3,\xff\xfe,gs-01,,,\n"].concat();
    assert_eq!(told(&read(&broken)), ["4:-:encoding"]);
    assert_eq!(
        told(&read(&vec![b'x'; MAX_FILE_BYTES + 1])),
        ["1:-:too_large"]
    );
}

#[test]
fn a_file_with_too_many_rows_is_refused_whole_and_the_list_of_problems_is_bounded() {
    let mut file = "code,name,site\n".to_owned();
    (0..=MAX_ROWS + HEADER_WITHIN).for_each(|row| file.push_str(&format!("A-{row},x,gs-09\n")));
    let reading = read(file.as_bytes());
    assert_eq!(reading.problems.len(), MOST_LISTED);
    assert!(reading.problem_count > MAX_ROWS);
}

#[test]
fn a_court_may_leave_its_own_name_out() {
    let file = "code,name\nA-1,x\n";
    let reading = read_register(
        RegisterKind::Asset,
        file.as_bytes(),
        &tree(),
        Some(SiteId(2)),
    );
    assert_eq!(reading.sheet.rows[0].site, SiteId(2));
}

#[test]
fn what_is_kept_and_what_is_exported_is_read_back_the_same() {
    let reading = read(GOOD.as_bytes());
    let kept = Sheet::from_text(RegisterKind::Asset, &reading.sheet.to_text());
    assert_eq!(kept.as_ref(), Some(&reading.sheet));

    let mut values = reading.sheet.rows[0].values.clone();
    values.insert(Field::State, "repair".to_owned());
    values.insert(Field::Model, "@SUM(\"A\";1)".to_owned());
    for (language, state) in [(Language::Chinese, "维修"), (Language::English, "repair")] {
        let header = export_header(RegisterKind::Asset, language);
        let row = export_row(RegisterKind::Asset, "gs-01", &values, language);
        let mut file = crate::export::csv_start(&header);
        file.extend(crate::export::csv_lines(std::slice::from_ref(&row)));
        let text = String::from_utf8_lossy(&file);
        assert!(
            text.contains(state) && text.contains("\"'@SUM(") && text.contains("'=1+1"),
            "{text}"
        );
        let sheet = crate::export::xlsx_file(&header, &[row]).unwrap();
        for file in [file, sheet] {
            let again = read(&file);
            assert_eq!(told(&again), [""; 0]);
            let mut read_back = again.sheet.rows[0].values.clone();
            read_back.retain(|_, text| !text.is_empty());
            assert_eq!(read_back, values);
        }
    }
}

/// A workbook of one sheet with these rows of XML.
fn workbook(rows: &str, more: &str) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let package = "http://schemas.openxmlformats.org/package/2006";
    let parts = [
        (
            "[Content_Types].xml",
            format!("<Types xmlns=\"{package}/content-types\"/>"),
        ),
        (
            "_rels/.rels",
            format!(
                "<Relationships xmlns=\"{package}/relationships\"><Relationship Id=\"r1\" \
                 Type=\"{relations}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
            ),
        ),
        (
            "xl/_rels/workbook.xml.rels",
            format!(
                "<Relationships xmlns=\"{package}/relationships\"><Relationship Id=\"r1\" \
                 Type=\"{relations}/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
            ),
        ),
        (
            "xl/workbook.xml",
            format!(
                "<workbook xmlns=\"{main}\" xmlns:r=\"{relations}\"><sheets>\
                 <sheet name=\"台账\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
            ),
        ),
        (
            "xl/worksheets/sheet1.xml",
            format!("<worksheet xmlns=\"{main}\"><sheetData>{rows}</sheetData>{more}</worksheet>"),
        ),
    ];
    for (name, text) in parts {
        archive
            .start_file(name, SimpleFileOptions::default())
            .unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn cell(place: &str, text: &str) -> String {
    format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
}

fn header() -> String {
    let headers = [
        ("A2", "资产编号"),
        ("B2", "资产名称"),
        ("C2", "单位"),
        ("D2", "序列号"),
    ];
    let cells: String = headers.map(|(place, text)| cell(place, text)).concat();
    format!(
        "<row r=\"1\">{}</row><row r=\"2\">{cells}</row>",
        cell("A1", "资产台账")
    )
}

#[test]
fn a_workbook_is_read_with_numbers_as_they_are_shown_and_its_title_left_out() {
    let rows = format!(
        "{}<row r=\"4\"><c r=\"A4\"><v>301</v></c>{}{}<c r=\"D4\"><v>12345</v></c></row>",
        header(),
        cell("B4", "服务器"),
        cell("C4", "gs-01"),
    );
    let title = "<mergeCells count=\"1\"><mergeCell ref=\"A1:D1\"/></mergeCells>";
    let reading = read(&workbook(&rows, title));
    assert_eq!(told(&reading), [""; 0]);
    let row = &reading.sheet.rows[0];
    assert_eq!((row.line, row.values[&Field::Code].as_str()), (4, "301"));
    assert_eq!(row.values[&Field::Serial], "12345");
}

#[test]
fn merged_cells_rounded_numbers_and_errors_of_a_workbook_are_told_by_their_cells() {
    let rows = format!(
        "{}<row r=\"3\">{}{}{}<c r=\"D3\"><v>1234567890123456789</v></c></row>\
         <row r=\"4\">{}<c r=\"B4\" t=\"e\"><v>#REF!</v></c>{}</row>",
        header(),
        cell("A3", "A-1"),
        cell("B3", "服务器"),
        cell("C3", "gs-01"),
        cell("A4", "A-2"),
        cell("C4", "gs-01"),
    );
    let merged = "<mergeCells count=\"1\"><mergeCell ref=\"C3:C4\"/></mergeCells>";
    let reading = read(&workbook(&rows, merged));
    let expected = [
        "3:C:merged",
        "3:D:digits_lost",
        "4:B:empty",
        "4:B:error_cell",
    ];
    let mut found = told(&reading);
    found.sort();
    assert_eq!(found, expected);
    let merging = reading
        .problems
        .iter()
        .find(|problem| problem.kind.word() == "merged");
    assert!(merging.unwrap().to_string().contains("C3:C4"));
}

#[test]
fn a_bomb_and_a_cell_at_the_end_of_the_world_make_no_memory() {
    let bomb = workbook(&" ".repeat(140 << 20), "");
    assert!(bomb.len() < 1 << 20);
    assert_eq!(told(&read(&bomb)), ["1:-:too_large"]);
    let rows = format!(
        "{}<row r=\"3\">{}{}{}</row><row r=\"1048576\">{}</row>",
        header(),
        cell("A3", "A-1"),
        cell("B3", "服务器"),
        cell("C3", "gs-01"),
        cell("XFD1048576", "x"),
    );
    assert_eq!(read(&workbook(&rows, "")).sheet.rows.len(), 1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..400), packed: bool) {
        let bytes = if packed { [b"PK\x03\x04".to_vec(), bytes].concat() } else { bytes };
        let reading = read(&bytes);
        prop_assert!(!reading.problems.is_empty() || !reading.sheet.rows.is_empty());
    }
}
