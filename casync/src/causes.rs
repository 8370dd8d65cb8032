//! Errors where no source can go along: in one line, with all that caused them.

use std::error::Error;
use std::fmt;

/// Shows an error and its causes: `what: why: why that`.
pub(crate) struct WithCauses<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error as IoError, ErrorKind};

    use super::*;
    use crate::store::StoreError;

    #[test]
    fn every_cause_is_told_once() {
        let refused = IoError::new(ErrorKind::PermissionDenied, "not yours");
        let error = StoreError::Unreadable(Box::new(refused));
        let told = WithCauses(&error).to_string();
        assert_eq!(told, "the store cannot be read: not yours");
        let told = WithCauses(&StoreError::Missing).to_string();
        assert_eq!(told, "the chunk is not in the store");
    }
}
