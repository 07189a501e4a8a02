//! What a test does on a machine that lacks something: it says so, where it is seen.

use std::io::Write;

/// Says that a test, or a part of it, is skipped because the machine or its user can't do it.
pub fn skip(reason: &str) {
    // Not `eprintln`: the test runner keeps that to itself while a test passes.
    writeln!(std::io::stderr(), "skipped: {reason}").ok();
}

/// Says that a test is skipped because a tool or a package index is not to be had. That is a
/// failure where `EPCACHE_TEST_REQUIRE=1` promises that they are.
pub fn missing(what: &str) {
    assert!(
        std::env::var_os("EPCACHE_TEST_REQUIRE").is_none_or(|value| value != "1"),
        "EPCACHE_TEST_REQUIRE=1, but {what}"
    );
    skip(what);
}
