//! `docs/format/body.cddl` names every event, command, record and refusal with its number.

const SCHEMA: &str = include_str!("../../../../docs/format/body.cddl");
const EVENTS: &str = include_str!("../../../kernel/src/event.rs");
const RECORDS: &str = include_str!("../../../kernel/src/record.rs");

/// The alternatives of an enum as its source numbers them.
fn alternatives<'a>(source: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let (_, rest) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let mut found = Vec::new();
    let mut number = None;
    for line in body.lines() {
        // Alternatives are indented by four spaces, their fields by more.
        let Some(line) = line.strip_prefix("    ").filter(|line| !line.starts_with(' ')) else { continue };
        if let Some(rest) = line.strip_prefix("#[n(") {
            number = rest.split(')').next();
        } else if line.starts_with(char::is_uppercase)
            && let Some(number) = number.take()
        {
            found.push((number, line.split(|c: char| !c.is_alphanumeric()).next().unwrap()));
        }
    }
    found
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (place, c) in name.char_indices() {
        if c.is_uppercase() && place > 0 {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// QT-10: the schema an outsider reads is the one the kernel writes.
#[test]
fn the_schema_has_every_alternative() {
    let enums =
        [(EVENTS, "Event"), (EVENTS, "Command"), (RECORDS, "Record"), (RECORDS, "Refusal"), (RECORDS, "Response")];
    for (source, name) in enums {
        let found = alternatives(source, name);
        assert!(found.len() > 3, "{name}: {found:?}");
        for (number, alternative) in &found {
            let line = format!("\n{}-{} = [{number}, [", kebab(name), kebab(alternative));
            assert!(SCHEMA.contains(&line), "docs/format/body.cddl lacks {line:?}: describe it there");
        }
        let rules = SCHEMA
            .lines()
            .filter(|line| line.starts_with(&format!("{}-", kebab(name))) && line.contains(" = ["))
            .count();
        assert!(rules >= found.len());
    }
}
