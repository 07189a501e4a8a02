//! The base interpreter's `site.py`, read as text to learn which of CPython's rules it has: they
//! came in patch releases and in distributions' patches, so a version number does not tell.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

use super::{
    read::{self, Small},
    undecided::Undecided,
};

/// The largest `site.py` that is read; CPython's has 25 KB.
const MAX_SITE_PY_BYTES: u64 = 1 << 20;

/// An interpreter's `site.py`, opened when first needed.
#[derive(Debug)]
pub(super) struct SitePy {
    file: PathBuf,
    text: OnceCell<Option<Vec<u8>>>,
}

impl SitePy {
    /// The one of this standard library.
    pub(super) fn of(standard_library: &Path) -> SitePy {
        SitePy {
            file: standard_library.join("site.py"),
            text: OnceCell::new(),
        }
    }

    /// `.pth` files whose name starts with a dot are skipped (3.13, and patch releases before).
    pub(super) fn skips_hidden_pth(&self) -> Result<bool, Undecided> {
        self.says(r#"not name.startswith(".")"#)
    }

    /// `.pth` files with a hidden flag are skipped (came together with the above).
    pub(super) fn skips_flagged_pth(&self) -> Result<bool, Undecided> {
        self.says("UF_HIDDEN")
    }

    /// `.pth` files are UTF-8, with or without a byte order mark, and split by `str.splitlines`
    /// (3.13); before that they have the locale's encoding and a text file's lines.
    pub(super) fn reads_pth_as_utf8(&self) -> Result<bool, Undecided> {
        self.says("utf-8-sig")
    }

    /// Debian's patch: `dist-packages` directories.
    pub(super) fn is_debians(&self) -> Result<bool, Undecided> {
        self.says("dist-packages")
    }

    /// Fedora's patch: `/usr/local` is one more prefix, on conditions.
    pub(super) fn is_fedoras(&self) -> Result<bool, Undecided> {
        self.says("RPM_BUILD_ROOT")
    }

    fn says(&self, words: &str) -> Result<bool, Undecided> {
        let text = self
            .text
            .get_or_init(|| match read::small(&self.file, MAX_SITE_PY_BYTES) {
                Ok(Small::Content(text)) => Some(text),
                Ok(Small::TooLarge) | Err(_) => None,
            });
        match text {
            Some(text) => Ok(memchr::memmem::find(text, words.as_bytes()).is_some()),
            None => Undecided::because(format!("{} can't be read", self.file.display())),
        }
    }
}
