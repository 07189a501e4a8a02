//! Which `sys.path` is meant.
