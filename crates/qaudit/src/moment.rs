use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use types::Timestamp;

/// A moment for people: RFC 3339 in UTC, or the bare milliseconds where no calendar reaches.
pub(crate) fn text(at: Timestamp) -> String {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{} ms", at.as_millis()))
}

#[cfg(test)]
mod tests {
    use types::Timestamp;

    #[test]
    fn moments_are_read_by_people() {
        assert_eq!(super::text(Timestamp::from_millis(1_700_000_000_500)), "2023-11-14T22:13:20.5Z");
        assert_eq!(super::text(Timestamp::from_millis(u64::MAX)), "18446744073709551615 ms");
    }
}
