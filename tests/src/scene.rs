//! A generated case on disk: its places in a scratch directory, and what happens to them.
//!
//! ```text
//! scratch/site0 scratch/é1.egg ...   the places, which `sys.path` names
//! scratch/store/                     what links in them lead to
//! scratch/away/                      a directory to come from, and to prepare things in
//! scratch/home/ scratch/cache/       the command's
//! ```

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::generate::{
    Bytes, Case, Change, Damage, Dist, DistKind, Metadata, PlaceKind, Spelling, Text, Times, Zip,
};
use crate::oracle::{Archive, Member, Oracle};

/// The content that an earlier moment's file had.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What [`Scene::cache_listing`] says about a file: its inode, modification time and content.
pub type Listing = BTreeMap<PathBuf, (u64, i64, i64, Vec<u8>)>;

/// A case on disk.
pub struct Scene {
    scratch: TempDir,
    places: Vec<PathBuf>,
    sys_path: Vec<(usize, Spelling)>,
    /// How many things are in the store: each gets a name of its own.
    stored: usize,
    /// What dangling texts point to, and what dangling metadata directories do.
    missing_texts: Vec<PathBuf>,
    missing_directories: Vec<PathBuf>,
    old_cache: Files,
}

impl Scene {
    /// Puts a case on disk.
    pub fn new(case: &Case, oracle: &mut Oracle) -> Result<Self> {
        let scratch = TempDir::with_prefix("epcache-")?;
        let mut scene = Self {
            places: case
                .places
                .iter()
                .enumerate()
                .map(|(number, place)| {
                    let mut name = place.stem.0.clone();
                    name.extend(format!("{number}{}", place.suffix).bytes());
                    scratch.path().join(OsString::from_vec(name))
                })
                .collect(),
            sys_path: case.sys_path.clone(),
            scratch,
            stored: 0,
            missing_texts: Vec::new(),
            missing_directories: Vec::new(),
            old_cache: Files::new(),
        };
        for directory in ["store", "away", "home"] {
            fs::create_dir(scene.path().join(directory))?;
        }
        for (place, path) in case.places.iter().zip(scene.places.clone()) {
            scene.make_place(&path, &place.kind, oracle)?;
        }
        scene.set_times(case.times)?;
        Ok(scene)
    }

    /// The scratch directory.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// The command's `HOME`.
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// The command's only cache root.
    pub fn cache(&self) -> PathBuf {
        self.path().join("cache")
    }

    /// Keeps the scratch directory, and says where it is.
    pub fn keep(self) -> PathBuf {
        self.scratch.keep()
    }

    /// The current directory for everything that looks at the case: the first place, if it is a
    /// directory now.
    pub fn cwd(&self) -> PathBuf {
        let first = &self.places[0];
        if first.is_dir() {
            first.clone()
        } else {
            self.path().join("away")
        }
    }

    /// The items of `sys.path`.
    pub fn sys_path(&self) -> Vec<OsString> {
        self.sys_path
            .iter()
            .map(|&(place, spelling)| self.spell(&self.places[place % self.places.len()], spelling))
            .collect()
    }

    /// Whether some item of `sys.path` can have a cache and is a directory.
    pub fn has_cacheable_directory(&self) -> bool {
        self.sys_path.iter().any(|&(place, spelling)| {
            let path = &self.places[place % self.places.len()];
            let has_control = |text: &str| text.chars().any(char::is_control);
            spelling == Spelling::Plain
                && path.is_dir()
                && path.to_str().is_some_and(|text| !has_control(text))
        })
    }

    fn spell(&self, place: &Path, spelling: Spelling) -> OsString {
        let name = place.file_name().expect("a place has a name").as_bytes();
        let scratch = self.path().as_os_str().as_bytes();
        let parts: Vec<&[u8]> = match spelling {
            Spelling::Plain => vec![scratch, b"/", name],
            Spelling::TrailingSlash => vec![scratch, b"/", name, b"/"],
            Spelling::DoubledSlash => vec![scratch, b"//", name],
            Spelling::LeadingSlashes => vec![b"/", scratch, b"/", name],
            Spelling::Dot => vec![scratch, b"/./", name],
            Spelling::DotDot => vec![scratch, b"/away/../", name],
            Spelling::Relative => vec![b"../", name],
            Spelling::CurrentDirectory => vec![b"."],
            Spelling::Empty => vec![],
            Spelling::Inside => vec![scratch, b"/", name, b"/sub"],
        };
        OsString::from_vec(parts.concat())
    }

    fn make_place(&mut self, path: &Path, kind: &PlaceKind, oracle: &mut Oracle) -> Result<()> {
        match kind {
            PlaceKind::Directory(dists) => {
                fs::create_dir(path).with_context(|| path.display().to_string())?;
                for dist in dists {
                    self.make_dist(path, dist)?;
                }
            }
            PlaceKind::Zip(zip) => oracle.write_zip(path, &archive(zip)),
            PlaceKind::File(content) => fs::write(path, &content.0)?,
            PlaceKind::LinkTo(other) => symlink(&self.places[other % self.places.len()], path)?,
            PlaceKind::Missing => {}
        }
        Ok(())
    }

    /// Makes a distribution, unless something has its name already.
    fn make_dist(&mut self, place: &Path, dist: &Dist) -> Result<()> {
        let path = place.join(OsStr::from_bytes(&dist.name.0));
        if exists(&path) {
            return Ok(());
        }
        match &dist.kind {
            DistKind::Directory(metadata) => self.make_metadata(&path, metadata)?,
            DistKind::LinkedDirectory(metadata) => {
                let target = self.new_in_store();
                self.make_metadata(&target, metadata)?;
                symlink(target, &path)?;
            }
            DistKind::File(content) => fs::write(&path, &content.0)?,
            DistKind::Dangling => {
                let target = self.new_in_store();
                symlink(&target, &path)?;
                self.missing_directories.push(target);
            }
            DistKind::Loop => symlink(&path, &path)?,
        }
        Ok(())
    }

    fn make_metadata(&mut self, directory: &Path, metadata: &Metadata) -> Result<()> {
        fs::create_dir(directory).with_context(|| directory.display().to_string())?;
        let files = [
            ("METADATA", &metadata.metadata),
            ("PKG-INFO", &metadata.pkg_info),
        ];
        for (name, content) in files {
            if let Some(content) = content {
                fs::write(directory.join(name), &content.0)?;
            }
        }
        self.make_text(&directory.join("entry_points.txt"), &metadata.text)
    }

    fn make_text(&mut self, path: &Path, text: &Text) -> Result<()> {
        match text {
            Text::Missing => {}
            Text::File(content) => fs::write(path, &content.0)?,
            Text::Symlink(content) => {
                let target = self.new_in_store();
                fs::write(&target, &content.0)?;
                symlink(target, path)?;
            }
            Text::HardLink(content) => {
                let target = self.new_in_store();
                fs::write(&target, &content.0)?;
                fs::hard_link(target, path)?;
            }
            Text::Directory => fs::create_dir(path)?,
            Text::Dangling => {
                let target = self.new_in_store();
                symlink(&target, path)?;
                self.missing_texts.push(target);
            }
            Text::Loop => symlink(path, path)?,
        }
        Ok(())
    }

    fn new_in_store(&mut self) -> PathBuf {
        self.stored += 1;
        self.path().join("store").join(self.stored.to_string())
    }

    /// Gives everything that was made its first modification time, a different one each.
    fn set_times(&self, times: Times) -> Result<()> {
        const DAY: Duration = Duration::from_secs(86_400);
        let now = SystemTime::now();
        let whole_seconds = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(whole_seconds);
        let mut age = DAY;
        for path in self.made() {
            age += Duration::from_secs(1);
            let mtime = match times {
                Times::Now => return Ok(()),
                Times::Old => start - age + Duration::from_nanos(123_456_789),
                Times::WholeSeconds => start - age,
                Times::Future => start + age,
            };
            set_mtime(&path, mtime)?;
        }
        Ok(())
    }

    /// Every file and directory of the places and the store, what is in a directory before it.
    fn made(&self) -> Vec<PathBuf> {
        let store = self.path().join("store");
        self.places
            .iter()
            .chain([&store])
            .flat_map(|root| WalkDir::new(root).contents_first(true).sort_by_file_name())
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_dir() || entry.file_type().is_file())
            .map(walkdir::DirEntry::into_path)
            .collect()
    }

    /// Lets something happen to the places; says whether there was what it happens to.
    pub fn change(&mut self, change: &Change, oracle: &mut Oracle) -> Result<bool> {
        match change {
            Change::Install(place, dist) => {
                let Some(place) = pick(*place, &self.directories()) else {
                    return Ok(false);
                };
                self.make_dist(&place, dist)?;
            }
            Change::Reinstall {
                place,
                dist,
                metadata,
                keep_times,
            } => {
                let Some(path) = self.dist(*place, *dist) else {
                    return Ok(false);
                };
                let had = times_of(&path)?;
                remove(&path)?;
                self.make_metadata(&path, metadata)?;
                if *keep_times {
                    restore_times(&had)?;
                }
            }
            Change::Remove(place, dist) => {
                let Some(path) = self.dist(*place, *dist) else {
                    return Ok(false);
                };
                remove(&path)?;
            }
            Change::EditInPlace(place, dist) => {
                let Some(directory) = self.dist_directory(*place, *dist) else {
                    return Ok(false);
                };
                return edit_in_place(&directory.join("entry_points.txt"));
            }
            Change::WriteText(place, dist, content) => {
                let Some(directory) = self.dist_directory(*place, *dist) else {
                    return Ok(false);
                };
                let path = directory.join("entry_points.txt");
                if fs::write(&path, &content.0).is_err() {
                    // A directory, or a link that leads nowhere.
                    remove(&path)?;
                    fs::write(&path, &content.0)?;
                }
            }
            Change::ChangeTargets(content) => return self.change_targets(content),
            Change::Relink(place, dist, content) => {
                let Some(directory) = self.dist_directory(*place, *dist) else {
                    return Ok(false);
                };
                let path = directory.join("entry_points.txt");
                if exists(&path) {
                    remove(&path)?;
                }
                self.make_text(&path, &Text::Symlink(content.clone()))?;
            }
            Change::WriteMetadata {
                place,
                dist,
                file,
                content,
            } => {
                let Some(directory) = self.dist_directory(*place, *dist) else {
                    return Ok(false);
                };
                let path = directory.join(file);
                match content {
                    Some(content) => fs::write(path, &content.0)?,
                    None if exists(&path) => remove(&path)?,
                    None => return Ok(false),
                }
            }
            Change::ReplaceZip {
                place,
                zip,
                in_place,
            } => {
                let Some(path) = pick(*place, &self.files()) else {
                    return Ok(false);
                };
                if *in_place {
                    oracle.write_zip(&path, &archive(zip));
                } else {
                    let new = self.path().join("away").join("new.zip");
                    oracle.write_zip(&new, &archive(zip));
                    fs::rename(new, path)?;
                }
            }
            Change::Rename(place, dist, name) => {
                let Some(path) = self.dist(*place, *dist) else {
                    return Ok(false);
                };
                let new = path.with_file_name(OsStr::from_bytes(&name.0));
                if exists(&new) {
                    return Ok(false);
                }
                fs::rename(path, new)?;
            }
            Change::AddModule(place) => {
                let Some(place) = pick(*place, &self.directories()) else {
                    return Ok(false);
                };
                fs::write(place.join("module.py"), "")?;
            }
            Change::Replace(place, kind) => {
                let path = self.places[place % self.places.len()].clone();
                if exists(&path) {
                    remove(&path)?;
                }
                self.make_place(&path, kind, oracle)?;
            }
        }
        Ok(true)
    }

    fn change_targets(&mut self, content: &Bytes) -> Result<bool> {
        let store = self.path().join("store");
        let texts: Vec<PathBuf> = WalkDir::new(store)
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .map(walkdir::DirEntry::into_path)
            .filter(|path| !path.ends_with("METADATA") && !path.ends_with("PKG-INFO"))
            .chain(std::mem::take(&mut self.missing_texts))
            .collect();
        for path in &texts {
            fs::write(path, &content.0)?;
        }
        let directories = std::mem::take(&mut self.missing_directories);
        for directory in &directories {
            let metadata = Metadata {
                text: Text::File(content.clone()),
                metadata: None,
                pkg_info: None,
            };
            self.make_metadata(directory, &metadata)?;
        }
        Ok(!texts.is_empty() || !directories.is_empty())
    }

    /// The places that are directories themselves.
    fn directories(&self) -> Vec<PathBuf> {
        self.places_that(|metadata| metadata.is_dir())
    }

    /// The places that are files themselves.
    fn files(&self) -> Vec<PathBuf> {
        self.places_that(|metadata| metadata.is_file())
    }

    fn places_that(&self, is_right: impl Fn(&fs::Metadata) -> bool) -> Vec<PathBuf> {
        let is_right = |path: &&PathBuf| path.symlink_metadata().is_ok_and(|it| is_right(&it));
        self.places.iter().filter(is_right).cloned().collect()
    }

    /// A distribution, counted among those of a place.
    fn dist(&self, place: usize, dist: usize) -> Option<PathBuf> {
        let with_dists: Vec<Vec<PathBuf>> = self
            .directories()
            .iter()
            .map(|directory| dists_in(directory))
            .filter(|dists| !dists.is_empty())
            .collect();
        pick(dist, &pick(place, &with_dists)?)
    }

    /// The same among those whose metadata directory is one, maybe through a link.
    fn dist_directory(&self, place: usize, dist: usize) -> Option<PathBuf> {
        let with_directories: Vec<Vec<PathBuf>> = self
            .directories()
            .iter()
            .map(|directory| {
                let mut dists = dists_in(directory);
                dists.retain(|dist| dist.is_dir());
                dists
            })
            .filter(|dists| !dists.is_empty())
            .collect();
        pick(dist, &pick(place, &with_directories)?)
    }

    /// Remembers the cache's files, for [`Damage::OldFiles`].
    pub fn remember_cache(&mut self) -> Result<()> {
        for path in self.cache_files() {
            let content = fs::read(&path)?;
            self.old_cache.insert(path, content);
        }
        Ok(())
    }

    /// Everything in the cache: two equal listings mean that nothing was written.
    pub fn cache_listing(&self) -> Result<Listing> {
        WalkDir::new(self.cache())
            .into_iter()
            .filter_map(Result::ok)
            .map(|entry| {
                let metadata = entry.path().symlink_metadata()?;
                let content = if metadata.is_file() {
                    fs::read(entry.path())?
                } else {
                    Vec::new()
                };
                let facts = (
                    metadata.ino(),
                    metadata.mtime(),
                    metadata.mtime_nsec(),
                    content,
                );
                Ok((entry.into_path(), facts))
            })
            .collect()
    }

    fn cache_files(&self) -> Vec<PathBuf> {
        self.in_cache(|kind| kind.is_file())
    }

    fn in_cache(&self, is_right: impl Fn(fs::FileType) -> bool) -> Vec<PathBuf> {
        WalkDir::new(self.cache())
            .sort_by_file_name()
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| is_right(entry.file_type()))
            .map(walkdir::DirEntry::into_path)
            .collect()
    }

    /// Lets something happen to the cache.
    pub fn damage(&mut self, damage: &Damage) -> Result<()> {
        let files = self.cache_files();
        match damage {
            Damage::DeleteAll => {
                if exists(&self.cache()) {
                    remove(&self.cache())?;
                }
            }
            Damage::OldFiles => {
                for (path, content) in &self.old_cache {
                    let has_directory = path.parent().is_some_and(Path::is_dir);
                    if has_directory && !path.is_dir() {
                        fs::write(path, content)?;
                    }
                }
            }
            Damage::DirectoryWritableByAll(directory) => {
                if let Some(path) = pick(*directory, &self.in_cache(|kind| kind.is_dir())) {
                    fs::set_permissions(path, Permissions::from_mode(0o777))?;
                }
            }
            Damage::Swap(one, other) => {
                if let (Some(one), Some(other)) = (pick(*one, &files), pick(*other, &files)) {
                    let aside = self.path().join("away").join("swapped");
                    fs::rename(&one, &aside)?;
                    if one != other {
                        fs::rename(&other, &one)?;
                    }
                    fs::rename(&aside, &other)?;
                }
            }
            Damage::Copy(one, other) => {
                if let (Some(one), Some(other)) = (pick(*one, &files), pick(*other, &files)) {
                    let content = fs::read(one)?;
                    fs::write(other, content)?;
                }
            }
            Damage::Truncate(file, ..)
            | Damage::Garbage(file, _)
            | Damage::Delete(file)
            | Damage::WritableByAll(file)
            | Damage::Directory(file)
            | Damage::Symlink(file)
            | Damage::AnotherVersion(file) => {
                if let Some(path) = pick(*file, &files) {
                    self.damage_file(&path, damage)?;
                }
            }
        }
        Ok(())
    }

    fn damage_file(&self, path: &Path, damage: &Damage) -> Result<()> {
        let content = fs::read(path)?;
        match damage {
            Damage::Truncate(_, at) => {
                fs::write(path, &content[..at % content.len().max(1)])?;
            }
            Damage::Garbage(_, garbage) => fs::write(path, &garbage.0)?,
            Damage::WritableByAll(_) => {
                fs::set_permissions(path, Permissions::from_mode(0o666))?;
            }
            Damage::Directory(_) => {
                fs::remove_file(path)?;
                fs::create_dir(path)?;
            }
            Damage::Symlink(_) => {
                let copy = self.path().join("away").join("copy");
                fs::write(&copy, content)?;
                fs::remove_file(path)?;
                symlink(copy, path)?;
            }
            Damage::AnotherVersion(_) => fs::write(path, with_another_version(&content))?,
            _ => fs::remove_file(path)?,
        }
        Ok(())
    }
}

/// The first number of the first line, made another.
fn with_another_version(content: &[u8]) -> Vec<u8> {
    let line_end = content
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(content.len());
    let mut changed = content.to_vec();
    match content[..line_end].iter().position(u8::is_ascii_digit) {
        Some(digit) => changed[digit] = b'0' + (changed[digit] - b'0' + 1) % 10,
        None => changed.insert(0, b'2'),
    }
    changed
}

/// The members of a generated zip file.
fn archive(zip: &Zip) -> Archive {
    let mut members = Vec::new();
    let mut texts = Vec::new();
    for dist in &zip.dists {
        let member = |name: String, content: &Bytes| Member {
            name,
            content: content.0.clone(),
            deflated: dist.deflated,
        };
        let nothing = Bytes(Vec::new());
        if dist.is_file_too {
            members.push(member(dist.name.clone(), &nothing));
        }
        if dist.has_directory_member {
            members.push(member(format!("{}/", dist.name), &nothing));
        }
        for (file, content) in [("METADATA", &dist.metadata), ("PKG-INFO", &dist.pkg_info)] {
            if let Some(content) = content {
                members.push(member(format!("{}/{file}", dist.name), content));
            }
        }
        let to = if zip.scattered {
            &mut texts
        } else {
            &mut members
        };
        for text in &dist.texts {
            to.push(member(format!("{}/entry_points.txt", dist.name), text));
        }
    }
    let others = zip.others.iter().map(|(name, content)| Member {
        name: name.clone(),
        content: content.0.clone(),
        deflated: false,
    });
    Archive {
        members: members.into_iter().chain(others).chain(texts).collect(),
        before: zip.before.0.clone(),
        offsets_count_from_file_start: zip.offsets_count_from_file_start,
    }
}

/// The distributions in a directory, in order of their names.
fn dists_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(children) = directory.read_dir() else {
        return Vec::new();
    };
    let mut dists: Vec<PathBuf> = children
        .filter_map(Result::ok)
        .map(|child| child.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_ascii_lowercase().as_bytes().ends_with(b"-info"))
        })
        .collect();
    dists.sort();
    dists
}

/// The item that a number means, counted modulo their number.
fn pick<T: Clone>(number: usize, items: &[T]) -> Option<T> {
    (!items.is_empty()).then(|| items[number % items.len()].clone())
}

/// Whether there is anything of that name, be it a link to nothing.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn remove(path: &Path) -> Result<()> {
    let is_directory = path
        .symlink_metadata()
        .with_context(|| path.display().to_string())?
        .is_dir();
    if is_directory {
        fs::remove_dir_all(path)?;
    } else {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Exchanges letters in a file for others, in place, keeping its size and, if it is a file with
/// one name, its modification time.
///
/// Through a link, only a file's size, inode and modification time can tell that it changed: its
/// change time is also changed by each link that is made or removed.
fn edit_in_place(path: &Path) -> Result<bool> {
    let Ok(metadata) = path.metadata() else {
        return Ok(false);
    };
    if !metadata.is_file() {
        return Ok(false);
    }
    let content = fs::read(path)?;
    let edited: Vec<u8> = content
        .iter()
        .map(|byte| match byte {
            b'm' => b'w',
            b'w' => b'm',
            b'n' => b'u',
            b'u' => b'n',
            b'g' => b'h',
            b'h' => b'g',
            other => *other,
        })
        .collect();
    OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(&edited)?;
    if path.symlink_metadata()?.is_file() && metadata.nlink() == 1 {
        set_mtime(path, metadata.modified()?)?;
    }
    Ok(content != edited)
}

/// The modification times of a metadata directory, what is in it, and what it is in.
fn times_of(path: &Path) -> Result<Vec<(PathBuf, SystemTime)>> {
    let mut times = Vec::new();
    for entry in WalkDir::new(path).contents_first(true) {
        let Ok(entry) = entry else { continue };
        if !entry.file_type().is_symlink() {
            times.push((entry.path().to_owned(), entry.metadata()?.modified()?));
        }
    }
    let parent = path.parent().expect("a distribution is in a place");
    times.push((parent.to_owned(), parent.metadata()?.modified()?));
    Ok(times)
}

/// Gives modification times back to those files that are there again, and are files again.
fn restore_times(times: &[(PathBuf, SystemTime)]) -> Result<()> {
    for (path, mtime) in times {
        let is_link = |it: fs::Metadata| it.is_symlink() || (it.is_file() && it.nlink() > 1);
        if path.symlink_metadata().is_ok_and(|it| !is_link(it)) {
            set_mtime(path, *mtime)?;
        }
    }
    Ok(())
}

fn set_mtime(path: &Path, mtime: SystemTime) -> Result<()> {
    File::open(path)
        .and_then(|file| file.set_times(FileTimes::new().set_modified(mtime)))
        .with_context(|| path.display().to_string())
}
