//! A transaction: load, edit, one durable write that is read back.

use crate::access::{self, AccessError, Rule};
use crate::codec::Layout;
use crate::env::{Change, Env, VarError, VarName};
use crate::select::CopyId;
use crate::snapshot::{PlanError, Shape, Snapshot, WritePlan, WriteStep};
use crate::storage::lock::Locks;
use crate::storage::{CopyError, EnvStorage};
use thiserror::Error;

/// Why a transaction failed.
#[derive(Debug, Error)]
pub enum TxnError {
    /// Nothing was touched.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A write, or the check after it, failed.
    #[error("writing {copy} failed; {aftermath}")]
    Write {
        /// The copy that was being written.
        copy: CopyId,
        /// What readers see now.
        aftermath: Aftermath,
        /// What failed.
        #[source]
        source: WriteError,
    },
}

/// What failed in a write step.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The medium refused.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The medium accepted the bytes and gives others back.
    #[error("what was read back differs from what was written, first at byte {at:#x} of the copy")]
    ReadBack {
        /// Offset of the first difference.
        at: usize,
    },
    /// The flags byte of the old copy is not 0 although that was written.
    #[error("{copy} could not be marked obsolete")]
    StillActive {
        /// The old copy.
        copy: CopyId,
    },
}

/// What counts after a failed write, found out by reading everything again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aftermath {
    /// The environment from before.
    OldInUse,
    /// The new one; only its marking failed.
    NewInUse,
    /// As before, no copy is valid.
    StillNone,
    /// No copy is valid any more: U-Boot will use its built-in default.
    Lost,
}

impl std::fmt::Display for Aftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OldInUse => "the environment from before is still in use",
            Self::NewInUse => "the new environment is in use all the same",
            Self::StillNone => "there is still no valid environment",
            Self::Lost => {
                "no copy is valid now, U-Boot will start with its built-in default: write again, \
                 before the next restart"
            }
        })
    }
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Outcome {
    /// Equal content: nothing was written.
    Unchanged,
    /// Written, read back and found right.
    Written {
        /// The copy that now counts.
        current: CopyId,
        /// The other copy should have been put in order too, and was not. The new environment is
        /// in use, but has no second copy to fall back to.
        not_repaired: Option<WriteError>,
    },
}

/// An environment that was loaded under its locks and can be edited.
pub struct Txn<'a> {
    storage: &'a mut dyn EnvStorage,
    /// Held until the end, so that what was loaded is still true when it is written.
    _locks: Locks,
    snapshot: Snapshot,
    env: Env,
    writelist: Option<Vec<Rule>>,
}

/// Why an edit is refused. The transaction can go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// It cannot be stored.
    #[error(transparent)]
    Var(#[from] VarError),
    /// It is forbidden.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl<'a> Txn<'a> {
    /// Loads all copies. Copies that cannot be read, or are all invalid, are no error here: look
    /// at [`Self::snapshot`].
    pub fn load(storage: &'a mut dyn EnvStorage, shape: Shape, locks: Locks) -> Self {
        let snapshot = read_all(storage, shape);
        let env = snapshot.env().cloned().unwrap_or_default();
        Self {
            storage,
            _locks: locks,
            snapshot,
            env,
            writelist: None,
        }
    }

    /// Lets only these variables be written.
    #[must_use]
    pub fn with_writelist(mut self, writelist: Option<Vec<Rule>>) -> Self {
        self.writelist = writelist;
        self
    }

    /// What was read.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The variables with all edits so far.
    #[must_use]
    pub const fn env(&self) -> &Env {
        &self.env
    }

    /// Sets a variable to stored bytes, `None` deletes it. `.flags` and the writelist are obeyed,
    /// as they were when the environment was loaded.
    ///
    /// # Errors
    /// [`EditError`]; nothing is changed then.
    pub fn set(&mut self, name: &VarName, value: Option<&[u8]>) -> Result<Change, EditError> {
        access::check(&self.env, self.writelist.as_deref(), name, value)?;
        Ok(match value {
            Some(value) => self.env.set(name, value)?,
            None => self.env.remove(name),
        })
    }

    /// Starts from these variables instead of those loaded; for an environment that is lost.
    pub fn replace(&mut self, env: Env) {
        self.env = env;
    }

    /// What [`Self::commit`] would do.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn plan(&self) -> Result<WritePlan, PlanError> {
        self.snapshot.plan(&self.env)
    }

    /// Makes the edits durable with one environment write. Afterwards the transaction has been
    /// loaded anew and can be used again.
    ///
    /// # Errors
    /// [`TxnError`]; after [`TxnError::Plan`] nothing was touched.
    pub fn commit(&mut self) -> Result<Outcome, TxnError> {
        self.run(&self.snapshot.plan(&self.env)?)
    }

    /// Like [`Self::commit`], and also starts a new environment where no copy is valid.
    ///
    /// # Errors
    /// [`TxnError`].
    pub fn commit_init(&mut self) -> Result<Outcome, TxnError> {
        self.run(&self.snapshot.plan_init(&self.env)?)
    }

    /// Puts the copies in order without changing a variable.
    ///
    /// # Errors
    /// [`TxnError`].
    pub fn repair(&mut self) -> Result<Outcome, TxnError> {
        self.run(&self.snapshot.plan_repair()?)
    }

    fn run(&mut self, plan: &WritePlan) -> Result<Outcome, TxnError> {
        let Some((first, rest)) = plan.steps.split_first() else {
            return Ok(Outcome::Unchanged);
        };
        let before = self.snapshot.env().cloned();
        if let Err(source) = self.step(first) {
            // Safe to stop: the copy that was written is not the one that counted before, and the
            // marking of the old one comes last. Only a single copy can be lost here.
            self.snapshot = read_all(self.storage, self.snapshot.shape());
            let aftermath = match self.snapshot.env() {
                None if before.is_none() => Aftermath::StillNone,
                None => Aftermath::Lost,
                Some(now) if Some(now) == before.as_ref() => Aftermath::OldInUse,
                Some(_) => Aftermath::NewInUse,
            };
            return Err(TxnError::Write {
                copy: first.copy,
                aftermath,
                source,
            });
        }
        let not_repaired = rest.iter().find_map(|step| self.step(step).err());
        self.snapshot = read_all(self.storage, self.snapshot.shape());
        let current = self.snapshot.standing().current().unwrap_or(first.copy);
        Ok(Outcome::Written {
            current,
            not_repaired,
        })
    }

    /// Write, durable; read back, compare; then mark the other.
    fn step(&mut self, step: &WriteStep) -> Result<(), WriteError> {
        self.storage.write(step.copy, &step.image)?;
        let back = self.storage.read(step.copy)?;
        if let Some(at) = first_difference(&step.image, &back) {
            return Err(WriteError::ReadBack { at });
        }
        let Some(old) = step.then_obsolete else {
            return Ok(());
        };
        self.storage.obsolete(old)?;
        let marked = self.storage.read(old)?;
        if marked.get(crate::codec::FLAGS_OFFSET) != Some(&crate::select::FLAG_OBSOLETE) {
            return Err(WriteError::StillActive { copy: old });
        }
        Ok(())
    }
}

fn first_difference(want: &[u8], have: &[u8]) -> Option<usize> {
    if want == have {
        return None;
    }
    let at = want.iter().zip(have).position(|(a, b)| a != b);
    Some(at.unwrap_or(want.len().min(have.len())))
}

/// Reads what there is and judges it.
pub fn read_all(storage: &mut dyn EnvStorage, shape: Shape) -> Snapshot {
    let first = storage.read(CopyId::First);
    let second = (shape.layout == Layout::Redundant).then(|| storage.read(CopyId::Second));
    Snapshot::new(shape, first, second)
}
