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

use crate::job::Job;
use crate::record::{Contents, Names, Record, Stamps, make_directory};

const SCHEMA: &str = "
DROP TABLE IF EXISTS seen; DROP TABLE IF EXISTS dist; DROP TABLE IF EXISTS point;
CREATE TABLE seen (at INTEGER PRIMARY KEY, path TEXT, mtime INTEGER);
CREATE TABLE dist (number INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE point (at INTEGER PRIMARY KEY, dist INTEGER, grp TEXT, name TEXT, value TEXT);
";

/// Made when all rows are there: to sort once is less than to find each row's place.
const INDEXES: &str = "
CREATE INDEX dist_name ON dist (name);
CREATE INDEX point_grp ON point (grp);
";

/// With fewer rows, to read them all takes no longer than to open an index.
const WORTH_AN_INDEX: usize = 50;

/// Names stay in the database until somebody asks.
impl Names for Connection {
    fn of(&self, dists: &HashSet<usize>) -> Option<HashMap<usize, String>> {
        let mut query = self
            .prepare("SELECT name FROM dist WHERE number = ?")
            .ok()?;
        let mut name = |&dist: &usize| {
            let name = query.query_row([dist as i64], |row| row.get(0)).ok()?;
            Some((dist, name))
        };
        dists.iter().map(&mut name).collect()
    }

    fn drop_known(&self, dists: &mut HashMap<usize, String>) -> Option<()> {
        let mut query = self.prepare("SELECT 1 FROM dist WHERE name = ?").ok()?;
        let mut known = HashSet::new();
        for (dist, name) in &*dists {
            if query.exists([name]).ok()? {
                known.insert(*dist);
            }
        }
        dists.retain(|dist, _| !known.contains(dist));
        Some(())
    }
}

/// What a file holds of what is wanted; `None` unless it is one of these `seen`. What a killed writer left
/// can't be rolled back here, which is an error, and so done when the file is written again.
pub(crate) fn load(path: &Path, job: &Job, seen: &Stamps) -> Option<Record> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags).ok()?;
    read(database, job, seen).ok().flatten()
}

fn read(database: Connection, job: &Job, seen: &Stamps) -> Result<Option<Record>> {
    // The shared lock is kept until the end, so that all is of one state. A transaction would take it twice:
    // for the schema, too.
    database.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
    let mut query = database.prepare("SELECT path, mtime FROM seen ORDER BY at")?;
    let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if found.collect::<Result<Stamps>>()? != *seen {
        return Ok(None);
    }
    drop(query);
    if job.is_build() {
        let (names, rows) = (Box::new(database), Vec::new());
        return Ok(Some(Record { names, rows }));
    }
    let mut query = database.prepare(match job.group {
        Some(_) => "SELECT dist, grp, name, value FROM point WHERE grp = ? ORDER BY at",
        None => "SELECT dist, grp, name, value FROM point WHERE ? IS NULL ORDER BY at",
    })?;
    let rows = query.query_map([&job.group], row)?.collect::<Result<_>>()?;
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
    let Err(error) = write(path, contents) else {
        return;
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => make_directory(path),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            let _ = std::fs::remove_file(path);
        }
        _ => return,
    }
    let _ = write(path, contents);
}

fn write(path: &Path, contents: &Contents) -> Result<()> {
    let mut database = Connection::open(path)?;
    database.execute_batch("PRAGMA synchronous = OFF")?;
    // Before anything is looked at: who begins by reading can't wait for another writer.
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
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
    if contents.rows.len() >= WORTH_AN_INDEX {
        transaction.execute_batch(INDEXES)?;
    }
    transaction.commit()
}
