//! How long steps tell where they are.

/// Is told what is going on.
pub trait Observer {
    /// A step begins.
    fn step(&mut self, what: &str);

    /// `done` of `total` bytes of the current step.
    fn progress(&mut self, done: u64, total: u64);

    /// Something that the user should know, but that does not stop the work.
    fn warn(&mut self, what: &str);
}

/// Tells nobody.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn step(&mut self, _what: &str) {}

    fn progress(&mut self, _done: u64, _total: u64) {}

    fn warn(&mut self, _what: &str) {}
}
