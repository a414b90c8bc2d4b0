//! The parts of a snapshot: records as lines of JSON, compressed, in pieces that a store takes one by one.

use super::record::Record;

/// Bytes of records before a part is closed.
const PART_BYTES: usize = 256 << 10;
/// So many bytes no part has before it is compressed: one that claims as many is damaged.
const PART_BYTES_TOO_MANY: usize = 64 << 20;

/// A part that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    #[error("a part is missing")]
    Missing,
    #[error("a part is not what was compressed: {0}")]
    Compressed(#[from] lz4_flex::block::DecompressError),
    #[error("a part says that it holds {0} bytes")]
    TooLarge(usize),
    #[error("a record is not as expected: {0}")]
    Record(#[from] serde_json::Error),
}

/// Collects records until they are a part.
#[derive(Default)]
pub(super) struct Packer {
    lines: Vec<u8>,
}

impl Packer {
    /// Adds a record; the part it completes, if it does.
    ///
    /// # Errors
    /// [`PartError::TooLarge`] for a record that nobody would read back.
    pub(super) fn add(&mut self, record: &Record) -> Result<Option<Vec<u8>>, PartError> {
        serde_json::to_writer(&mut self.lines, record)?;
        self.lines.push(b'\n');
        match self.lines.len() {
            PART_BYTES_TOO_MANY.. => Err(PartError::TooLarge(self.lines.len())),
            PART_BYTES.. => Ok(Some(self.pack())),
            _ => Ok(None),
        }
    }

    /// What is left, if there is any.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        (!self.lines.is_empty()).then(|| self.pack())
    }

    fn pack(&mut self) -> Vec<u8> {
        let part = lz4_flex::block::compress_prepend_size(&self.lines);
        self.lines.clear();
        part
    }
}

/// The records of a part.
pub(super) fn unpack(part: &[u8]) -> Result<Vec<Record>, PartError> {
    let (size, compressed) = lz4_flex::block::uncompressed_size(part)?;
    if size >= PART_BYTES_TOO_MANY {
        return Err(PartError::TooLarge(size));
    }
    let lines = lz4_flex::block::decompress(compressed, size)?;
    let records = serde_json::Deserializer::from_slice(&lines).into_iter();
    Ok(records.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    #[test]
    fn records_survive_parts_and_damage_is_an_error() {
        let records: Vec<Record> = (0..200_000).map(|number| Record::Woken(Position(number))).collect();
        let mut packer = Packer::default();
        let mut parts: Vec<Vec<u8>> =
            records.iter().filter_map(|record| packer.add(record).unwrap()).collect();
        parts.extend(packer.finish());
        assert!(parts.len() > 1, "they are more than one part");
        let unpacked: Vec<Record> = parts.iter().flat_map(|part| unpack(part).unwrap()).collect();
        assert_eq!(unpacked, records);
        assert!(unpack(&parts[0][..parts[0].len() / 2]).is_err(), "half a part");
        assert!(unpack(&[0xff; 32]).is_err(), "a size beyond all bounds");
        assert!(unpack(&lz4_flex::block::compress_prepend_size(b"{\"woken\":")).is_err(), "half a record");
    }
}
