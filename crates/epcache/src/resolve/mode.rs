//! How much is checked before an index is believed.

use std::fmt;
use std::str::FromStr;

/// How much is checked before an index is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The path entry and every dist: one `stat` each. Never wrong.
    #[default]
    Exact,
    /// The path entry alone. Sees what pip and uv install, upgrade and remove; not an edit inside an
    /// existing metadata directory.
    Fast,
    /// Nothing: path entries are not touched at all; what index or mirror files say is the answer.
    Only,
    /// No cache is touched; the sources answer.
    Off,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(mode: &str) -> Result<Self, Self::Err> {
        match mode {
            "exact" => Ok(Self::Exact),
            "fast" => Ok(Self::Fast),
            "only" => Ok(Self::Only),
            "off" => Ok(Self::Off),
            other => Err(format!(
                "{other:?} is no mode; it is one of exact, fast, only, off"
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
            Self::Only => "only",
            Self::Off => "off",
        })
    }
}
