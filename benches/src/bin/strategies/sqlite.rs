//! The files of `sqlite-*`: a database, with an index on the group.
//!
//! Databases are not renamed into place: readers and writers have SQLite's locks, and a rebuild is one
//! transaction. The journal is the usual one and not WAL, which needs shared memory (so no network file
//! system), two more files for each reader to open, and pays where writing is frequent. What is written is
//! not waited for (`synchronous`): a cache that a power cut damages is made again, as those of the other
//! formats.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use epcache::EntryPoint;
use rusqlite::{Connection, ErrorCode, OpenFlags, Result, Row, TransactionBehavior, params};

use crate::record::{Contents, Names, Record, Stamps, make_directory};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS seen (at INTEGER PRIMARY KEY, path TEXT, mtime INTEGER);
CREATE TABLE IF NOT EXISTS dist (number INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE IF NOT EXISTS point
    (at INTEGER PRIMARY KEY, dist INTEGER, grp TEXT, name TEXT, value TEXT);
DELETE FROM seen; DELETE FROM dist; DELETE FROM point;
";

const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS dist_name ON dist (name);
CREATE INDEX IF NOT EXISTS point_grp ON point (grp);
";

/// With fewer rows, to read them all takes no longer than to open an index.
const WORTH_AN_INDEX: usize = 50;

/// Names stay in the database until somebody asks.
impl Names for Connection {
    fn of(&self, dists: &HashSet<usize>) -> HashMap<usize, String> {
        let query = self.prepare("SELECT name FROM dist WHERE number = ?");
        let Ok(mut query) = query else {
            return HashMap::new();
        };
        let mut name = |&dist: &usize| {
            let name = query.query_row([dist as i64], |row| row.get(0)).ok()?;
            Some((dist, name))
        };
        dists.iter().filter_map(&mut name).collect()
    }

    fn drop_known(&self, dists: &mut HashMap<usize, String>) {
        if let Ok(mut query) = self.prepare("SELECT 1 FROM dist WHERE name = ?") {
            dists.retain(|_, name| !query.exists([&*name]).unwrap_or(false));
        }
    }
}

/// What a file holds about one group, or about all; `None` unless it is one of these `seen`.
pub(crate) fn load(path: &Path, group: Option<&str>, seen: &Stamps) -> Option<Record> {
    // Not to be created; to be written, because what a killed writer left is rolled back.
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    read(database, group, seen).ok().flatten()
}

fn read(database: Connection, group: Option<&str>, seen: &Stamps) -> Result<Option<Record>> {
    // One transaction, so that all is of one state.
    database.execute_batch("BEGIN")?;
    let mut query = database.prepare("SELECT path, mtime FROM seen ORDER BY at")?;
    let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if found.collect::<Result<Stamps>>()? != *seen {
        return Ok(None);
    }
    drop(query);
    let mut query = database.prepare(match group {
        Some(_) => "SELECT dist, grp, name, value FROM point WHERE grp = ? ORDER BY at",
        None => "SELECT dist, grp, name, value FROM point WHERE ? IS NULL ORDER BY at",
    })?;
    let rows = query.query_map([group], row)?.collect::<Result<_>>()?;
    drop(query);
    let names = Box::new(database);
    Ok(Some(Record { names, rows }))
}

fn row(row: &Row<'_>) -> Result<(usize, EntryPoint)> {
    let point = EntryPoint {
        group: row.get(1)?,
        name: row.get(2)?,
        value: row.get(3)?,
    };
    Ok((row.get::<_, i64>(0)? as usize, point))
}

/// Writes a file, in place. A damaged one is removed and made again. It need not be possible.
pub(crate) fn save(path: &Path, contents: &Contents) {
    make_directory(path);
    let Err(error) = write(path, contents) else {
        return;
    };
    let damaged = [ErrorCode::NotADatabase, ErrorCode::DatabaseCorrupt];
    if error
        .sqlite_error_code()
        .is_some_and(|code| damaged.contains(&code))
    {
        let _ = std::fs::remove_file(path);
        let _ = write(path, contents);
    }
}

fn write(path: &Path, contents: &Contents) -> Result<()> {
    let mut database = Connection::open(path)?;
    database.execute_batch("PRAGMA synchronous = OFF")?;
    // Before anything is looked at: who begins by reading can't wait for another writer.
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    if contents.rows.len() >= WORTH_AN_INDEX {
        transaction.execute_batch(INDEXES)?;
    }
    let mut insert = transaction.prepare("INSERT INTO seen VALUES (?, ?, ?)")?;
    for (at, (path, mtime)) in contents.seen.iter().enumerate() {
        insert.execute(params![at as i64, path, mtime])?;
    }
    drop(insert);
    let mut insert = transaction.prepare("INSERT INTO dist VALUES (?, ?)")?;
    for (number, name) in contents.names.iter().enumerate() {
        insert.execute(params![number as i64, name])?;
    }
    drop(insert);
    let mut insert = transaction.prepare("INSERT INTO point VALUES (?, ?, ?, ?, ?)")?;
    for (at, (dist, point)) in contents.rows.iter().enumerate() {
        let EntryPoint { group, name, value } = point;
        insert.execute(params![at as i64, *dist as i64, group, name, value])?;
    }
    drop(insert);
    transaction.commit()
}
