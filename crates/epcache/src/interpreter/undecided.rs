//! Why files alone do not tell an environment's `sys.path`: the interpreter has to be asked then.

/// The reason, for the log and for error messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undecided(pub(super) String);

impl Undecided {
    pub(super) fn because<T>(reason: impl Into<String>) -> Result<T, Undecided> {
        Err(Undecided(reason.into()))
    }
}
