//! The register: rooms, staff and assets, with every change and every import of spreadsheets.

mod history;
mod imports;
mod items;
mod plan;
mod rows;
mod search;
mod undo;

use xiezhi_model::{Field, RegisterKind};

use crate::StoreError;

pub use imports::{Import, ImportState};
pub(crate) use imports::{forget_stale, forgotten, is_stale};
pub use plan::{ImportRow, Plan, PlanProblem, PlannedRow};
pub use search::{RegisterCursor, RegisterPage, RegisterQuery};
pub use undo::{UNDO_DETAILS, UndoField, UndoObstacle, UndoPlan, UndoRow};

/// Why the register was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The site has it already.
    #[error("this site has a {} with the code {code:?} already: choose another code", .kind.noun())]
    Taken {
        /// What was to be made.
        kind: RegisterKind,
        /// Its code.
        code: String,
    },
    /// A room or an owner that is not there.
    #[error(
        "{}: this site has no {code:?} that is in use: add it first, or correct the code",
        .field.word()
    )]
    Unknown {
        /// Where it was named.
        field: Field,
        /// What was named.
        code: String,
    },
    /// The code of an item stays.
    #[error("a code never changes: retire this one and make another with the new code")]
    CodeStays,
    /// Somebody else was faster.
    #[error("it was changed in the meantime: read it again and decide anew")]
    Stale,
    /// A room or a member of staff that others name cannot go.
    #[error("{count} others in use name it: give them another room or owner first")]
    StillNamed {
        /// How many.
        count: i64,
    },
    /// The import was decided, withdrawn, or forgotten after a day.
    #[error("this import does not wait for that any more: upload the file again")]
    Over,
    /// The register is no longer what the preview was made of.
    #[error("the register was changed since this preview: look at the new preview and decide anew")]
    Moved,
    /// What an import made was changed since.
    #[error(
        "{} of the import's rows were changed or are named by others since: nothing was undone",
        .0.len()
    )]
    NotUndone(Vec<UndoObstacle>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for RegisterError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
