//! The index: the one derived file in a mirror that readers read. `docs/format.md` specifies it.
//!
//! Written from one scan, read at once, and looked up by searching for the line of the group. What
//! is damaged in any way is no index: reading gives `None` and the sources answer.

use crate::dist;
use crate::parse::Entry;
use crate::scan::{Below, Check, Dist};
use crate::stamp::{self, Stamp};
use crate::text::is_plain;
use memchr::{memchr, memmem};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The name of the index in a mirror. No mirror file can have it.
pub(crate) const FILE_NAME: &str = ".index";

/// The first line: what it is, and the version of the format.
const MAGIC: &str = "epcache 1\n";

/// The last line, so that a truncated index is known for what it is.
const END: &str = "\nend\n";

/// The largest index that is written or read, in bytes: some hundred times that of the largest
/// environments, and still read at once.
pub(crate) const MAX_INDEX: u64 = 64 << 20;

/// The largest text that goes into an index, in bytes; a dist with a larger one is read from its
/// source, so that nobody else pays for it.
const MAX_TEXT: usize = 1 << 20;

/// The longest name of a metadata directory in an index, in bytes: with `.txt` behind it, it must
/// still be a file name.
const MAX_NAME: usize = 255 - ".txt".len();

/// Whether a file starts as an index of any version does.
pub(crate) fn is_one(path: &Path) -> bool {
    let (word, _) = MAGIC.split_at("epcache ".len());
    let mut start = vec![0; word.len()];
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|stat| stat.is_file());
    let mut read = || std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    is_file && read().is_ok() && start == word.as_bytes()
}

/// By what an index tells that its path entry is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The path entry has this stamp.
    Stamp(Stamp),
    /// Never: the stamp could not be believed. The dists' own may be.
    Never,
    /// The builder of an image vouches for it, as long as the modification time of the path entry
    /// is in this second.
    Sealed(i128),
}

/// One dist in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexedDist<'a> {
    /// What it declares is here, as long as its checks hold.
    Here {
        normalized_name: &'a str,
        metadata_dir: &'a str,
        checks: &'a str,
    },
    /// It can't be indexed: to be read from its source each time.
    ReadItYourself { hex: &'a str },
}

/// One entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexedEntry<'a> {
    /// Which dist, counted from 0 in the index's order.
    pub(crate) dist: usize,
    /// Which entry of its dist, counted from 0 in the order of the file, across groups.
    pub(crate) sequence: usize,
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    /// Both, as they stand in the line.
    pub(crate) text: &'a str,
}

/// An index, read.
#[derive(Debug)]
pub(crate) struct Index {
    text: String,
    pub(crate) freshness: Freshness,
    dists: Vec<DistLine>,
    /// Where the newline before the first group is.
    groups: usize,
}

/// Where the fields of a dist's line are in the text: positions rather than slices, so that an index
/// owns all that it is; [`MAX_INDEX`] keeps them small.
#[derive(Clone, Copy, Debug)]
struct DistLine {
    here: bool,
    /// The normalized name; of one to be read by oneself, the hexadecimal name of its directory.
    name: (u32, u32),
    metadata_dir: (u32, u32),
    checks: (u32, u32),
}

impl<'a> IndexedDist<'a> {
    /// The name of the metadata directory.
    pub(crate) fn metadata_dir(&self) -> Cow<'a, OsStr> {
        match *self {
            Self::Here { metadata_dir, .. } => Cow::Borrowed(OsStr::new(metadata_dir)),
            Self::ReadItYourself { hex } => {
                Cow::Owned(OsString::from_vec(from_hex(hex).unwrap_or_default()))
            }
        }
    }

    /// Whether what it declares is here and all its checks hold: one `stat` for most dists. `False`
    /// where there is nothing to check.
    pub(crate) fn holds(&self, below: &mut Below) -> bool {
        let Self::Here {
            metadata_dir,
            checks,
            ..
        } = *self
        else {
            return false;
        };
        let holds = |check| {
            Check::parse(check).is_some_and(|check| check.holds(below, metadata_dir.as_ref()))
        };
        !checks.is_empty() && checks.split('\t').all(holds)
    }
}

impl Index {
    /// Reads an index of `path_entry`; `None` if it is damaged, of another version or of another
    /// path entry.
    pub(crate) fn parse(text: Vec<u8>, path_entry: &str) -> Option<Self> {
        if memchr(0, &text).is_some() {
            return None; // what a power cut leaves of a file is often zeros
        }
        let text = String::from_utf8(text).ok()?;
        let body = text.strip_suffix(END)?.len() + 1; // the newline before the mark ends the last line
        let rest = text[..body].strip_prefix(MAGIC)?;
        let rest = rest
            .strip_prefix("path ")?
            .strip_prefix(path_entry)?
            .strip_prefix('\n')?;
        let (freshness, rest) = rest.split_once('\n')?;
        let freshness = parse_freshness(freshness)?;
        let mut dists = Vec::new();
        let mut at = body - rest.len();
        while at < body && text.as_bytes()[at] != b'[' {
            let end = at + memchr(b'\n', &text.as_bytes()[at..body])?;
            dists.push(DistLine::parse(&text, at, end)?);
            at = end + 1;
        }
        Some(Self {
            freshness,
            dists,
            groups: at - 1,
            text,
        })
    }

    /// The bytes as they are in the file.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// How many dists there are.
    pub(crate) fn len(&self) -> usize {
        self.dists.len()
    }

    /// One of the dists, counted from 0, of [`Index::len`].
    pub(crate) fn dist(&self, number: usize) -> IndexedDist<'_> {
        let line = self.dists[number];
        let field = |(start, end): (u32, u32)| &self.text[start as usize..end as usize];
        if !line.here {
            return IndexedDist::ReadItYourself {
                hex: field(line.name),
            };
        }
        IndexedDist::Here {
            normalized_name: field(line.name),
            metadata_dir: field(line.metadata_dir),
            checks: field(line.checks),
        }
    }

    /// Whether what one of the dists declares is here.
    pub(crate) fn is_here(&self, number: usize) -> bool {
        self.dists[number].here
    }

    /// All dists, in order.
    pub(crate) fn dists(&self) -> impl Iterator<Item = IndexedDist<'_>> {
        (0..self.len()).map(|number| self.dist(number))
    }

    /// The entries of one group, by dist and then in the order of the file. `None` if the lines are
    /// damaged.
    pub(crate) fn group(&self, group: &str) -> Option<Vec<IndexedEntry<'_>>> {
        if group.contains('\n') {
            return Some(Vec::new());
        }
        let line = format!("\n[{group}]\n");
        let groups = self.groups_text();
        match memmem::find(groups.as_bytes(), line.as_bytes()) {
            Some(at) => self.entries(&groups[at + line.len()..]).collect(),
            None => Some(Vec::new()),
        }
    }

    /// All groups with their entries. `None` if the lines are damaged.
    pub(crate) fn groups(&self) -> Option<Vec<(&str, Vec<IndexedEntry<'_>>)>> {
        let mut found = Vec::new();
        let mut rest = &self.groups_text()[1..];
        while let Some((line, after)) = rest.split_once('\n') {
            if let Some(group) = line.strip_prefix('[') {
                found.push((
                    group.strip_suffix(']')?,
                    self.entries(after).collect::<Option<_>>()?,
                ));
            }
            rest = after;
        }
        Some(found)
    }

    /// The records of all dists, in order. `None` if any line is damaged.
    pub(crate) fn records(&self) -> Option<Vec<Record<'_>>> {
        let mut entries = vec![Vec::new(); self.len()];
        for (group, found) in self.groups()? {
            for entry in found {
                entries[entry.dist].push((entry.sequence, (group.into(), entry.text.into())));
            }
        }
        let dists = (0..self.len()).map(|number| self.dist(number));
        Some(
            dists
                .zip(entries)
                .map(|(dist, entries)| Record::indexed(dist, entries))
                .collect(),
        )
    }

    /// From the newline before the first group to the one before the end mark.
    fn groups_text(&self) -> &str {
        &self.text[self.groups..self.text.len() + 1 - END.len()]
    }

    /// The entries up to the next group; `None` for a line that is none.
    fn entries<'a>(&'a self, lines: &'a str) -> impl Iterator<Item = Option<IndexedEntry<'a>>> {
        lines
            .split_terminator('\n')
            .take_while(|line| !line.starts_with('['))
            .map(|line| {
                let (dist, rest) = line.split_once(' ')?;
                let (sequence, rest) = rest.split_once(' ')?;
                let (name, value) = rest.split_once('=')?;
                let dist = number(dist).filter(|&dist| dist < self.len())?;
                Some(IndexedEntry {
                    dist,
                    sequence: number(sequence)?,
                    name,
                    value,
                    text: rest,
                })
            })
    }
}

/// A number of digits alone: without the sign that Rust's own parsing takes.
fn number(text: &str) -> Option<usize> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn parse_freshness(line: &str) -> Option<Freshness> {
    match line.split_once(' ')? {
        ("stamp", "-") => Some(Freshness::Never),
        ("stamp", stamp) => Stamp::parse(stamp).map(Freshness::Stamp),
        ("sealed", seconds) => stamp::integer(seconds).map(Freshness::Sealed),
        _ => None,
    }
}

impl DistLine {
    /// Reads the line from `start` to `end` of a text.
    fn parse(text: &str, start: usize, end: usize) -> Option<Self> {
        let line = &text.as_bytes()[start..end];
        let here = line.starts_with(b"dist\t");
        let name = start + b"dist\t".len(); // as long as the other word
        if !here {
            from_hex(text[start..end].strip_prefix("self\t")?).filter(|name| is_file_name(name))?;
        }
        let field_end =
            |from: usize| memchr(b'\t', &text.as_bytes()[from..end]).map(|length| from + length);
        let range =
            |start: usize, end: usize| Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?));
        if !here {
            let none = range(end, end)?;
            return Some(Self {
                here,
                name: range(name, end)?,
                metadata_dir: none,
                checks: none,
            });
        }
        let name_end = field_end(name).filter(|&name_end| name_end > name)?;
        let dir_end = field_end(name_end + 1).unwrap_or(end);
        let metadata_dir = &text.as_bytes()[name_end + 1..dir_end];
        if !is_file_name(metadata_dir) {
            return None;
        }
        Some(Self {
            here,
            name: range(name, name_end)?,
            metadata_dir: range(name_end + 1, dir_end)?,
            checks: range((dir_end + 1).min(end), end)?,
        })
    }
}

/// What goes into an index for one dist; borrowed from an older index, where it is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Here {
        normalized_name: Cow<'a, str>,
        metadata_dir: Cow<'a, str>,
        /// As in its line: a tab between two.
        checks: Cow<'a, str>,
        entries: Vec<RecordedEntry<'a>>,
    },
    ReadItYourself {
        metadata_dir: Vec<u8>,
    },
}

/// The group of an entry, and the rest of its line: `name=value`.
type RecordedEntry<'a> = (Cow<'a, str>, Cow<'a, str>);

impl<'a> Record<'a> {
    /// The record that an index holds, with its entries, each with its sequence number.
    fn indexed(dist: IndexedDist<'a>, mut entries: Vec<(usize, RecordedEntry<'a>)>) -> Self {
        match dist {
            IndexedDist::ReadItYourself { .. } => Self::read_it_yourself(&dist.metadata_dir()),
            IndexedDist::Here {
                normalized_name,
                metadata_dir,
                checks,
            } => {
                entries.sort_unstable_by_key(|&(sequence, _)| sequence);
                Self::Here {
                    normalized_name: normalized_name.into(),
                    metadata_dir: metadata_dir.into(),
                    checks: checks.into(),
                    entries: entries.into_iter().map(|(_, entry)| entry).collect(),
                }
            }
        }
    }

    /// The record of a dist as it was just read.
    pub(crate) fn of(dist: &'a Dist) -> Self {
        match (&dist.normalized_name, &dist.checks) {
            (Some(name), Some(checks)) if fits(dist, name) => {
                let checks: Vec<_> = checks.iter().map(Check::to_string).collect();
                let entry =
                    |e: Entry<'a>| (e.group.into(), format!("{}={}", e.name, e.value).into());
                Self::Here {
                    normalized_name: dist::shown(name),
                    metadata_dir: dist::shown(dist.metadata_dir.as_bytes()),
                    checks: checks.join("\t").into(),
                    entries: dist.entries().map(entry).collect(),
                }
            }
            _ => Self::read_it_yourself(&dist.metadata_dir),
        }
    }

    /// The record of a dist that readers must read from its source.
    pub(crate) fn read_it_yourself(metadata_dir: &OsStr) -> Self {
        Self::ReadItYourself {
            metadata_dir: metadata_dir.as_bytes().to_owned(),
        }
    }
}

/// Whether names and text can stand in an index.
fn fits(dist: &Dist, normalized_name: &[u8]) -> bool {
    !normalized_name.is_empty()
        && is_plain(normalized_name)
        && can_be_mirrored(&dist.metadata_dir)
        && dist.problems.is_empty()
        && normalized_name.len() <= MAX_NAME
        && dist
            .text
            .as_ref()
            .is_none_or(|text| text.len() <= MAX_TEXT && memchr(0, text).is_none())
}

/// Whether a metadata directory's name can be that of a mirror file and stand in an index.
pub(crate) fn can_be_mirrored(metadata_dir: &OsStr) -> bool {
    metadata_dir.len() <= MAX_NAME && is_plain(metadata_dir.as_bytes())
}

/// The text of an index. Deterministic: depends on its arguments alone.
pub(crate) fn render(path_entry: &str, freshness: Freshness, dists: &[Record<'_>]) -> String {
    let mut text = format!("{MAGIC}path {path_entry}\n");
    match freshness {
        Freshness::Stamp(stamp) => line(&mut text, format_args!("stamp {stamp}")),
        Freshness::Never => line(&mut text, format_args!("stamp -")),
        Freshness::Sealed(seconds) => line(&mut text, format_args!("sealed {seconds}")),
    }
    let mut groups: BTreeMap<&str, String> = BTreeMap::new();
    for (number, dist) in dists.iter().enumerate() {
        match dist {
            Record::ReadItYourself { metadata_dir } => {
                line(&mut text, format_args!("self\t{}", to_hex(metadata_dir)));
            }
            Record::Here {
                normalized_name,
                metadata_dir,
                checks,
                entries,
            } => {
                text.extend(["dist\t", normalized_name, "\t", metadata_dir]);
                // A sealed index has no checks: what it promises does not rest on them, and they
                // would not survive the image. Nor have the dists of a zip.
                if !checks.is_empty() && !matches!(freshness, Freshness::Sealed(_)) {
                    text.extend(["\t", checks]);
                }
                text.push('\n');
                for (sequence, (group, entry)) in entries.iter().enumerate() {
                    let group = groups.entry(group).or_default();
                    line(group, format_args!("{number} {sequence} {entry}"));
                }
            }
        }
    }
    for (group, entries) in groups {
        text.extend(["[", group, "]\n"]);
        text.push_str(&entries);
    }
    text.push_str(&END[1..]);
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(line);
    text.push('\n');
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if hex.is_empty() || !hex.len().is_multiple_of(2) || !hex.bytes().all(is_digit) {
        return None;
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
        .collect()
}

/// Whether it can be the name of a metadata directory: of something in the path entry.
fn is_file_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|b| matches!(b, b'/' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> String {
        let entries = vec![
            ("z".into(), "x=1".into()),
            ("a".into(), "=2".into()),
            ("z".into(), "y=".into()),
        ];
        render(
            "/x",
            Freshness::Stamp(Stamp::parse("9:8:7:6").expect("is a stamp")),
            &[
                Record::Here {
                    normalized_name: "six".into(),
                    metadata_dir: "six-1.dist-info".into(),
                    checks: "E1:2:3:4".into(),
                    entries,
                },
                Record::ReadItYourself {
                    metadata_dir: b"a\n[z]-1.dist-info".to_vec(),
                },
            ],
        )
    }

    #[test]
    fn an_index_is_written_as_the_format_says() {
        let expected = "epcache 1\npath /x\nstamp 9:8:7:6\ndist\tsix\tsix-1.dist-info\tE1:2:3:4\nself\t610a5b7a5d2d312e646973742d696e666f\n[a]\n0 1 =2\n[z]\n0 0 x=1\n0 2 y=\nend\n";
        assert_eq!(example(), expected);
    }

    #[test]
    fn a_group_is_found_with_its_entries_and_no_others() {
        let text = example();
        let index = Index::parse(text.clone().into_bytes(), "/x").expect("is an index");
        let entry = |sequence, text: &'static str| {
            let (name, value) = text.split_once('=').expect("is an entry");
            IndexedEntry {
                dist: 0,
                sequence,
                name,
                value,
                text,
            }
        };
        assert_eq!(
            index.group("z"),
            Some(vec![entry(0, "x=1"), entry(2, "y=")])
        );
        assert_eq!(index.group("a"), Some(vec![entry(1, "=2")]));
        assert_eq!(index.group(""), Some(vec![]));
        assert_eq!(index.group("a]\n0 1 =2\n[z"), Some(vec![]));
        assert_eq!(index.groups().map(|groups| groups.len()), Some(2));
        assert_eq!(
            index.dist(1).metadata_dir(),
            OsStr::new("a\n[z]-1.dist-info")
        );
    }

    #[test]
    fn an_index_cut_at_any_byte_is_none() {
        let text = example();
        for end in 0..text.len() {
            assert!(
                Index::parse(text.as_bytes()[..end].to_vec(), "/x").is_none(),
                "cut at {end}"
            );
        }
    }

    #[test]
    fn an_index_of_another_path_entry_or_version_is_none() {
        let text = example();
        assert!(Index::parse(text.clone().into_bytes(), "/").is_none());
        assert!(Index::parse(text.clone().into_bytes(), "/xy").is_none());
        assert!(Index::parse(text.replace("epcache 1", "epcache 2").into_bytes(), "/x").is_none());
    }

    fn is_index(text: &str) -> bool {
        Index::parse(text.as_bytes().to_vec(), "/x").is_some()
    }

    #[test]
    fn an_index_with_a_bad_line_of_a_dist_is_none() {
        let hex = "610a5b7a5d2d312e646973742d696e666f";
        assert!(is_index(&example()));
        for bad in [
            "",                             // no name
            "6",                            // half a byte
            "6A",                           // a capital letter
            "zz",                           // no hexadecimal
            "+1",                           // a sign
            "61\t62",                       // one field more
            "2e2e2f782e646973742d696e666f", // ../x.dist-info
            "2f782e646973742d696e666f",     // /x.dist-info
            "782f2e646973742d696e666f",     // x/.dist-info
            "78002d312e646973742d696e666f", // a NUL
        ] {
            assert!(!is_index(&example().replace(hex, bad)), "{bad:?}");
        }
        let dist = "dist\tsix\tsix-1.dist-info\t";
        for bad in [
            "dist\t\tsix-1.dist-info\t",
            "dist\tsix\t\t",
            "dist\tsix\t../six-1.dist-info\t",
            "dist six six-1.dist-info ",
            "Dist\tsix\tsix-1.dist-info\t",
        ] {
            assert!(!is_index(&example().replace(dist, bad)), "{bad:?}");
        }
    }

    #[test]
    fn a_freshness_line_is_a_stamp_or_a_seal_and_nothing_else() {
        for (line, freshness) in [
            ("stamp -", Some(Freshness::Never)),
            (
                "stamp 9:8:7:6",
                Some(Freshness::Stamp(
                    Stamp::parse("9:8:7:6").expect("is a stamp"),
                )),
            ),
            ("sealed 5", Some(Freshness::Sealed(5))),
            ("sealed -5", Some(Freshness::Sealed(-5))),
            ("sealed +5", None),
            ("sealed 5 ", None),
            ("sealed 1_5", None),
            ("sealed \u{0665}", None),
            ("sealed 0x5", None),
            ("sealed -", None),
            ("sealed ", None),
            ("sealed", None),
            ("sealed 9223372036854775808", None),
            ("stamp +9:8:7:6", None),
            ("stamp", None),
            ("Stamp -", None),
        ] {
            assert_eq!(parse_freshness(line), freshness, "{line:?}");
        }
    }

    #[test]
    fn a_group_with_a_line_that_is_no_entry_is_damaged_and_the_others_are_not() {
        for bad in [
            "+0 0 x=1",
            "0 +0 x=1",
            "-0 0 x=1",
            "0_0 0 x=1",
            "\u{0660} 0 x=1",
            "0x0 0 x=1",
            " 0 0 x=1",
            "0  0 x=1",
            " 0 x=1",
            "0  x=1",
            "0 x=1",
            "0 0 x",
            "2 0 x=1",
            "99999999999999999999 0 x=1",
            "",
        ] {
            let text = example().replace("0 0 x=1", bad);
            let index = Index::parse(text.into_bytes(), "/x").expect("is an index");
            assert_eq!(index.group("z"), None, "{bad:?}");
            assert_eq!(index.groups(), None, "{bad:?}");
            assert_eq!(index.group("a").map(|entries| entries.len()), Some(1));
        }
    }

    #[test]
    fn an_empty_index_holds_no_groups() {
        let text = render("/x", Freshness::Never, &[]);
        let index = Index::parse(text.clone().into_bytes(), "/x").expect("is an index");
        assert_eq!((index.len(), index.groups()), (0, Some(vec![])));
    }
}
