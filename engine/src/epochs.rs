//! Which epoch each position is of: what tells a cursor of this history from one of a history that was lost.
//!
//! Each time a log is opened for writing it begins an epoch, before it gives a position. If an older copy of the log is
//! put back, the positions after its end are given again, in another epoch: a cursor of the end that was lost names an
//! epoch that is not in the copy, or that ended there before the cursor's position. No file beside the log and no clock
//! is needed to see that, and who has not seen beyond the copy's end goes on as if nothing had happened.

use std::sync::Arc;

use crate::position::{Cursor, Epoch, Position};

/// The epochs of a log, oldest first. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs(Arc<[Began]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Began {
    /// The first position that was given in it, or would be.
    first: Position,
    epoch: Epoch,
}

/// A list of epochs that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("expected at least one epoch, each beginning after the one before it")]
pub struct EpochsError;

impl Epochs {
    /// Epochs by the first position given in each, in order. What came before the first of them counts as its own: the
    /// oldest epochs of a log may be forgotten, and their cursors are then of another history.
    ///
    /// # Errors
    /// When there is none, or when they are out of order.
    pub fn new(began: impl IntoIterator<Item = (Position, Epoch)>) -> Result<Self, EpochsError> {
        let began: Arc<[Began]> = began.into_iter().map(|(first, epoch)| Began { first, epoch }).collect();
        let in_order = began.windows(2).all(|pair| pair[0].first < pair[1].first);
        if began.is_empty() || !in_order {
            return Err(EpochsError);
        }
        Ok(Self(began))
    }

    /// What a client holds that has seen everything up to a position.
    #[must_use]
    pub fn cursor(&self, position: Position) -> Cursor {
        Cursor { epoch: self.0[self.index(position)].epoch.clone(), position }
    }

    /// Whether a cursor is of this history: whether its position is of its epoch. It may yet be beyond the log's head.
    #[must_use]
    pub fn hold(&self, cursor: &Cursor) -> bool {
        self.0[self.index(cursor.position)].epoch == cursor.epoch
    }

    /// Whether a cursor that is not held may be of an epoch that was forgotten: its position came before those that are known.
    #[must_use]
    pub fn may_have_forgotten(&self, cursor: &Cursor) -> bool {
        self.0.first().is_some_and(|oldest| cursor.position < oldest.first)
    }

    fn index(&self, position: Position) -> usize {
        // Nearly everybody asks for what is recent.
        let later = self.0.iter().rev().take_while(|began| began.first > position).count();
        (self.0.len() - later).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: u64) -> Epoch {
        Epoch::from_stored(&format!("{number:012x}"))
    }

    fn epochs(began: &[(u64, u64)]) -> Epochs {
        Epochs::new(began.iter().map(|(first, number)| (Position(*first), epoch(*number)))).unwrap()
    }

    #[test]
    fn a_position_is_of_the_last_epoch_that_began_by_then() {
        let epochs = epochs(&[(1, 1), (5, 2), (6, 3)]);
        for (position, number) in [(0, 1), (1, 1), (4, 1), (5, 2), (6, 3), (7, 3), (900, 3)] {
            let cursor = epochs.cursor(Position(position));
            assert_eq!(cursor.epoch, epoch(number), "{position}");
            assert!(epochs.hold(&cursor), "{position}");
        }
    }

    #[test]
    fn what_was_lost_is_not_held_however_far_the_log_has_grown_since() {
        let before = epochs(&[(1, 1), (5, 2)]);
        // Copied at position 9, and put back when the log had come to 20 and had once been opened in between, at 15.
        let lost = [before.cursor(Position(10)), before.cursor(Position(14))];
        let after = epochs(&[(1, 1), (5, 2), (10, 4)]);
        for cursor in lost.iter().chain([&Cursor { epoch: epoch(3), position: Position(15) }]) {
            assert!(!after.hold(cursor), "{cursor}");
        }
        assert!(after.hold(&before.cursor(Position(9))), "who has not seen beyond the copy goes on");
    }

    #[test]
    fn what_came_before_all_that_is_known_may_have_been_forgotten() {
        let epochs = epochs(&[(5, 2), (9, 3)]);
        let of = |number, position| Cursor { epoch: epoch(number), position: Position(position) };
        assert!(epochs.may_have_forgotten(&of(1, 4)));
        assert!(!epochs.may_have_forgotten(&of(1, 5)), "that is of an epoch that is known to be another");
    }

    #[test]
    fn epochs_out_of_order_are_refused() {
        assert!(Epochs::new([]).is_err());
        assert!(Epochs::new([(Position(2), epoch(1)), (Position(2), epoch(2))]).is_err());
    }
}
