//! Ranks: how many notifications a stream had at a position. Found as in a sorted array, since both numbers only grow: an index
//! by position would cost every notification a second row.
//!
//! Reads the view's rows, and never writes.

use rusqlite::OptionalExtension;

use crate::position::{Offset, Position, StreamId};
use crate::sqlite::Connection;

/// How many of a stream's notifications there were up to and including a position.
pub(super) fn rank(
    connection: &Connection,
    stream: StreamId,
    position: Position,
) -> rusqlite::Result<Offset> {
    let mut last = connection.prepare_cached(include_str!("sql/last_entry.sql"))?;
    let row = last.query_row([stream.sql()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let Some((mut most, newest)) = row.optional()? else { return Ok(Offset(0)) };
    if newest <= position.sql() {
        return Ok(Offset::from_sql(most));
    }
    // Up to `least` they are at or before the position, after `most` they are beyond it.
    let mut least = 0;
    most -= 1;
    let mut position_at = connection.prepare_cached(include_str!("sql/position_at.sql"))?;
    while least < most {
        let middle = least + (most - least + 1) / 2;
        let at: i64 = position_at.query_row([stream.sql(), middle], |row| row.get(0))?;
        if at <= position.sql() {
            least = middle;
        } else {
            most = middle - 1;
        }
    }
    Ok(Offset::from_sql(least))
}

/// Which of a stream's notifications is at a position.
pub(super) fn offset_at(
    connection: &Connection,
    stream: StreamId,
    position: Position,
) -> rusqlite::Result<Option<Offset>> {
    let rank = rank(connection, stream, position)?;
    let mut position_at = connection.prepare_cached(include_str!("sql/position_at.sql"))?;
    let at = position_at.query_row([stream.sql(), rank.sql()], |row| row.get(0)).optional()?;
    Ok((at == Some(position.sql())).then_some(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_found_at_before_between_and_after_all_entries() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("sql/schema.sql")).unwrap();
        for head in 0..9 {
            let stream = StreamId(head as u64 + 1);
            let positions: Vec<i64> = (1..=head).map(|offset| 10 * offset).collect();
            for (offset, position) in (1..).zip(&positions) {
                let sql = "INSERT INTO entries VALUES (?1, ?2, ?3, 'note')";
                connection.execute(sql, [stream.sql(), offset, *position]).unwrap();
            }
            for position in 0..=10 * head + 5 {
                let expected = positions.iter().filter(|at| **at <= position).count() as u64;
                let position = Position::from_sql(position);
                assert_eq!(
                    rank(&connection, stream, position).unwrap(),
                    Offset(expected),
                    "{head} {position}"
                );
                let there = positions.contains(&position.sql()).then_some(Offset(expected));
                assert_eq!(offset_at(&connection, stream, position).unwrap(), there);
            }
        }
    }
}
