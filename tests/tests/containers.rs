//! Containers: what runs from a sealed image and installs packages on top, docs/packagers.md step by
//! step, with real layers and Debian's own package manager; and a store like that of Nix. Each step is
//! compared with the container's Python.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step of a test that fails is the test's failure"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use epcache_tests::binary;
use epcache_tests::environment::{self, Scratch, entries, is_root, set_mode, write_dist};
use epcache_tests::mount::Mount;
use epcache_tests::process::{self, stdout};
use epcache_tests::skip::{missing, skip};

/// Where Debian's packages go.
const DIST_PACKAGES: &str = "usr/lib/python3/dist-packages";
/// The Python of a container.
const PYTHON: &str = "/usr/bin/python3";
/// The devices that programs in a container expect, with their numbers.
const DEVICES: [(&str, &str); 3] = [("null", "3"), ("zero", "5"), ("urandom", "9")];

/// A container: layers over the file system of this machine, none of which it changes but its own.
struct Container<'s> {
    scratch: &'s Scratch,
    root: PathBuf,
    layers: Vec<PathBuf>,
    /// In the order in which they are to go.
    _mounts: [Mount; 2],
}

impl<'s> Container<'s> {
    /// With a new layer on the layers of another, which has ended; `space` is where layers lie.
    fn start(scratch: &'s Scratch, space: &Path, below: &[PathBuf]) -> Option<Self> {
        let number = below.len();
        let [root, upper, work] = ["root", "upper", "work"].map(|name| {
            let directory = space.join(format!("{name}-{number}"));
            fs::create_dir(&directory).unwrap();
            set_mode(&directory, 0o755);
            directory
        });
        let mut layers = vec![upper];
        layers.extend_from_slice(below);
        let lower: Vec<_> = below.iter().map(|layer| layer.to_str().unwrap()).collect();
        let lower = [&lower[..], &["/"]].concat().join(":");
        let (upper, work) = (layers[0].display(), work.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let overlay = Mount::new("overlay", &options, &root)?;
        let devices = devices(&root.join("dev"))?;
        Some(Self {
            scratch,
            root,
            layers,
            _mounts: [devices, overlay],
        })
    }

    /// Its layers, once it has ended.
    fn end(self) -> Vec<PathBuf> {
        self.layers.clone()
    }

    /// A program in it.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut chroot = Command::new("chroot");
        chroot.arg(&self.root).arg(program).args(arguments);
        chroot
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root/of-the-test");
        process::succeed(&mut chroot)
    }

    fn epcache(&self, arguments: &[&str]) -> String {
        stdout(&self.run("/usr/bin/epcache", arguments))
    }

    /// Debian's package manager, with a list of packages of its own.
    fn dpkg(&self, arguments: &[&str]) {
        let own = ["--admindir=/var/lib/dpkg-of-the-test", "--force-unsafe-io"];
        self.run("dpkg", &[&own[..], arguments].concat());
    }

    fn install(&self, deb: &Path) {
        let target = self.root.join("package.deb");
        fs::copy(deb, &target).unwrap();
        self.dpkg(&["-i", "/package.deb"]);
        fs::remove_file(target).unwrap();
    }

    fn state(&self) -> String {
        let said = self.epcache(&["status", "--python", PYTHON]);
        let of_packages = said
            .lines()
            .find(|line| line.ends_with(&format!("\t/{DIST_PACKAGES}")));
        let of_packages = of_packages.unwrap_or_else(|| panic!("{said}"));
        of_packages.split('\t').next().unwrap().to_owned()
    }

    /// The answer from inside and from outside is that of the container's own Python.
    fn agrees(&self, what: &str) -> Vec<Found> {
        let judged = self.run(PYTHON, &["-I", "-c", JUDGE]);
        let judged: Vec<Found> = serde_json::from_slice(&judged.stdout).unwrap();
        let query = self.epcache(&["query", "--python", PYTHON, "--format", "json"]);
        let found = environment::parse_json(query.as_bytes());
        let found: Vec<Found> = found
            .into_iter()
            .map(|e| (e.group, e.name, e.value, e.metadata_dir, e.path_entry))
            .collect();
        // The order of a seal is that in which the path entry was listed when it was made.
        let (mut found, mut judged) = (found, judged);
        if self.state() == "sealed" {
            found.sort();
            judged.sort();
        }
        let wrong = found
            .iter()
            .zip(&judged)
            .find(|(found, judged)| found != judged);
        assert_eq!(wrong, None, "{what}");
        assert_eq!(found.len(), judged.len(), "{what}");

        let mut outside = self.scratch.epcache();
        outside.args(["query", "--root"]).arg(&self.root);
        let of_packages = |path_entry: &str| path_entry == format!("/{DIST_PACKAGES}");
        let mut outside: Vec<_> = entries(outside.args(["--path", &format!("/{DIST_PACKAGES}")]))
            .into_iter()
            .map(|e| (e.group, e.name, e.value, e.metadata_dir, e.path_entry))
            .collect();
        outside.retain(|entry| entry.3.starts_with("epc"));
        if self.state() == "sealed" {
            outside.sort();
        }
        let own = judged.iter().filter(|it| of_packages(&it.4));
        let own: Vec<_> = own.filter(|it| it.3.starts_with("epc")).cloned().collect();
        assert_eq!(outside, own, "{what}, from outside");
        own
    }
}

/// Devices of the container's own: those of this machine stay out of the reach of whoever removes the
/// test's directory.
fn devices(target: &Path) -> Option<Mount> {
    let devices = Mount::tmpfs("mode=755", target)?;
    let made = DEVICES.iter().all(|(name, minor)| {
        let mut mknod = Command::new("mknod");
        mknod.args(["-m", "666"]).arg(target.join(name));
        let made = mknod.args(["c", "1", minor]).output();
        made.is_ok_and(|output| output.status.success())
    });
    made.then_some(devices)
}

/// Group, name, value, metadata directory, path entry.
type Found = (String, String, String, String, String);

/// What the Python of a container finds, by the rule of 3.12 and newer.
const JUDGE: &str = r#"
import importlib.metadata, json, os, sys
seen, found = set(), []
for path_entry in sys.path:
    for dist in importlib.metadata.distributions(path=[path_entry]):
        if dist._normalized_name in seen:
            continue
        seen.add(dist._normalized_name)
        place = os.path.basename(str(dist._path)), path_entry
        found += [(point.group, point.name, point.value, *place) for point in dist.entry_points]
json.dump(found, sys.stdout)
"#;

/// A Debian package with one distribution, which declares one entry point.
fn deb(scratch: &Scratch, name: &str, version: &str, value: &str) -> PathBuf {
    let tree = scratch.path_entry(&format!("deb/{name}-{version}-{}", value.replace(':', "-")));
    let site = tree.join(DIST_PACKAGES);
    let metadata_dir = format!("epc{name}-{version}.dist-info");
    write_dist(
        &site,
        &metadata_dir,
        Some(&format!("[epc.demo]\n{name} = {value}\n")),
    );
    fs::create_dir(site.join(format!("epc{name}"))).unwrap();
    fs::write(site.join(format!("epc{name}/__init__.py")), "").unwrap();
    fs::create_dir(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: python3-epc{name}\nVersion: {version}\nArchitecture: all\n\
         Maintainer: Nobody <nobody@example.org>\nDescription: a test\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let deb = tree.with_extension("deb");
    process::succeed(
        Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group"])
            .args([&tree, &deb]),
    );
    deb
}

/// Why there can be no container here, if so.
fn no_container() -> Option<&'static str> {
    match () {
        () if !is_root() => Some("only root can mount layers"),
        () if !Path::new(PYTHON).exists() => Some("there is no /usr/bin/python3"),
        () if Command::new("dpkg-deb").arg("--version").output().is_err() => {
            Some("there is no dpkg")
        }
        () => None,
    }
}

/// The steps of docs/packagers.md, with real layers and Debian's own package manager.
#[test]
fn a_container_answers_as_its_python_does_whatever_is_installed_on_top_of_a_sealed_image() {
    let scratch = Scratch::new();
    if let Some(reason) = no_container() {
        return skip(&format!("layers of a container: {reason}"));
    }
    let space = scratch.path_entry("space");
    let Some(_space) = Mount::tmpfs("mode=755", &space) else {
        return skip("layers of a container: no file system can be mounted here");
    };
    let Some(build) = Container::start(&scratch, &space, &[]) else {
        return skip("layers of a container: no overlay can be mounted here");
    };

    // The image: packages, and as the last step the seal.
    process::succeed(
        Command::new("cp")
            .arg(binary())
            .arg(build.root.join("usr/bin/epcache")),
    );
    let packages = build.root.join("var/lib/dpkg-of-the-test");
    for directory in ["info", "updates", "triggers"] {
        fs::create_dir_all(packages.join(directory)).unwrap();
    }
    fs::write(packages.join("status"), "").unwrap();
    for value in ["alpha", "bravo"] {
        build.install(&deb(&scratch, value, "1", &format!("{value}:main")));
    }
    build.epcache(&["sync", "--system"]); // as a package manager's trigger has done
    build.agrees("before the seal");
    fs::remove_dir_all(build.root.join("var/cache/epcache")).unwrap();
    build.epcache(&["sync", "--vendor", "--seal"]);
    assert_eq!(build.state(), "sealed");
    assert_eq!(build.agrees("after the seal").len(), 2);
    let image = build.end();

    // Run it, and install on top.
    let container = Container::start(&scratch, &space, &image).unwrap();
    assert_eq!(container.state(), "sealed", "in another container");
    container.agrees("at the start");
    let charlie = deb(&scratch, "charlie", "1", "charlie:main");
    container.install(&charlie);
    assert_eq!(container.state(), "source", "the seal is broken");
    assert_eq!(container.agrees("installed on top").len(), 3);
    container.dpkg(&["-r", "python3-epccharlie"]);
    assert_eq!(container.agrees("removed from the top").len(), 2);
    container.install(&charlie);

    type Step = (&'static str, fn(&Container<'_>, &Scratch));
    const STEPS: [Step; 5] = [
        ("nothing more", |_, _| {}),
        ("an upgrade", |container, scratch| {
            container.install(&deb(scratch, "alpha", "2", "alpha:second"));
        }),
        ("a rebuild of the same version", |container, scratch| {
            container.install(&deb(scratch, "bravo", "1", "bravo:rebuilt"));
        }),
        ("a downgrade", |container, scratch| {
            container.install(&deb(scratch, "alpha", "1", "alpha:again"));
        }),
        ("a removal from the image", |container, _| {
            container.dpkg(&["-r", "python3-epcbravo"]);
        }),
    ];
    for (what, step) in STEPS {
        step(&container, &scratch);
        container.agrees(what);
        container.epcache(&["sync", "--system"]);
        assert_eq!(container.state(), "fresh", "{what}");
        container.agrees(&format!("{what}, and the system's sync"));
    }
    let top = container.end();

    // What was made of it is an image again, if it is sealed again.
    let derived = Container::start(&scratch, &space, &top).unwrap();
    derived.agrees("committed");
    fs::remove_dir_all(derived.root.join("var/cache/epcache")).unwrap();
    derived.epcache(&["sync", "--vendor", "--seal"]);
    let derived = derived.end();
    let container = Container::start(&scratch, &space, &derived).unwrap();
    assert_eq!(container.state(), "sealed");
    assert_eq!(container.agrees("the derived image").len(), 2);
}

/// Makes a store like that of Nix: each package in a path of its own, and an environment of links to
/// what they have; all times 1, and nothing can be written. Gives the environment's path entry.
fn make_store(container: &Container<'_>) -> &'static str {
    const SITE: &str = "lib/python3.12/site-packages";
    const ENVIRONMENT: &str = "/nix/store/3f9x-python3-3.12-env/lib/python3.12/site-packages";
    let environment = container.root.join(&ENVIRONMENT[1..]);
    fs::create_dir_all(&environment).unwrap();
    for name in ["alpha", "bravo"] {
        let package = format!("nix/store/{name}7w2-python3.12-{name}-1/{SITE}");
        let metadata_dir = format!("{name}-1.dist-info");
        let text = format!("[g]\n{name} = {name}:main\n");
        write_dist(&container.root.join(&package), &metadata_dir, Some(&text));
        let link = environment.join(&metadata_dir);
        symlink(format!("/{package}/{metadata_dir}"), link).unwrap();
    }
    container.run(
        "find",
        &["/nix", "-depth", "-exec", "touch", "-hd", "@1", "{}", "+"],
    );
    container.run("chmod", &["-R", "a-w", "/nix"]);
    ENVIRONMENT
}

#[test]
fn a_store_like_that_of_nix_is_answered_from_the_seal_as_directory_and_as_squashfs() {
    let scratch = Scratch::new();
    if let Some(reason) = no_container() {
        return skip(&format!("a store: {reason}"));
    }
    let space = scratch.path_entry("space");
    let Some(_space) = Mount::tmpfs("mode=755", &space) else {
        return skip("a store: no file system can be mounted here");
    };
    let Some(container) = Container::start(&scratch, &space, &[]) else {
        return skip("a store: no overlay can be mounted here");
    };
    process::succeed(
        Command::new("cp")
            .arg(binary())
            .arg(container.root.join("usr/bin/epcache")),
    );
    let environment = make_store(&container);
    let agrees = |what: &str, state: &str| {
        let query = container.epcache(&["query", "--path", environment, "--format", "json"]);
        let found = environment::parse_json(query.as_bytes());
        let found: Vec<_> = found.into_iter().map(|entry| entry.value).collect();
        let judge = JUDGE.replace("in sys.path", "in sys.argv[1:]");
        let judged = container.run(PYTHON, &["-I", "-c", &judge, environment]);
        let judged: Vec<Found> = serde_json::from_slice(&judged.stdout).unwrap();
        let mut judged: Vec<_> = judged.into_iter().map(|found| found.2).collect();
        let mut found = found;
        found.sort(); // a squashfs lists names in another order
        judged.sort();
        assert_eq!(found, judged, "{what}");
        assert_eq!(found.len(), 2, "{what}");
        let said = container.epcache(&["status", "--path", environment]);
        assert_eq!(said.split('\t').next(), Some(state), "{what}: {said}");
    };
    agrees("no seal", "source");
    container.epcache(&["sync", "--vendor", "--seal", "--path", environment]);
    agrees("a directory", "sealed");
    let index = format!("usr/share/epcache{environment}/.index");
    let index = fs::read_to_string(container.root.join(index)).unwrap();
    assert!(
        !index.contains("\nself\t"),
        "nothing is left to be read: {index}"
    );

    let file = scratch.join("nix.squashfs");
    let store = container.root.join("nix");
    let mut mksquashfs = Command::new("mksquashfs");
    mksquashfs
        .arg(&store)
        .arg(&file)
        .args(["-quiet", "-no-progress"]);
    let Ok(made) = mksquashfs.output() else {
        return missing("there is no mksquashfs (Debian: squashfs-tools)");
    };
    assert!(made.status.success());
    let Some(_mount) = Mount::image(&file, &store) else {
        return skip("a store in a squashfs: it can't be mounted here");
    };
    agrees("a squashfs", "sealed");
}
