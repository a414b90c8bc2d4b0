//! Compares a view with one that was rebuilt, row for row, and names what differs. Reads both, decides nothing.

use std::cmp::Ordering;

use rusqlite::Rows;
use rusqlite::types::Value;

use crate::check::Findings;
use crate::progress::{Progress, Report};
use crate::sqlite::Connection;

/// Rows between two reports of progress.
const ROWS_PER_REPORT: u64 = 10_000;

/// A table, as both views have it.
struct Table {
    name: String,
    columns: Vec<String>,
    /// Which of the columns are its key, in the order of the key.
    key: Vec<usize>,
}

/// Compares the tables of a connection's own file, called `name` in the findings, with those of `rebuilt`, another file.
pub(crate) fn compare(
    connection: &Connection,
    name: &str,
    rebuilt: &std::path::Path,
    findings: &mut Findings,
    report: Report<'_>,
) -> rusqlite::Result<()> {
    connection.execute("ATTACH DATABASE ?1 AS rebuilt", [rebuilt.to_string_lossy()])?;
    for table in tables(connection)? {
        compare_table(connection, name, &table, findings, report)?;
    }
    connection.execute("DETACH DATABASE rebuilt", [])?;
    Ok(())
}

/// Every table but the checkpoint, which both were brought to.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let sql =
        "SELECT name FROM rebuilt.sqlite_schema WHERE type = 'table' AND name <> 'checkpoint' ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| table(connection, name?)).collect()
}

fn table(connection: &Connection, name: String) -> rusqlite::Result<Table> {
    let mut statement =
        connection.prepare("SELECT name, pk FROM pragma_table_info(?1, 'rebuilt') ORDER BY cid")?;
    let columns =
        statement.query_map([&name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let columns: Vec<(String, i64)> = columns.collect::<Result<_, _>>()?;
    let mut key: Vec<usize> = (0..columns.len()).filter(|index| columns[*index].1 > 0).collect();
    key.sort_by_key(|index| columns[*index].1);
    Ok(Table { name, columns: columns.into_iter().map(|(name, _)| name).collect(), key })
}

impl Table {
    /// All rows of it, in the order of the key.
    fn select(&self, schema: &str) -> String {
        let quoted = |index: usize| format!("\"{}\"", self.columns[index]);
        let columns: Vec<String> = (0..self.columns.len()).map(quoted).collect();
        let key: Vec<String> = self.key.iter().map(|index| quoted(*index)).collect();
        format!("SELECT {} FROM {schema}.\"{}\" ORDER BY {}", columns.join(", "), self.name, key.join(", "))
    }

    fn next(&self, rows: &mut Rows<'_>) -> rusqlite::Result<Option<Vec<Value>>> {
        let row = rows.next()?;
        row.map(|row| (0..self.columns.len()).map(|column| row.get(column)).collect()).transpose()
    }

    fn compare_keys(&self, one: &[Value], other: &[Value]) -> Ordering {
        let unequal =
            |index: &usize| Some(compare_values(&one[*index], &other[*index])).filter(|o| o.is_ne());
        self.key.iter().find_map(unequal).unwrap_or(Ordering::Equal)
    }

    /// How a row is called: `readings (default, ada, 7)`.
    fn place(&self, view: &str, row: &[Value]) -> String {
        let key: Vec<String> = self.key.iter().map(|index| shown(&row[*index])).collect();
        format!("{view}, {} ({})", self.name, key.join(", "))
    }
}

fn compare_table(
    connection: &Connection,
    name: &str,
    table: &Table,
    findings: &mut Findings,
    report: Report<'_>,
) -> rusqlite::Result<()> {
    let count = format!("SELECT count(*) FROM rebuilt.\"{}\"", table.name);
    let of: i64 = connection.query_row(&count, [], |row| row.get(0))?;
    let mut statement = connection.prepare(&table.select("main"))?;
    let mut ours = statement.query([])?;
    let mut statement = connection.prepare(&table.select("rebuilt"))?;
    let mut theirs = statement.query([])?;
    let (mut mine, mut right) = (table.next(&mut ours)?, table.next(&mut theirs)?);
    let mut done = 0;
    loop {
        let order = match (&mine, &right) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(mine), Some(right)) => table.compare_keys(mine, right),
        };
        if order.is_lt() {
            findings
                .add(&table.place(name, mine.as_deref().unwrap_or_default()), "a rebuild does not have it");
        } else if order.is_gt() {
            findings.add(&table.place(name, right.as_deref().unwrap_or_default()), "it is missing");
        } else if let (Some(mine), Some(right)) = (&mine, &right) {
            let unequal = (0..mine.len()).filter(|index| mine[*index] != right[*index]);
            for index in unequal {
                let (found, expected) = (shown(&mine[index]), shown(&right[index]));
                let column = &table.columns[index];
                findings
                    .add(&table.place(name, mine), format!("{column} is {found}, in a rebuild {expected}"));
            }
        }
        if order.is_le() {
            mine = table.next(&mut ours)?;
        }
        if order.is_ge() {
            right = table.next(&mut theirs)?;
            done += 1;
        }
        if done % ROWS_PER_REPORT == 0 {
            report(Progress { doing: "comparing the view", done, of: of as u64 });
        }
    }
}

/// As SQLite orders them.
fn compare_values(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) => one.as_bytes().cmp(other.as_bytes()),
        (Value::Blob(one), Value::Blob(other)) => one.cmp(other),
        (Value::Integer(_), _) | (Value::Text(_), Value::Blob(_)) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

/// A value in few characters: it may be a person's.
fn shown(value: &Value) -> String {
    const MOST: usize = 40;
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) if text.chars().count() <= MOST => text.clone(),
        Value::Text(text) => format!("{}…", text.chars().take(MOST).collect::<String>()),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}
