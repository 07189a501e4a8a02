//! The command under test: the real binary, built once for a test process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of the `epcache` binary: `EPCACHE_TEST_BINARY`, or the workspace's own, built here.
///
/// `cargo test` builds a package's own binaries only, so this asks cargo for the command's.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("EPCACHE_TEST_BINARY") {
            return PathBuf::from(path);
        }
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "epcache-cli",
                "--message-format=json",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo, which runs this test, can be started");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .expect("cargo's messages are UTF-8")
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .expect("cargo names the executable that it built")
    })
}

/// The command with an environment of its own: no cache, no configuration and no virtual
/// environment but those that the test names.
pub fn epcache(home: &Path) -> Command {
    let mut command = Command::new(binary());
    for variable in [
        "EPCACHE_PATH",
        "EPCACHE_MODE",
        "EPCACHE_ON_STALE",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "PYTHONHOME",
        "NO_COLOR",
    ] {
        command.env_remove(variable);
    }
    command
        .env("HOME", home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_CONFIG_HOME", home.join("config"));
    command
}
