//! pyenv's shims: `python3` on `PATH` is then a shell script, and which interpreter it starts
//! depends on variables and on `.python-version` files. This says on what, so that an answer can
//! be remembered for as long as none of it changes.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use super::surroundings::Surroundings;

/// The last line of a shim, after the place of pyenv itself.
const CALL: &[u8] = br#"pyenv" exec "$program" "$@""#;

/// The line of a shim that names pyenv's directory.
const ROOT: &[u8] = b"export PYENV_ROOT=\"";

/// The directory of pyenv, if this is the text of one of its shims.
pub(super) fn root_of_shim(text: &[u8]) -> Option<PathBuf> {
    memchr::memmem::find(text, CALL)?;
    let line = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(ROOT))?;
    let root = OsString::from_vec(line.strip_suffix(b"\"")?.to_vec());
    Some(PathBuf::from(root)).filter(|root| root.is_absolute())
}

/// Whether an interpreter is one that pyenv has installed: what pyenv takes from `PATH` instead
/// depends on all the directories there.
pub(super) fn has_installed(root: &Path, executable: &Path) -> bool {
    executable.starts_with(root.join("versions"))
}

/// Whether a variable can change which interpreter a shim starts.
pub(super) fn is_relevant(variable: &[u8]) -> bool {
    variable.starts_with(b"PYENV_") || variable.starts_with(b"_PYENV_") || variable == b"PATH"
}

/// The files and directories that decide, existing or not.
pub(super) fn deciders(root: &Path, surroundings: &Surroundings) -> Vec<PathBuf> {
    let mut deciders: Vec<PathBuf> = ["version", "versions", "plugins", "pyenv.d"]
        .map(|name| root.join(name))
        .to_vec();
    let named = surroundings.filled("PYENV_DIR").map(Path::new);
    deciders.extend(
        [named, surroundings.cwd()]
            .into_iter()
            .flatten()
            .filter_map(local_version),
    );
    deciders
}

/// The `.python-version` file of a directory: its own or the nearest above.
fn local_version(directory: &Path) -> Option<PathBuf> {
    directory
        .ancestors()
        .map(|directory| directory.join(".python-version"))
        .find(|file| file.is_file())
}

/// Whether a file is a program for the machine itself and not a script.
pub(super) fn is_native(start: &[u8]) -> bool {
    const ELF: &[u8] = b"\x7fELF";
    const MACH_O: [&[u8]; 3] = [
        b"\xcf\xfa\xed\xfe",
        b"\xce\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
    ];
    start.starts_with(ELF) || MACH_O.iter().any(|magic| start.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::root_of_shim;
    use std::path::PathBuf;

    const SHIM: &str = "#!/usr/bin/env bash\nset -e\nprogram=\"${0##*/}\"\n\
        export PYENV_ROOT=\"/home/me/.pyenv\"\nexec \"/opt/pyenv/libexec/pyenv\" exec \"$program\" \"$@\"\n";

    #[test]
    fn a_shim_tells_where_pyenv_is() {
        assert_eq!(
            root_of_shim(SHIM.as_bytes()),
            Some(PathBuf::from("/home/me/.pyenv"))
        );
    }

    #[test]
    fn another_script_is_no_shim() {
        for script in [
            "",
            "#!/bin/sh\nexec python3 \"$@\"\n",
            &SHIM.replace("\"$program\"", "python3"),
        ] {
            assert_eq!(root_of_shim(script.as_bytes()), None);
        }
    }
}
