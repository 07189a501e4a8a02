//! All that the study compares gives the same answer: the strategies in Rust and in Python, and the
//! reader, beside `importlib.metadata`, on path entries with everything in which a cache could go wrong.
//!
//! The rivals need installing, so the study itself compares them. Whether something is fast is no
//! business of this test.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops where what it needs fails")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use epcache_benches::machine;

/// What both languages have.
const CACHED: [&str; 10] = [
    "ini-sys-path",
    "json-sys-path",
    "sqlite-sys-path",
    "ini-path-entry",
    "json-path-entry",
    "sqlite-path-entry",
    "ini-dist",
    "json-dist",
    "sqlite-dist",
    "mirror-files",
];

/// Those of them that may be damaged: what a mirror file says is believed.
const CHECKED: usize = 9;

const GROUP: &str = "bench.group";

/// Names and values that are more than an INI file usually holds.
const ODD: &str = "\
lost = before:any_group
[bench.group]
;semicolon = odd:a
co:lon = odd:b
UPPER = odd:c
same = odd:d
same = odd:d
same = odd:e
\"quoted\" = odd:f [x = \"q' ; # % \\ ]
%(name)s = odd:g
 = odd:h
  indented = odd:i [é]
[section] = odd:j
tab\tbed = odd:k [\t]
back\\slash\\ = odd:l
# comment = odd:m
[ space ]
n = odd:n
[]
n = odd:o
[a][b]
n = odd:p
[DEFAULT]
n = odd:q
[bench.group]
again = odd:r
";

/// The groups of [`ODD`] whose names are odd, and one that nobody declares.
const ODD_GROUPS: [&str; 5] = [" space ", "", "a][b", "DEFAULT", "none.such"];

/// One that is asked: a program, and the words that stand before the work.
struct Contender {
    name: String,
    program: PathBuf,
    words: Vec<String>,
    cache: PathBuf,
    /// Whether it looks at the path entries, so that it sees what was installed.
    looks: bool,
}

/// Two path entries, and a cache for each contender.
struct Scene {
    home: tempfile::TempDir,
}

impl Scene {
    /// Some dists of one path entry shadow those of the other.
    fn new() -> Scene {
        let scene = Scene {
            home: tempfile::tempdir().unwrap(),
        };
        scene.dist("a/alpha-1.0.dist-info", "alpha", Some("[bench.group]\none = alpha:One\n[z]\nx = alpha:x\n[bench.group]\ntwo = alpha:Two [e]\n"));
        scene.dist("a/declares_nothing-1.0.dist-info", "declares-nothing", None);
        scene.dist(
            "a/twice-1.dist-info",
            "twice",
            Some("[bench.group]\nt = twice:one\n"),
        );
        scene.dist(
            "a/twice-2.dist-info",
            "twice",
            Some("[bench.group]\nt = twice:two\n"),
        );
        scene.dist("b/odd-1.dist-info", "odd", Some(ODD));
        scene.dist(
            "b/Declares.Nothing-2.0.dist-info",
            "declares-nothing",
            Some("[bench.group]\nhidden = hidden:one\n"),
        );
        scene.dist(
            "b/Alpha-3.0.dist-info",
            "alpha",
            Some("[bench.group]\nhidden = hidden:two\n"),
        );
        scene.dist(
            "b/Upper_Case-1.DIST-INFO",
            "by-metadata",
            Some("[bench.group]\nupper = upper:one\n"),
        );
        scene.dist(
            "b/legacy.egg-info",
            "legacy",
            Some("[bench.group]\nlegacy = legacy:one\n"),
        );
        // CPython lists them beside alpha-1.0, and calls them by their metadata.
        for number in 2..10 {
            let directory = format!("a/alpha-{number}.DIST-INFO");
            let text = format!("[bench.group]\nbeside_{number} = beside:it\n");
            scene.dist(&directory, &format!("name-{number}"), Some(&text));
        }
        fs::write(
            scene.path("b/single-1.egg-info"),
            "Name: single\nVersion: 1\n",
        )
        .unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Installs a dist.
    fn dist(&self, metadata_dir: &str, name: &str, entry_points: Option<&str>) {
        let path = self.path(metadata_dir);
        fs::create_dir_all(&path).unwrap();
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1\n");
        fs::write(path.join("METADATA"), metadata).unwrap();
        if let Some(text) = entry_points {
            fs::write(path.join("entry_points.txt"), text).unwrap();
        }
    }

    /// All but `importlib.metadata`, each with a cache of its own, but for those of epcache, which have
    /// one together.
    fn contenders(&self) -> Vec<Contender> {
        let mut contenders = Vec::new();
        let mut add = |language: &str, module: &str, strategy: &str, cache: &str| {
            let words = [module, strategy]
                .into_iter()
                .filter(|word| !word.is_empty());
            contenders.push(Contender {
                name: format!("{strategy} in {language}"),
                program: match language {
                    "Rust" => env!("CARGO_BIN_EXE_strategies").into(),
                    _ => python(),
                },
                words: words.map(str::to_owned).collect(),
                cache: self.path(cache),
                looks: !strategy.ends_with("only"),
            });
        };
        add("Rust", "", "none", "unused");
        for strategy in CACHED {
            add("Rust", "", strategy, &format!("cache-rust-{strategy}"));
            add(
                "Python",
                "cached",
                strategy,
                &format!("cache-python-{strategy}"),
            );
        }
        for mode in ["exact", "fast", "only"] {
            add("Rust", "", &format!("index-{mode}"), "cache-epcache");
            add("Python", "reader", mode, "cache-epcache");
        }
        contenders
    }

    /// The reader has the command for that, which this test does not build.
    fn build(&self) {
        for contender in self.contenders() {
            if contender.words[0] != "reader" {
                self.run(&contender, &["build"]);
            }
        }
    }

    /// What `importlib.metadata` says.
    fn expected(&self, work: &[&str]) -> String {
        let none = Contender {
            name: "importlib.metadata".to_owned(),
            program: python(),
            words: vec!["none".to_owned()],
            cache: self.path("unused"),
            looks: true,
        };
        self.run(&none, work)
    }

    /// What a contender prints, after a check of what it tells of itself.
    fn run(&self, contender: &Contender, work: &[&str]) -> String {
        let mut command = self.command(contender);
        command.args(work).arg("--cache").arg(&contender.cache);
        for path_entry in ["a", "b"] {
            command.arg("--path").arg(self.path(path_entry));
        }
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success(),
            "{} {work:?}: {error}",
            contender.name
        );
        let keys = error.lines().last().unwrap().split(' ');
        let keys: Vec<&str> = keys
            .filter_map(|word| Some(word.split_once('=')?.0))
            .collect();
        assert_eq!(keys, ["ns", "peak", "rchar"], "{}", contender.name);
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, contender: &Contender) -> Command {
        let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = machine::command(&contender.program, self.home.path());
        if contender.program == python() {
            command.arg("-S"); // without the packages of this machine
            command.arg(benches.join("python/start.py"));
        }
        command
            .args(&contender.words)
            .env("PYTHONPATH", benches.join("../python"))
            .env("PYTHONPYCACHEPREFIX", self.path("compiled"))
            .env("EPCACHE_ON_STALE", "ignore");
        command
    }

    /// Stops unless all who are asked answer as `importlib.metadata` does.
    fn check(&self, when: &str, asked: impl Fn(&Contender) -> bool, groups: &[&str]) {
        let mut works = vec![vec!["list"]];
        works.extend(groups.iter().map(|group| vec!["find", "--group", group]));
        for work in works {
            let expected = self.expected(&work);
            for contender in self.contenders().iter().filter(|one| asked(one)) {
                let found = self.run(contender, &work);
                assert_eq!(found, expected, "{} {work:?} {when}", contender.name);
            }
        }
    }
}

/// The interpreter that judges, and runs the contenders: itself, not a launcher in front of it.
fn python() -> PathBuf {
    static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
        let named = std::env::var_os("EPCACHE_TEST_PYTHON");
        let named = named.unwrap_or_else(|| "python3".into());
        let asked =
            machine::answer(Command::new(named).args(["-c", "import sys; print(sys.executable)"]));
        asked.unwrap().into()
    });
    PYTHON.clone()
}

/// Every file below a directory, with what tells that it was written again.
fn written(directory: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for child in fs::read_dir(directory).into_iter().flatten() {
        let path = child.unwrap().path();
        if path.is_dir() {
            found.extend(written(&path));
        } else {
            let stat = fs::metadata(&path).unwrap();
            found.insert(path, (stat.ino(), stat.mtime(), stat.mtime_nsec()));
        }
    }
    found
}

#[test]
fn all_agree_with_importlib_metadata_before_and_after_an_install_and_a_removal() {
    let scene = Scene::new();
    let looks = |contender: &Contender| contender.looks;
    let every = |_: &Contender| true;
    assert!(
        scene
            .expected(&["list"])
            .contains("bench.group\tsame\todd:e\n")
    );
    scene.check("without a cache", looks, &[GROUP]);
    scene.build();
    let groups = [&[GROUP], &ODD_GROUPS[..]].concat();
    scene.check("with a fresh cache", every, &groups);

    // It shadows one, and is found in the first path entry.
    scene.dist(
        "a/odd-2.dist-info",
        "odd",
        Some("[bench.group]\nnew = odd:new\n"),
    );
    assert!(
        scene
            .expected(&["list"])
            .contains("bench.group\tnew\todd:new\n")
    );
    scene.check("after an install", looks, &[GROUP]);
    scene.build();
    scene.check("after an install and a build", every, &[GROUP]);

    // Shows what it shadowed.
    fs::remove_dir_all(scene.path("a/declares_nothing-1.0.dist-info")).unwrap();
    assert!(
        scene
            .expected(&["list"])
            .contains("bench.group\thidden\thidden:one\n")
    );
    scene.check("after a removal", looks, &[GROUP]);
    scene.build();
    scene.check("after a removal and a build", every, &[GROUP]);
}

#[test]
fn a_fresh_cache_is_not_written_again() {
    let scene = Scene::new();
    scene.build();
    for contender in scene.contenders().iter().filter(|one| one.looks) {
        let before = written(&contender.cache);
        let is_cached = contender.name != "none in Rust";
        assert_ne!(before.is_empty(), is_cached, "{}", contender.name);
        scene.run(contender, &["find", "--group", GROUP]);
        scene.run(contender, &["list"]);
        if contender.words[0] != "reader" {
            scene.run(contender, &["build"]);
        }
        assert_eq!(written(&contender.cache), before, "{}", contender.name);
    }
}

#[test]
fn a_damaged_cache_is_built_again() {
    let scene = Scene::new();
    scene.build();
    let expected = scene.expected(&["list"]);
    for contender in scene.contenders() {
        let strategy = contender.words.last().unwrap().as_str();
        if !CACHED[..CHECKED].contains(&strategy) {
            continue;
        }
        for damage in ["", "not what it was"] {
            let files = written(&contender.cache);
            for file in files.keys() {
                fs::write(file, damage).unwrap();
            }
            let found = scene.run(&contender, &["list"]);
            assert_eq!(found, expected, "{}", contender.name);
            for file in files.keys() {
                let size = fs::metadata(file).unwrap().len();
                assert!(size > damage.len() as u64, "{}", contender.name);
            }
        }
    }
}

#[test]
fn all_promise_the_order() {
    let scene = Scene::new();
    for contender in scene.contenders() {
        let printed = machine::answer(scene.command(&contender).arg("--promises")).unwrap();
        let promises: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(promises["order"], true, "{}", contender.name);
    }
}
