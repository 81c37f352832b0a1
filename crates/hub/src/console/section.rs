//! The page in parts, so that only what changed is sent.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

/// A part of the page: an element with an identifier of its own, and within it rows that change by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    id: &'static str,
    before: String,
    rows: Vec<Row>,
    after: String,
}

/// An element with an identifier of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    id: String,
    html: String,
}

impl Row {
    /// A row whose element carries `id`.
    pub(super) fn new(id: String, element: Markup) -> Self {
        Self { id, html: element.into_string() }
    }
}

/// Where the rows of a section go; no value of ours can hold it, since values are escaped.
const ROWS: &str = "<rows>";

/// Stands in a section's markup for its rows.
pub(super) fn rows() -> Markup {
    PreEscaped(ROWS.to_owned())
}

impl Section {
    /// A section of `content`, which has [`rows`] in it where `rows` go. A wide one takes the page's whole width.
    pub(super) fn new(id: &'static str, wide: bool, content: &Markup, rows: Vec<Row>) -> Self {
        let element = html! { section id=(id) class=[wide.then_some("wide")] { (content) } }.into_string();
        let (before, after) = element.split_once(ROWS).unwrap_or((&element, ""));
        Self { id, before: before.to_owned(), after: after.to_owned(), rows }
    }

    fn whole(&self) -> String {
        let rows: String = self.rows.iter().map(|row| row.html.as_str()).collect();
        format!("{}{rows}{}", self.before, self.after)
    }

    /// Adds to `parts` what differs from `old`: nothing, some rows, or all of it.
    fn changes(&self, old: &Self, parts: &mut BTreeMap<String, String>) {
        let same_rows = || self.rows.iter().map(|row| &row.id).eq(old.rows.iter().map(|row| &row.id));
        if self.before == old.before && self.after == old.after && same_rows() {
            let changed = self.rows.iter().zip(&old.rows).filter(|(new, old)| new.html != old.html);
            parts.extend(changed.map(|(row, _)| (row.id.clone(), row.html.clone())));
        } else {
            parts.insert(self.id.to_owned(), self.whole());
        }
    }
}

/// The page below its header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page(pub(super) Vec<Section>);

impl Page {
    /// All of it, in order.
    pub(super) fn whole(&self) -> String {
        self.0.iter().map(Section::whole).collect()
    }

    /// What differs from `old`, by the identifier of the element that takes its place.
    pub(super) fn changes(&self, old: &Self) -> BTreeMap<String, String> {
        let mut parts = BTreeMap::new();
        for section in &self.0 {
            match old.0.iter().find(|old| old.id == section.id) {
                Some(old) => section.changes(old, &mut parts),
                None => drop(parts.insert(section.id.to_owned(), section.whole())),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::{Page, Row, Section, rows};

    fn page(title: &str, cells: &[(&str, &str)]) -> Page {
        let all = cells.iter().map(|(id, text)| Row::new((*id).to_owned(), html! { i id=(id) { (text) } })).collect();
        Page(vec![Section::new("s", false, &html! { h2 { (title) } p { (rows()) } }, all)])
    }

    /// U2: what did not change is not sent; a row alone where only it changed.
    #[test]
    fn only_what_changed_is_in_the_changes() {
        let old = page("t", &[("a", "1"), ("b", "2")]);
        assert!(old.changes(&old).is_empty());
        let one = page("t", &[("a", "1"), ("b", "3")]).changes(&old);
        assert_eq!(one.into_iter().collect::<Vec<_>>(), [("b".to_owned(), "<i id=\"b\">3</i>".to_owned())]);
        for whole in [page("u", &[("a", "1"), ("b", "2")]), page("t", &[("b", "2"), ("a", "1")]), page("t", &[])] {
            let changes = whole.changes(&old);
            assert_eq!(changes.keys().collect::<Vec<_>>(), ["s"]);
            assert_eq!(changes["s"], whole.whole());
        }
    }

    #[test]
    fn a_value_cannot_stand_for_the_rows() {
        let page = page("<rows>", &[("a", "<rows>")]);
        assert_eq!(
            page.whole(),
            "<section id=\"s\"><h2>&lt;rows&gt;</h2><p><i id=\"a\">&lt;rows&gt;</i></p></section>"
        );
    }
}
