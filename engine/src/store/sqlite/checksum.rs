//! Checksums of what the log's rows hold: against disks and memory that change it, not against people.

use crc32fast::Hasher;

use crate::event::Entry;
use crate::position::{Offset, StreamId};

/// What the row of an event holds.
pub(super) struct EventRow<'r> {
    pub(super) position: i64,
    pub(super) tenant: &'r str,
    pub(super) type_name: &'r str,
    pub(super) version: u16,
    pub(super) recorded_at: i64,
    pub(super) envelope: &'r str,
    pub(super) entries: Option<&'r str>,
}

impl EventRow<'_> {
    /// Where it is numbered.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, String> {
        let pairs: Option<Vec<(u64, u64)>> =
            self.entries.map(serde_json::from_str).transpose().map_err(|error| error.to_string())?;
        let entry = |(stream, offset)| Entry { stream: StreamId(stream), offset: Offset(offset) };
        Ok(pairs.unwrap_or_default().into_iter().map(entry).collect())
    }

    /// CRC-32: finds every burst of up to 32 flipped bits, and all but one in four thousand million of other changes.
    pub(super) fn checksum(&self) -> u32 {
        let texts = [self.tenant, self.type_name, self.envelope, self.entries.unwrap_or_default()];
        // With the lengths, so that nothing can move from one text to the next unseen.
        let [tenant, type_name, envelope, entries] = texts.map(|text| text.len() as u64);
        let numbers = [
            self.position as u64,
            self.version.into(),
            self.recorded_at as u64,
            tenant,
            type_name,
            envelope,
            entries,
        ];
        let mut hasher = of_numbers(numbers);
        texts.iter().for_each(|text| hasher.update(text.as_bytes()));
        hasher.finalize()
    }
}

/// Of a payload, in its place.
pub(super) fn of_payload(position: i64, payload: &str) -> u32 {
    let mut hasher = of_numbers([position as u64, payload.len() as u64]);
    hasher.update(payload.as_bytes());
    hasher.finalize()
}

/// All at once: many small pieces cost more than one.
fn of_numbers<const COUNT: usize>(numbers: [u64; COUNT]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(numbers.map(u64::to_le_bytes).as_flattened());
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: EventRow<'_> = EventRow {
        position: 7,
        tenant: "default",
        type_name: "Seen",
        version: 1,
        recorded_at: 1_795_253_000_000,
        envelope: r#"{"user":"ada","upTo":6}"#,
        entries: Some("[[1,2]]"),
    };

    /// What is stored once must be found right for ever. As zlib gives them.
    #[test]
    fn checksums_stay_what_they_are() {
        assert_eq!((ROW.checksum(), of_payload(7, "{}")), (3_225_933_272, 1_623_177_384));
    }

    #[test]
    fn every_part_of_a_row_counts() {
        let sound = ROW.checksum();
        let changed = [
            EventRow { position: 8, ..ROW },
            EventRow { tenant: "defaulT", ..ROW },
            EventRow { type_name: "Read", ..ROW },
            EventRow { version: 2, ..ROW },
            EventRow { recorded_at: ROW.recorded_at + 1, ..ROW },
            EventRow { envelope: r#"{"user":"adb","upTo":6}"#, ..ROW },
            EventRow { entries: None, ..ROW },
            EventRow { tenant: "defaultS", type_name: "een", ..ROW },
        ];
        for (number, row) in changed.iter().enumerate() {
            assert_ne!(row.checksum(), sound, "{number}");
        }
        assert_ne!(of_payload(7, "{}"), of_payload(8, "{}"));
        assert_ne!(of_payload(7, "{}"), of_payload(7, "{ }"));
    }
}
