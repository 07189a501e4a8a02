//! Random cases for the test against CPython: what is on some path entries, how `sys.path` spells
//! them, what then happens to them, and what happens to the cache.
//!
//! A [`Case`] is plain data, so that it can be printed and shrunk; `scene` puts it on disk. The
//! pools below are small on purpose: two things that are chosen independently should often
//! collide, because shadowing, grouping and reuse are where answers go wrong.

use std::fmt;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// One random situation and what happens in it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What there is in the scratch directory to be a path entry.
    pub places: Vec<Place>,
    /// `sys.path`: a place each (counted modulo their number), and how it is spelled.
    pub sys_path: Vec<(usize, Spelling)>,
    /// The modification times that the files are given at first.
    pub times: Times,
    /// What happens to the places after the first sync.
    pub changes: Vec<Change>,
    /// What happens to the cache at last.
    pub damages: Vec<Damage>,
    /// Whether mode `off` is asked too.
    pub asks_mode_off: bool,
}

/// Something that can be a path entry.
#[derive(Clone, Debug)]
pub struct Place {
    /// The start of its name.
    pub stem: Bytes,
    /// The end of its name; the scene puts the place's number in between.
    pub suffix: &'static str,
    /// What it is.
    pub kind: PlaceKind,
}

/// What a path entry is.
#[derive(Clone, Debug)]
pub enum PlaceKind {
    /// A directory with distributions.
    Directory(Vec<Dist>),
    /// A zip file.
    Zip(Zip),
    /// A file that is no zip file.
    File(Bytes),
    /// A symbolic link to another place (counted modulo their number).
    LinkTo(usize),
    /// Nothing.
    Missing,
}

/// How an item of `sys.path` spells its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `/scratch/place`
    Plain,
    /// `/scratch/place/`
    TrailingSlash,
    /// `/scratch//place`
    DoubledSlash,
    /// `//scratch/place`
    LeadingSlashes,
    /// `/scratch/./place`
    Dot,
    /// `/scratch/cwd/../place`
    DotDot,
    /// `../place`, from a current directory inside the scratch directory
    Relative,
    /// `.`: the current directory, which is the first place if that is a directory
    CurrentDirectory,
    /// the empty string, which means the same
    Empty,
    /// `/scratch/place/sub`
    Inside,
}

/// One distribution in a directory.
#[derive(Clone, Debug)]
pub struct Dist {
    /// The metadata directory's name.
    pub name: Bytes,
    /// What has that name.
    pub kind: DistKind,
}

/// What a metadata directory is.
#[derive(Clone, Debug)]
pub enum DistKind {
    /// A directory.
    Directory(Metadata),
    /// A symbolic link to a directory elsewhere.
    LinkedDirectory(Metadata),
    /// A file.
    File(Bytes),
    /// A symbolic link to nothing.
    Dangling,
    /// A symbolic link to itself.
    Loop,
}

/// What is in a metadata directory.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// `entry_points.txt`.
    pub text: Text,
    /// `METADATA`, if there is one.
    pub metadata: Option<Bytes>,
    /// `PKG-INFO`, if there is one.
    pub pkg_info: Option<Bytes>,
}

/// What `entry_points.txt` is.
#[derive(Clone, Debug)]
pub enum Text {
    /// It does not exist.
    Missing,
    /// A file.
    File(Bytes),
    /// A symbolic link to a file elsewhere.
    Symlink(Bytes),
    /// A second hard link of a file elsewhere.
    HardLink(Bytes),
    /// A directory.
    Directory,
    /// A symbolic link to nothing.
    Dangling,
    /// A symbolic link to itself.
    Loop,
}

/// A zip file.
#[derive(Clone, Debug)]
pub struct Zip {
    /// Its distributions, as members in this order.
    pub dists: Vec<ZipDist>,
    /// Members that do not belong to one of them.
    pub others: Vec<(String, Bytes)>,
    /// Whether all `entry_points.txt` come after everything else, so that the distributions'
    /// members are not in one run.
    pub scattered: bool,
    /// Data in front of the archive.
    pub before: Bytes,
    /// Whether the archive's offsets count that data too.
    pub offsets_count_from_file_start: bool,
}

/// One distribution in a zip file.
#[derive(Clone, Debug)]
pub struct ZipDist {
    /// The metadata directory's name.
    pub name: String,
    /// Whether the directory is a member of its own, and is not only implied.
    pub has_directory_member: bool,
    /// Whether there is a member that is a file of that name.
    pub is_file_too: bool,
    /// `entry_points.txt`, each time it is in the archive.
    pub texts: Vec<Bytes>,
    /// `METADATA`.
    pub metadata: Option<Bytes>,
    /// `PKG-INFO`.
    pub pkg_info: Option<Bytes>,
    /// Whether its members are deflated.
    pub deflated: bool,
}

/// Which modification times files get when they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The moment's, as they come.
    Now,
    /// Long ago, with nanoseconds.
    Old,
    /// Long ago, in whole seconds, as archives record them.
    WholeSeconds,
    /// A day ahead.
    Future,
}

/// Something that happens to a path entry, without a sync after it.
///
/// Places and distributions are counted modulo the number of those that the change applies to at
/// that moment; where there is none, nothing happens.
#[derive(Clone, Debug)]
pub enum Change {
    /// A distribution is added.
    Install(usize, Dist),
    /// A distribution is removed and made again under the same name, at once, so that inode
    /// numbers are reused; and gets its old modification times back if `keep_times`.
    Reinstall {
        /// The place.
        place: usize,
        /// The distribution in it.
        dist: usize,
        /// What it then holds.
        metadata: Metadata,
        /// Whether everything gets the modification times back that it had.
        keep_times: bool,
    },
    /// A distribution is removed.
    Remove(usize, usize),
    /// A distribution's `entry_points.txt` is overwritten in place, with its size and, unless
    /// other names lead to it too, its modification time kept.
    EditInPlace(usize, usize),
    /// A distribution's `entry_points.txt` is written, whether or not it had one.
    WriteText(usize, usize, Bytes),
    /// Every symbolic link's target that is a file gets another content, and what a dangling link
    /// points to comes into being.
    ChangeTargets(Bytes),
    /// A distribution's `entry_points.txt` becomes a symbolic link to a new file.
    Relink(usize, usize, Bytes),
    /// `METADATA` or `PKG-INFO` is written (or removed).
    WriteMetadata {
        /// The place.
        place: usize,
        /// The distribution in it.
        dist: usize,
        /// `METADATA` or `PKG-INFO`.
        file: &'static str,
        /// Its content, or nothing, to remove it.
        content: Option<Bytes>,
    },
    /// A zip file (or other file) is replaced, by a rename or in place.
    ReplaceZip {
        /// The place.
        place: usize,
        /// What it then is.
        zip: Zip,
        /// Whether the same file is written anew.
        in_place: bool,
    },
    /// A metadata directory is renamed.
    Rename(usize, usize, Bytes),
    /// A file that is no distribution is made in a path entry.
    AddModule(usize),
    /// A path entry is replaced by another of the same name.
    Replace(usize, PlaceKind),
}

/// Something that happens to the cache.
///
/// Files are counted modulo the number of files in the cache at that moment.
#[derive(Clone, Debug)]
pub enum Damage {
    /// A file is cut off, at this place modulo its length.
    Truncate(usize, usize),
    /// A file's content is replaced.
    Garbage(usize, Bytes),
    /// A file is removed.
    Delete(usize),
    /// Two files change places.
    Swap(usize, usize),
    /// One file is copied over another.
    Copy(usize, usize),
    /// A file becomes writable by all.
    WritableByAll(usize),
    /// A mirror's directory becomes writable by all.
    DirectoryWritableByAll(usize),
    /// A file is replaced by a directory.
    Directory(usize),
    /// A file is replaced by a symbolic link to a copy of it.
    Symlink(usize),
    /// The number in an index's first line is another.
    AnotherVersion(usize),
    /// The files of an earlier sync come back, with that time's content.
    OldFiles,
    /// Everything is removed.
    DeleteAll,
}

/// Bytes that are printed as a byte string.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "b\"{}\"", self.0.escape_ascii())
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

// What is made of many parts is boxed: as plain values, nested strategies and what they generate are
// so large that they don't fit on a thread's stack.

/// Any number: what it counts is known only when the case runs.
fn any_index() -> impl Strategy<Value = usize> + Clone {
    0..64_usize
}

/// A whole case.
pub fn case() -> impl Strategy<Value = Case> {
    (
        vec(place(), 1..=3),
        vec((any_index(), spelling()), 1..=5),
        times(),
        vec(change(), 1..=4),
        vec(damage(), 1..=3),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(places, sys_path, times, changes, damages, asks_mode_off)| Case {
                places,
                sys_path,
                times,
                changes,
                damages,
                asks_mode_off,
            },
        )
}

fn times() -> impl Strategy<Value = Times> {
    prop_oneof![
        40 => Just(Times::Now),
        40 => Just(Times::Old),
        1 => Just(Times::WholeSeconds),
        2 => Just(Times::Future),
    ]
}

fn spelling() -> impl Strategy<Value = Spelling> {
    prop_oneof![
        40 => Just(Spelling::Plain),
        1 => Just(Spelling::TrailingSlash),
        1 => Just(Spelling::DoubledSlash),
        1 => Just(Spelling::LeadingSlashes),
        1 => Just(Spelling::Dot),
        1 => Just(Spelling::DotDot),
        1 => Just(Spelling::Relative),
        1 => Just(Spelling::CurrentDirectory),
        1 => Just(Spelling::Empty),
        1 => Just(Spelling::Inside),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    let stem = prop_oneof![
        10 => Just(Bytes::from("site")),
        3 => select(vec![
            "with space", "new\nline", "tab\t", "%41", "é", "İ", "-", "~", ".", "\u{1}", "\u{85}", "[g]",
        ]).prop_map(Bytes::from),
        1 => Just(Bytes(b"not-utf-8-\xff".to_vec())),
    ];
    let suffix = prop_oneof![
        12 => Just(""),
        4 => Just(".egg"),
        1 => Just(".EGG"),
        1 => Just(".Egg"),
        1 => Just(".zip"),
        1 => Just("-1.dist-info"),
    ];
    (stem, suffix, place_kind()).prop_map(|(stem, suffix, kind)| Place { stem, suffix, kind })
}

fn place_kind() -> BoxedStrategy<PlaceKind> {
    prop_oneof![
        30 => vec(dist(), 0..=6).prop_map(PlaceKind::Directory),
        6 => zip().prop_map(PlaceKind::Zip),
        1 => vec(any::<u8>(), 0..40).prop_map(|bytes| PlaceKind::File(Bytes(bytes))),
        2 => any_index().prop_map(PlaceKind::LinkTo),
        1 => Just(PlaceKind::Missing),
    ]
    .boxed()
}

fn dist() -> BoxedStrategy<Dist> {
    (dist_name(), dist_kind())
        .prop_map(|(name, kind)| Dist { name, kind })
        .boxed()
}

fn dist_kind() -> BoxedStrategy<DistKind> {
    prop_oneof![
        120 => metadata().prop_map(DistKind::Directory),
        10 => metadata().prop_map(DistKind::LinkedDirectory),
        8 => headers().prop_map(DistKind::File),
        4 => Just(DistKind::Dangling),
        1 => Just(DistKind::Loop),
    ]
    .boxed()
}

fn metadata() -> BoxedStrategy<Metadata> {
    (
        text(),
        option::weighted(0.7, headers()),
        option::weighted(0.4, headers()),
    )
        .prop_map(|(text, metadata, pkg_info)| Metadata {
            text,
            metadata,
            pkg_info,
        })
        .boxed()
}

fn text() -> BoxedStrategy<Text> {
    prop_oneof![
        160 => content().prop_map(Text::File),
        30 => Just(Text::Missing),
        14 => content().prop_map(Text::Symlink),
        14 => content().prop_map(Text::HardLink),
        3 => Just(Text::Directory),
        4 => Just(Text::Dangling),
        1 => Just(Text::Loop),
    ]
    .boxed()
}

/// Names of projects: few, many of them one name in several spellings.
const STEMS: &[&str] = &[
    "foo", "Foo", "FOO", "foo_bar", "foo.bar", "Foo__Bar", "foo-bar", "baz", "qux", "a", "b", "k",
];

/// Names that no project has, and directories do.
const ODD_STEMS: &[&str] = &[
    "",
    "-foo",
    "--",
    "~foo",
    "~",
    ".",
    "..",
    "..foo",
    ".foo",
    "_",
    "foo.",
    "foo bar",
    " foo",
    "foo\tbar",
    "foo\nbar",
    "foo\r",
    "foo\u{1b}[31m",
    "foo\u{7f}",
    "foo\\bar",
    "foo\"",
    "100%",
    "a%2Fb",
    "[g]",
    "#foo",
    "straße",
    "ſ",
    "s",
    "K",
    "İx",
    "i̇x",
    "ıx",
    "ΑΣ",
    "ας",
    "ασ",
    "ΑΣ.β",
    "é",
    "e\u{301}",
    "\u{85}foo",
    "\u{2028}foo",
    "\u{1c}foo",
    "👍",
    "ǅ",
    "ﬀ",
    ".index",
    ".tmp-1",
    "EGG-INFO",
    "entry_points",
];

const VERSIONS: &[&str] = &[
    "-1.0",
    "-1.0",
    "-2.0",
    "",
    "-1.0-py3.12",
    "-1.0-1",
    "-",
    "-1.0.dist-info",
];

/// What makes a metadata directory of a name, and what almost does.
fn dist_suffix() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        20 => Just(".dist-info"),
        8 => Just(".egg-info"),
        4 => select(vec![".DIST-INFO", ".Dist-Info", ".EGG-INFO", ".egg-Info"]),
        2 => select(vec![
            ".dist-info.txt", ".dist-info ", "dist-info", ".dİst-info", ".dıst-info", ".diſt-info", ".egg", ".egg-link",
        ]),
    ]
}

fn unicode_dist_name() -> impl Strategy<Value = String> {
    let stem = prop_oneof![3 => select(STEMS), 1 => select(ODD_STEMS)];
    prop_oneof![
        20 => (stem, select(VERSIONS), dist_suffix())
            .prop_map(|(stem, version, suffix)| format!("{stem}{version}{suffix}")),
        3 => select(vec!["EGG-INFO", "egg-info", "Egg-Info"]).prop_map(str::to_owned),
    ]
}

/// The longest name that a directory can have.
const LONGEST_NAME: usize = 255;

fn dist_name() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        30 => unicode_dist_name().prop_map(|name| Bytes(name.into_bytes())),
        1 => select(vec![&b"fo\xff-1.0.dist-info"[..], b"\xe2\x80-1.0.dist-info", b"foo-\xf0\x9f.egg-info", b"\xc0\xaf.DIST-INFO"])
            .prop_map(|name| Bytes(name.to_vec())),
        1 => (LONGEST_NAME - 5..=LONGEST_NAME).prop_map(|length| {
            let rest = "-1.0.dist-info";
            Bytes(format!("{}{rest}", "x".repeat(length - rest.len())).into_bytes())
        }),
    ]
}

/// The content of `METADATA`: a file of headers.
fn headers() -> BoxedStrategy<Bytes> {
    // Not the empty name, unless it is the last header: whether a continuation line after it
    // belongs to it with or without its line feed is not the same in all CPythons.
    let name = prop_oneof![3 => select(STEMS), 1 => select(&ODD_STEMS[1..])];
    let header = prop_oneof![
        4 => name.clone().prop_map(|name| format!("Name: {name}\n")),
        2 => name.clone().prop_map(|name| format!("name:{name}\n")),
        1 => name.clone().prop_map(|name| format!("NAME:\t {name}  \r\n")),
        1 => name.clone().prop_map(|name| format!("Name: {name}\n  continued\n")),
        1 => name.clone().prop_map(|name| format!("Name: {name}\n\tcontinued\n        |and on\n")),
        1 => name.clone().prop_map(|name| format!("Name : {name}\n")),
        1 => name.clone().prop_map(|name| format!(" Name: {name}\n")),
        1 => name.clone().prop_map(|name| format!("Näme: {name}\n")),
        1 => name.clone().prop_map(|name| format!("Summary: x\nName: {name}\rVersion: 1\r")),
        2 => select(vec![
            "\n", "\r\n", "no header\n", "From someone\n", ": empty\n", "Name", "\u{feff}", "Namespace: x\n",
            "Name: a\u{b}b\n", "Name: a\u{85}b\n", "Name: a\0b\n", "Name: =?utf-8?q?foo?=\n",
        ]).prop_map(str::to_owned),
        4 => select(vec!["Metadata-Version: 2.1\n", "Version: 1.0\n", "Summary: a\n  b\n", "Description: Name: x\n"])
            .prop_map(str::to_owned),
    ];
    let tame = name.prop_map(|name| format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"));
    let start =
        prop_oneof![3 => tame, 1 => vec(header, 0..=3).prop_map(|headers| headers.concat())];
    let ending = prop_oneof![
        40 => Just(&b""[..]),
        5 => Just(&b"\nName: body\n"[..]),
        2 => Just(&b"Name:\n"[..]),
        1 => Just(&b"Name: \r\n"[..]),
        1 => Just(&b"Author: \xff\n"[..]),
    ];
    (start, ending)
        .prop_map(|(start, ending)| Bytes([start.as_bytes(), ending].concat()))
        .boxed()
}

const GROUPS: &[&str] = &[
    "g",
    "g",
    "console_scripts",
    "pytest11",
    "a.b",
    "G",
    "é",
    " a ",
    "a][b",
    "",
    "a b",
    "g # c",
    "\t",
    "\u{1f}",
    "-g",
    "g\u{a0}",
    "=",
    "a=b",
    "g\0",
    "\u{feff}",
];

const NAMES: &[&str] = &[
    "n",
    "n",
    "m",
    "N",
    "a b",
    "é",
    "",
    "[n",
    "n]",
    "a:b",
    ";n",
    "\"n\"",
    "n\0",
    "n\tm",
    "-n",
    "\\n",
    "n\u{200b}",
];

const VALUES: &[&str] = &[
    "m:a",
    "m:a",
    "m",
    "m.n:a.b",
    "m:a [x]",
    "m:a[x,y]",
    "m : a [x, y] ",
    "m [x]",
    "m:a [x] [y]",
    "m:a []",
    "m:a [x",
    "m:",
    ":a",
    "",
    "m:a:b",
    "m-n:a",
    "m:a b",
    "m:a # c",
    "m:a = b",
    ".",
    ".:.",
    "9:9",
    "é:ü",
    "e\u{301}:a",
    "²:ª",
    "m\u{a0}:a",
    "m\u{1f}:\u{2003}a",
    "m:\u{200b}a",
    "m:a [é.²;x\u{301}y-z]",
    "m:a ]",
    "m:a [x] y]",
    "m\0:a",
    "_:_",
    "٣:a",
    "Ⅷ:½",
    "ﬀ:K",
    "m\u{203f}n:a",
    "👍:a",
    "\u{180e}m:a",
    "[x]",
    "]",
];

/// Lines that say something else to each other reader of such files.
const ODD_LINES: &[&str] = &[
    "[ a ]",
    "[a][b]",
    "[]",
    "[[g]]",
    "[x] = y [z]",
    "[g = ]",
    "=v",
    "n=",
    "=",
    "==",
    "n = = v",
    "# n = m:a",
    "  # c",
    ";n = m:a",
    "g] = v",
    "\u{feff}n = m",
    " [g] ",
    "\t[g]\t",
    "\u{a0}[g]\u{3000}",
    "\u{1c}n = m\u{1f}",
    "\u{200b}[g] = x",
    "n = m:a \\",
    "  continued = m",
    "[\0]",
    "\0 = \0",
];

/// Lines that make CPython raise, because they have no `=` (or, split up, a part without one).
const BROKEN_LINES: &[&str] = &[
    "no equals sign",
    "[g] # c",
    "]g[",
    "[g",
    "g]",
    "n : m",
    "n\u{85}=\u{85}m",
    "n=m:a [\u{2028}]",
    "\0",
    "\u{feff}[g]",
];

/// Every character at which `str.splitlines` splits, and some at which it does not.
const LINE_ENDS: &[&str] = &[
    "\r\n", "\r", "\u{b}", "\u{c}", "\u{1c}", "\u{1d}", "\u{1e}", "\u{85}", "\u{2028}", "\u{2029}",
    "\n\r", "\n\n", "\r\r\n", "\u{1f}\n", " \n", "\0\n",
];

/// Characters that some rule treats apart.
const CHARACTERS: &[char] = &[
    '[', ']', '=', '=', '#', ':', '.', ',', ';', ' ', '\t', '\n', '\r', '\u{b}', '\u{c}', '\0',
    '\u{1c}', '\u{1d}', '\u{1e}', '\u{1f}', '\u{7f}', '\u{85}', '\u{a0}', '\u{1680}', '\u{180e}',
    '\u{2000}', '\u{200a}', '\u{200b}', '\u{2028}', '\u{2029}', '\u{202f}', '\u{205f}', '\u{2060}',
    '\u{3000}', '\u{feff}', 'a', 'b', 'g', '_', '9', '"', '\'', '\\', '%', 'é', 'ſ', 'İ', 'K', 'ς',
    '²', 'ª', '\u{301}', '\u{345}', '½', '👍',
];

/// Any character of some blocks without gaps. What `\w` says of a character that was unassigned
/// once depends on the CPython's Unicode: 13 for 3.10, 16 for 3.14.
fn known_character() -> impl Strategy<Value = char> {
    prop_oneof![
        prop::char::range(' ', '\u{377}'),
        prop::char::range('\u{660}', '\u{70d}'),
        prop::char::range('\u{900}', '\u{983}'),
        prop::char::range('\u{e3f}', '\u{e5b}'),
        prop::char::range('\u{1e00}', '\u{1f15}'),
        prop::char::range('\u{2000}', '\u{2064}'),
        prop::char::range('\u{2100}', '\u{218b}'),
        prop::char::range('\u{2460}', '\u{2b73}'),
        prop::char::range('\u{3099}', '\u{30ff}'),
        prop::char::range('\u{4e00}', '\u{9ffc}'),
        prop::char::range('\u{e000}', '\u{f8ff}'),
        prop::char::range('\u{fe00}', '\u{fe19}'),
        prop::char::range('\u{10400}', '\u{1049d}'),
        prop::char::range('\u{1d400}', '\u{1d454}'),
        prop::char::range('\u{1f300}', '\u{1f6d7}'),
    ]
}

/// The content of `entry_points.txt`.
fn content() -> BoxedStrategy<Bytes> {
    let section = select(GROUPS).prop_map(|group| format!("[{group}]"));
    let point = (
        select(NAMES),
        select(vec!["=", " = ", "\t=", "= "]),
        select(VALUES),
    )
        .prop_map(|(name, equals, value)| format!("{name}{equals}{value}"));
    let random = vec(select(CHARACTERS), 0..8).prop_map(|chars| chars.into_iter().collect());
    let any_point = (known_character(), known_character(), known_character())
        .prop_map(|(name, module, attr)| format!("{name}={module}:{attr}"));
    let tame_line = prop_oneof![1 => section.clone(), 3 => point.clone()].boxed();
    let odd_line = prop_oneof![
        4 => section,
        8 => point,
        6 => select(ODD_LINES).prop_map(str::to_owned),
        1 => any_point,
        1 => (1000..5000_usize).prop_map(|length| format!("{} = m:a", "n".repeat(length))),
    ]
    .boxed();
    let broken_line =
        prop_oneof![2 => odd_line.clone(), 1 => random, 1 => select(BROKEN_LINES).prop_map(str::to_owned)]
            .boxed();
    let tame_end = Just("\n").boxed();
    let odd_end = prop_oneof![4 => Just("\n"), 3 => select(LINE_ENDS)].boxed();
    prop_oneof![
        60 => lines(tame_line, tame_end),
        50 => lines(odd_line, odd_end.clone()),
        4 => lines(broken_line, odd_end),
        1 => lines(Just("n = m".to_owned()).boxed(), Just("\n").boxed()).prop_map(|mut bytes| {
            bytes.0.extend(b"x = \xe2\x80\n");
            bytes
        }),
        4 => Just(Bytes(Vec::new())),
    ]
    .boxed()
}

/// Lines, mostly after the start of a section, with line ends between them.
fn lines(
    line: BoxedStrategy<String>,
    end: BoxedStrategy<&'static str>,
) -> impl Strategy<Value = Bytes> {
    let start = prop_oneof![8 => Just("[g]\n"), 1 => Just("[h]\r\n"), 1 => Just("")];
    let last = prop_oneof![4 => Just(true), 1 => Just(false)];
    (start, vec((line, end), 0..=6), last).prop_map(|(start, lines, ends_in_line_end)| {
        let mut text = start.to_owned();
        let count = lines.len();
        for (position, (line, end)) in lines.into_iter().enumerate() {
            text += &line;
            if ends_in_line_end || position + 1 < count {
                text += end;
            }
        }
        Bytes(text.into_bytes())
    })
}

fn zip() -> BoxedStrategy<Zip> {
    let other = select(vec![
        "module.py",
        "package/__init__.py",
        "/foo-1.0.dist-info/entry_points.txt",
        "./foo-1.0.dist-info/entry_points.txt",
        "../foo-1.0.dist-info/entry_points.txt",
        "package/foo-1.0.dist-info/entry_points.txt",
        "foo-9.dist-info//entry_points.txt",
        "foo-8.dist-info/entry_points.txt/",
        "foo-7.dist-info/sub/entry_points.txt",
        "FOO-6.egg-info",
        "foo-5.dist-info",
        "foo-4.dist-info\\entry_points.txt",
    ]);
    (
        vec(zip_dist(), 0..=4),
        vec((other.prop_map(str::to_owned), content()), 0..=2),
        prop::bool::weighted(0.3),
        prop_oneof![3 => Just(Bytes(Vec::new())), 1 => vec(any::<u8>(), 1..60).prop_map(Bytes)],
        any::<bool>(),
    )
        .prop_map(
            |(dists, others, scattered, before, offsets_count_from_file_start)| Zip {
                dists,
                others,
                scattered,
                before,
                offsets_count_from_file_start,
            },
        )
        .boxed()
}

fn zip_dist() -> BoxedStrategy<ZipDist> {
    // A zip file's members have names up to the first NUL, which no pool has.
    (
        unicode_dist_name(),
        any::<bool>(),
        prop::bool::weighted(0.05),
        prop_oneof![2 => Just(0_usize), 10 => Just(1), 1 => Just(2)],
        vec(content(), 2),
        option::weighted(0.95, headers()),
        option::weighted(0.3, headers()),
        any::<bool>(),
    )
        .prop_map(
            |(
                name,
                has_directory_member,
                is_file_too,
                count,
                mut texts,
                metadata,
                pkg_info,
                deflated,
            )| {
                texts.truncate(count);
                ZipDist {
                    name,
                    has_directory_member,
                    is_file_too,
                    texts,
                    metadata,
                    pkg_info,
                    deflated,
                }
            },
        )
        .boxed()
}

fn change() -> BoxedStrategy<Change> {
    let at = || (any_index(), any_index());
    prop_oneof![
        4 => (any_index(), dist()).prop_map(|(place, dist)| Change::Install(place, dist)),
        6 => (at(), metadata(), any::<bool>()).prop_map(|((place, dist), metadata, keep_times)| {
            Change::Reinstall { place, dist, metadata, keep_times }
        }),
        3 => at().prop_map(|(place, dist)| Change::Remove(place, dist)),
        5 => at().prop_map(|(place, dist)| Change::EditInPlace(place, dist)),
        4 => (at(), content()).prop_map(|((place, dist), text)| Change::WriteText(place, dist, text)),
        2 => content().prop_map(Change::ChangeTargets),
        2 => (at(), content()).prop_map(|((place, dist), text)| Change::Relink(place, dist, text)),
        4 => (at(), select(vec!["METADATA", "PKG-INFO"]), option::weighted(0.8, headers()))
            .prop_map(|((place, dist), file, content)| Change::WriteMetadata { place, dist, file, content }),
        3 => (any_index(), zip(), any::<bool>())
            .prop_map(|(place, zip, in_place)| Change::ReplaceZip { place, zip, in_place }),
        2 => (at(), dist_name()).prop_map(|((place, dist), name)| Change::Rename(place, dist, name)),
        1 => any_index().prop_map(Change::AddModule),
        1 => (any_index(), place_kind()).prop_map(|(place, kind)| Change::Replace(place, kind)),
    ]
        .boxed()
}

fn damage() -> BoxedStrategy<Damage> {
    let two = || (any_index(), any_index());
    let garbage = prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(Bytes),
        content(),
        headers()
    ];
    prop_oneof![
        4 => (any_index(), any::<usize>()).prop_map(|(file, at)| Damage::Truncate(file, at)),
        2 => (any_index(), garbage).prop_map(|(file, bytes)| Damage::Garbage(file, bytes)),
        2 => any_index().prop_map(Damage::Delete),
        3 => two().prop_map(|(one, other)| Damage::Swap(one, other)),
        2 => two().prop_map(|(one, other)| Damage::Copy(one, other)),
        2 => any_index().prop_map(Damage::WritableByAll),
        1 => any_index().prop_map(Damage::DirectoryWritableByAll),
        2 => any_index().prop_map(Damage::Directory),
        1 => any_index().prop_map(Damage::Symlink),
        2 => any_index().prop_map(Damage::AnotherVersion),
        3 => Just(Damage::OldFiles),
        1 => Just(Damage::DeleteAll),
    ]
    .boxed()
}
