//! Plain tables for people: a header, columns as wide as they need to be.

/// Lays `rows` out under `header`; every row has as many cells as the header.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = line(&widths, header.iter().copied());
    for row in rows {
        out.push_str(&line(&widths, row.iter().map(String::as_str)));
    }
    out
}

fn line<'a>(widths: &[usize], cells: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (width, cell) in widths.iter().zip(cells) {
        out.push_str(&format!("{cell:<width$}  "));
    }
    let mut out = out.trim_end().to_owned();
    out.push('\n');
    out
}
