//! What an interpreter tells of itself, in the one form that is read from it and remembered of it.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Environment, How, decide::Basis, posixpath::realpath, surroundings::Surroundings};

/// A string of the operating system, written as hexadecimal digits: no encoding can change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes(Vec<u8>);

impl Bytes {
    pub(super) fn of(text: impl AsRef<OsStr>) -> Bytes {
        Bytes(text.as_ref().as_bytes().to_vec())
    }

    pub(super) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn to_os_string(&self) -> OsString {
        OsString::from_vec(self.0.clone())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        let digits = self
            .0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        serializer.collect_str(&digits.collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |pair: &[u8]| {
            let [high, low] = pair else { return None };
            let nibble = |digit: &u8| char::from(*digit).to_digit(16);
            u8::try_from(nibble(high)? * 16 + nibble(low)?).ok()
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes
            .map(Bytes)
            .ok_or_else(|| D::Error::custom("not hexadecimal digits"))
    }
}

/// An interpreter's answer. One that is too old for epcache tells only its version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) version: (u32, u32),
    /// `sys.executable`.
    pub(super) executable: Bytes,
    pub(super) prefix: Bytes,
    /// `sysconfig.get_path("scripts")`.
    pub(super) scripts: Bytes,
    /// Whether `sys.path[0]` is left out (`PYTHONSAFEPATH`).
    pub(super) safe_path: bool,
    /// `sys.path` without the directory of the script.
    pub(super) path: Vec<Bytes>,
    /// All site directories, the user's too, whether they exist or not.
    pub(super) site_directories: Vec<Bytes>,
    pub(super) standard_library: Bytes,
    /// The files of `sitecustomize` and `usercustomize`, where there are any.
    pub(super) customizations: Vec<Bytes>,
}

impl Answer {
    /// The environment that the answer describes, which was given in these surroundings.
    pub(super) fn environment(&self, how: How, surroundings: &Surroundings) -> Environment {
        let mut path = Vec::with_capacity(self.path.len() + 1);
        if !self.safe_path {
            path.push(realpath(self.scripts.as_path()).into_os_string());
        }
        path.extend(self.path.iter().map(Bytes::to_os_string));
        Environment {
            executable: Some(PathBuf::from(self.executable.to_os_string())),
            prefix: Some(PathBuf::from(self.prefix.to_os_string())),
            version: Some(self.version),
            path,
            how,
            basis: Basis::of_answer(self, surroundings),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a value that can't be written should stop its test"
)]
mod tests {
    use super::Bytes;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    #[test]
    fn every_byte_comes_back_as_it_was() {
        let all: Vec<u8> = (0..=255).collect();
        let bytes = Bytes::of(OsStr::from_bytes(&all));
        let json = serde_json::to_string(&bytes).unwrap();
        assert!(json.starts_with("\"000102"));
        assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), bytes);
    }

    #[test]
    fn what_is_no_pair_of_digits_is_refused() {
        for json in ["\"0\"", "\"0g\"", "\"é\"", "1"] {
            assert!(serde_json::from_str::<Bytes>(json).is_err(), "{json}");
        }
    }
}
