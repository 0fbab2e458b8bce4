//! Files as people really send them: each says row by row what is wrong, or is read as it was meant.

use super::*;

fn csv(rows: &str) -> Reading {
    read(format!("资产编号,资产名称,单位,序列号,购置日期\n{rows}").as_bytes())
}

fn codes(reading: &Reading) -> Vec<(u32, &str)> {
    let rows = reading.sheet.rows.iter();
    rows.map(|row| (row.line, row.values[&Field::Code].as_str()))
        .collect()
}

#[test]
fn each_mistake_of_a_text_file_is_told_by_its_row_and_column() {
    let cases: &[(&str, &[&str])] = &[
        // A line break within a cell; rows are counted as a spreadsheet shows them.
        (
            "A-1,\"核心\n交换机\",gs-01,,\nA-2,x,gs-99,,\n",
            &["2:B:control", "3:C:unknown_site"],
        ),
        ("A-1,x,gs-01,,\n\n\nA-2,x,gs-99,,\n", &["5:C:unknown_site"]),
        // A comma that nobody put in quotation marks moves what is behind it.
        (
            "A-1,交换机,主用,gs-01,SN1,\n",
            &["2:C:unknown_site", "2:E:no_date"],
        ),
        (
            "A-1,交换机,gs-01,SN1,2024-3-5,备注,丢了\n",
            &["2:F:more_cells"],
        ),
        // The last quotation mark is missing: everything behind it is one cell.
        (
            "A-1,\"交换机,gs-01,,\nA-2,x,gs-01,,\nA-3,x,gs-01,,\n",
            &["2:-:open_quote", "2:B:control", "2:C:no_site"],
        ),
        // The same thing twice, once with full-width letters, once with a blank behind it.
        (
            "A-1,x,gs-01,,\nＡ－１,x,兰州中院,,\nA-1 ,x,gs-01,,\n",
            &["3:A:duplicate", "4:A:duplicate"],
        ),
        // A sign without width: the code would look like another one.
        ("A-\u{200b}1,x,gs-01,,\n", &["2:A:control"]),
        ("A-1\0,x,gs-01,,\n", &["2:A:control"]),
        // A day as the number that a spreadsheet keeps it by.
        ("A-1,x,gs-01,,45356\n", &["2:E:no_date"]),
        ("A-1,x,gs-01,,2024-02-30\n", &["2:E:no_date"]),
        ("A-1,x,gs-01,1.23457E+14,\n", &["2:D:digits_lost"]),
        // Nothing but blanks in a field that must not be empty.
        (
            "A-1,\u{3000} ,gs-01,,\n ,x,gs-01,,\n",
            &["2:B:empty", "3:A:empty"],
        ),
        (",,,,\n\u{3000},,,,\n", &["1:-:nothing"]),
    ];
    for (rows, expected) in cases {
        let reading = csv(rows);
        assert_eq!(
            told(&reading),
            *expected,
            "{rows:?}: {:#?}",
            reading.problems
        );
    }
}

#[test]
fn what_is_unusual_and_plain_all_the_same_is_read_as_it_was_meant() {
    let cases = [
        "A-1,\"交换机, 主用\",gs-01,,\n",
        "A-1, 交换机 ,　ｇｓ－０１　,ＳＮ１,２０２４－３－５\n",
        "A-1,硬盘 3.5\" 主用,gs-01,,\n",
        "A-1,x,gs-01,,20240305\n",
        "A-1,x,gs-01,,2024年3月5日\n",
        "A-1,=cmd|'/c calc'!A0,gs-01,,\n",
        "A-1,<script>alert(1)</script>,gs-01,,\n",
        // What is in columns without a name of this header's width is nothing.
        "A-1,x,gs-01,,,,,\n",
    ];
    for rows in cases {
        let reading = csv(rows);
        assert_eq!(told(&reading), [""; 0], "{rows}: {:#?}", reading.problems);
        assert_eq!(codes(&reading), [(2, "A-1")], "{rows}");
        assert_eq!(reading.sheet.rows[0].site, SiteId(1), "{rows}");
    }
    for separator in [";", "\t"] {
        let file = GOOD.replace(',', separator);
        good(&read(file.as_bytes()));
    }
    let wide: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    good(&read(&[b"\xfe\xff", wide.as_slice()].concat()));
    // A title, a blank row and a note above the header.
    let titled = format!("二〇二六年度资产台账\n\n填表人：王芳\n{GOOD}");
    assert_eq!(codes(&read(titled.as_bytes())), [(5, "A-1"), (6, "A-2")]);
}

#[test]
fn other_files_are_told_from_workbooks_with_what_to_do() {
    let archive = |parts: &[(&str, &str)]| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in parts {
            let stored =
                SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            archive.start_file(*name, stored).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    let ods = archive(&[
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", "<x/>"),
    ]);
    let docx = archive(&[("word/document.xml", "<x/>")]);
    let binary = archive(&[("xl/workbook.bin", "x")]);
    for file in [ods, docx, binary] {
        assert_eq!(told(&read(&file)), ["1:-:other_format"]);
    }
    let container = |name: &str| {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(),
            &[0; 504],
            &name,
        ]
        .concat()
    };
    assert_eq!(
        told(&read(&container("EncryptedPackage"))),
        ["1:-:protected"]
    );
    assert_eq!(told(&read(&container("Workbook"))), ["1:-:old_format"]);
    // UTF-16 without its mark, and a picture.
    let wide: Vec<u8> = "code,name\nA-1,x\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(told(&read(&wide)), ["1:-:encoding"]);
    assert_eq!(
        read(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").problems[0]
            .kind
            .word(),
        "encoding"
    );
    // Cut off in the middle, as a broken download is.
    let whole = workbook(&header(), "");
    assert_eq!(told(&read(&whole[..whole.len() / 2])), ["1:-:unreadable"]);
}

#[test]
fn a_formula_that_nobody_worked_out_is_told_and_one_that_gives_nothing_is_nothing() {
    let rows = format!(
        "{}<row r=\"3\">{}<c r=\"B3\"><f>A3&amp;\"x\"</f></c>{}\
         <c r=\"D3\" t=\"str\"><f>IF(1=1,\"\",\"\")</f><v></v></c></row>\
         <row r=\"4\">{}<c r=\"B4\" t=\"str\"><f>A4&amp;\"x\"</f><v>A-2x</v></c>{}<c r=\"D4\"><f>1/0</f></c></row>",
        header(),
        cell("A3", "A-1"),
        cell("C3", "gs-01"),
        cell("A4", "A-2"),
        cell("C4", "gs-01"),
    );
    let reading = read(&workbook(&rows, ""));
    let mut found = told(&reading);
    found.sort();
    assert_eq!(found, ["3:B:empty", "3:B:no_result", "4:D:no_result"]);
}

#[test]
fn a_second_sheet_with_something_in_it_is_named_and_an_empty_or_hidden_one_is_not() {
    let mut book = rust_xlsxwriter::Workbook::new();
    for (name, is_hidden, text) in [
        ("台账", false, "资产编号"),
        ("二月", false, "A-9"),
        ("空表", false, ""),
        ("旧表", true, "A-8"),
    ] {
        let sheet = book.add_worksheet();
        sheet.set_name(name).unwrap();
        sheet.set_hidden(is_hidden);
        sheet.write_string(0, 0, text).unwrap();
        if name == "台账" {
            for (at, text) in ["资产名称", "单位"].into_iter().enumerate() {
                sheet.write_string(0, at as u16 + 1, text).unwrap();
            }
            for (at, text) in ["A-1", "交换机", "gs-01"].into_iter().enumerate() {
                sheet.write_string(1, at as u16, text).unwrap();
            }
        }
    }
    let reading = read(&book.save_to_buffer().unwrap());
    assert_eq!(told(&reading), [""; 0]);
    assert_eq!(codes(&reading), [(2, "A-1")]);
    assert_eq!(reading.left_sheets, ["二月"]);
}

#[test]
fn a_hundred_thousand_rows_are_refused_at_the_first_that_is_too_many() {
    let mut file = "code,name,site\n".to_owned();
    (0..100_000).for_each(|row| file.push_str(&format!("A-{row},x,gs-01\n")));
    let reading = read(file.as_bytes());
    let first = (MAX_ROWS + HEADER_WITHIN + 1) as u32;
    assert_eq!(told(&reading), [format!("{first}:-:too_large")]);
}
