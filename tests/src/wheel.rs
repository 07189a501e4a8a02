//! Wheels made by the test: the smallest that installers take, as many as are needed, written by one
//! Python as the specification of the format says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::{judge, process};

/// With the times that reproducible builds give. Argument: a list of
/// `[wheel, name, version, text of entry_points.txt]`.
const WRITER: &str = r#"
import base64, hashlib, json, sys, zipfile

def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()

for wheel, name, version, entry_points in json.loads(sys.argv[1]):
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "def main():\n    pass\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
    }
    record = "".join(f"{file},sha256={digest(text)},{len(text.encode())}\n" for file, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            member = zipfile.ZipInfo(file, (2020, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16
            archive.writestr(member, text)
"#;

/// What a wheel is to hold.
#[derive(Clone, Debug)]
pub struct Wheel {
    /// The distribution's name, as it is in file names.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The text of `entry_points.txt`.
    pub entry_points: String,
}

impl Wheel {
    /// A distribution with one entry point in the group `demo.plugins`: its name, with this value.
    pub fn new(name: &str, version: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            entry_points: format!("[demo.plugins]\n{name} = {value}\n"),
        }
    }

    /// Writes this one.
    pub fn write(&self, directory: &Path) -> PathBuf {
        write_wheels(directory, std::slice::from_ref(self)).remove(0)
    }
}

/// Writes wheels into a directory, which is made if it is not there, and gives their paths.
pub fn write_wheels(directory: &Path, wheels: &[Wheel]) -> Vec<PathBuf> {
    fs::create_dir_all(directory).unwrap();
    let path = |wheel: &Wheel| {
        directory.join(format!("{}-{}-py3-none-any.whl", wheel.name, wheel.version))
    };
    let list: Value = wheels
        .iter()
        .map(|wheel| json!([path(wheel), wheel.name, wheel.version, wheel.entry_points]))
        .collect();
    process::succeed(
        Command::new(judge::python())
            .args(["-I", "-c", WRITER])
            .arg(list.to_string()),
    );
    wheels.iter().map(path).collect()
}
