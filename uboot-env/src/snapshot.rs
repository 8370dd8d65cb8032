//! What was read, and what to write: the whole transaction as pure steps.
//!
//! A caller with other I/O reads its copies, makes a [`Snapshot`] of them, asks for a
//! [`WritePlan`] and carries out its steps one by one: write, make durable, read back and compare,
//! then obsolete. [`crate::txn`] does exactly that with an [`EnvStorage`](crate::storage::EnvStorage).

use crate::codec::{Endian, Image, ImageError, Layout};
use crate::env::Env;
use crate::select::{CopyId, CopyState, FlagScheme, Standing};
use crate::storage::CopyError;
use thiserror::Error;

/// What must be known about an environment, besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// One copy or two.
    pub layout: Layout,
    /// Bytes of each copy.
    pub size: u64,
    /// Of the CRC.
    pub endian: Endian,
    /// Use of the flags byte.
    pub scheme: FlagScheme,
}

impl Shape {
    /// The copies there are.
    #[must_use]
    pub const fn copies(&self) -> &'static [CopyId] {
        match self.layout {
            Layout::Single => &[CopyId::First],
            Layout::Redundant => &[CopyId::First, CopyId::Second],
        }
    }
}

/// Why a copy does not count.
#[derive(Debug, Error)]
pub enum CopyProblem {
    /// It could not be read.
    #[error("cannot be read")]
    Unreadable(#[source] CopyError),
    /// It was read and is no environment.
    #[error("is not valid")]
    Invalid(#[source] ImageError),
}

/// One copy as it was read.
pub type CopyView = Result<Image, CopyProblem>;

/// Both copies as they were read, and which one counts.
#[derive(Debug)]
pub struct Snapshot {
    shape: Shape,
    first: CopyView,
    second: Option<CopyView>,
    standing: Standing,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteStep {
    /// The copy to write; never the one that counts (unless there is only one).
    pub copy: CopyId,
    /// Its new bytes.
    pub image: Vec<u8>,
    /// Afterwards, when `copy` has been read back and found right: set the flags byte of this
    /// other one to 0.
    pub then_obsolete: Option<CopyId>,
}

/// What to write, in order. Empty if nothing changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WritePlan {
    /// One step; two if the pair of copies was not in order, or there was no valid copy.
    pub steps: Vec<WriteStep>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Writing now would bury whatever is wrong under an environment that nobody chose.
    #[error(
        "no copy of the environment is valid, so nothing is written; `uboot-env doctor` tells why. If \
         size, offset and layout in the configuration are right and the environment is really lost, \
         start a new one with `uboot-env set --init NAME=VALUE`"
    )]
    NoValidCopy,
    /// The variables do not fit.
    #[error("the new environment cannot be stored")]
    Image(#[from] ImageError),
}

impl Snapshot {
    /// Judges the copies as they were read: one for a single, two for a redundant environment.
    #[must_use]
    pub fn new(
        shape: Shape,
        first: Result<Vec<u8>, CopyError>,
        second: Option<Result<Vec<u8>, CopyError>>,
    ) -> Self {
        let view = |read: Result<Vec<u8>, CopyError>| -> CopyView {
            let bytes = read.map_err(CopyProblem::Unreadable)?;
            if bytes.len() as u64 != shape.size {
                let size = bytes.len() as u64;
                return Err(CopyProblem::Invalid(ImageError::Size { size }));
            }
            Image::parse(&bytes, shape.layout, shape.endian).map_err(CopyProblem::Invalid)
        };
        let (first, second) = (view(first), second.map(view));
        let other = second.as_ref().map_or(CopyState::Invalid, state);
        let standing = Standing::of(shape.scheme, state(&first), other);
        Self {
            shape,
            first,
            second,
            standing,
        }
    }

    /// The shape given.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Which copy counts, and how sure that is.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// A copy, if the environment has it.
    #[must_use]
    pub const fn copy(&self, id: CopyId) -> Option<&CopyView> {
        match id {
            CopyId::First => Some(&self.first),
            CopyId::Second => self.second.as_ref(),
        }
    }

    /// The state of a copy as the selection rules see it.
    #[must_use]
    pub fn state(&self, id: CopyId) -> CopyState {
        self.copy(id).map_or(CopyState::Invalid, state)
    }

    /// The image that counts.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.copy(self.standing.current()?)?.as_ref().ok()
    }

    /// The variables that count.
    #[must_use]
    pub fn env(&self) -> Option<&Env> {
        self.image().map(|image| &image.env)
    }

    /// Whether writing the environment anew would make it safer: a copy is bad, the pair is one that
    /// readers could judge differently, or U-Boot rejects what is in it.
    #[must_use]
    pub fn needs_repair(&self) -> bool {
        let lost = self.shape.layout == Layout::Redundant
            && matches!(self.standing, Standing::OneCopy { .. });
        let both = self.shape.layout == Layout::Redundant && self.standing.needs_both();
        lost || both || self.env().is_some_and(Env::is_rejected)
    }

    /// The plan that makes `env` the environment. Empty if it already is.
    ///
    /// # Errors
    /// [`PlanError::NoValidCopy`]: see [`Self::plan_init`]; [`PlanError::Image`] if it does not fit.
    pub fn plan(&self, env: &Env) -> Result<WritePlan, PlanError> {
        let now = self.env().ok_or(PlanError::NoValidCopy)?;
        if now == env {
            Ok(WritePlan::default())
        } else {
            self.plan_rewrite(env)
        }
    }

    /// The plan that puts all copies in order without changing a variable. Empty if they are.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn plan_repair(&self) -> Result<WritePlan, PlanError> {
        let env = self.env().ok_or(PlanError::NoValidCopy)?;
        if self.needs_repair() {
            let mut env = env.clone();
            env.drop_rejected();
            self.plan_rewrite(&env)
        } else {
            Ok(WritePlan::default())
        }
    }

    /// The plan that starts an environment where none is valid. If one is valid, the same as
    /// [`Self::plan`].
    ///
    /// # Errors
    /// [`PlanError::Image`] if it does not fit.
    pub fn plan_init(&self, env: &Env) -> Result<WritePlan, PlanError> {
        if self.env().is_some() {
            self.plan(env)
        } else {
            self.plan_rewrite(env)
        }
    }

    fn plan_rewrite(&self, env: &Env) -> Result<WritePlan, PlanError> {
        let Shape {
            layout,
            size,
            endian,
            scheme,
        } = self.shape;
        if layout == Layout::Single {
            let image = Image::render(env, None, size, endian)?;
            let step = WriteStep {
                copy: CopyId::First,
                image,
                then_obsolete: None,
            };
            return Ok(WritePlan { steps: vec![step] });
        }
        let obsolete = |copy| (scheme == FlagScheme::Boolean).then_some(copy);
        let (old, flags) = match (self.standing.current(), self.image().and_then(|i| i.flags)) {
            (Some(current), Some(flags)) => (current, scheme.next(flags)),
            // Nothing counts: the first copy comes first, and there is none to obsolete.
            _ => (CopyId::Second, scheme.initial()),
        };
        let new = old.other();
        let mut steps = vec![WriteStep {
            copy: new,
            image: Image::render(env, Some(flags), size, endian)?,
            then_obsolete: self.standing.current().and_then(obsolete),
        }];
        if self.standing.needs_both() {
            let image = Image::render(env, Some(scheme.next(flags)), size, endian)?;
            steps.push(WriteStep {
                copy: old,
                image,
                then_obsolete: obsolete(new),
            });
        }
        Ok(WritePlan { steps })
    }
}

fn state(view: &CopyView) -> CopyState {
    match view {
        Ok(image) => CopyState::Valid {
            flags: image.flags.unwrap_or_default(),
        },
        Err(CopyProblem::Invalid(_)) => CopyState::Invalid,
        Err(CopyProblem::Unreadable(_)) => CopyState::Unreadable,
    }
}
