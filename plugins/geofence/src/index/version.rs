//! All fences of a moment.

use std::sync::Arc;

use super::query::nearest_owners;
use super::run::{Entry, Run};
use super::{Fence, FenceId, Match, Query};
use crate::geometry::Shape;
use crate::position::Position;
use crate::sphere::{Vector, chord_of_metres};

/// All fences of a moment: what is asked of one version agrees.
#[derive(Debug)]
pub struct Version {
    pub(super) number: u64,
    /// How many fences there are.
    pub(super) len: usize,
    /// Almost all fences.
    pub(super) main: Arc<Run>,
    /// What had changed when the tree that will replace the main one was begun; empty if none was.
    pub(super) frozen: Vec<Arc<Run>>,
    /// What has changed since, smallest first. A level may be empty.
    pub(super) levels: Vec<Option<Arc<Run>>>,
}

impl Version {
    /// How many fences there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The fences that a query asks for, in no order.
    #[must_use]
    pub fn matches(&self, query: &Query) -> Vec<Match> {
        let mut matches = Vec::new();
        self.each_match(query, |found| matches.push(found));
        matches
    }

    /// The `k` nearest owners of the fences that a query asks for, each by the nearest of its fences, nearest first.
    #[must_use]
    pub fn nearest_owners(&self, query: &Query, k: usize) -> Vec<Match> {
        nearest_owners(self.matches(query), k)
    }

    /// Tells each fence that a query asks for, in no order.
    pub fn each_match(&self, query: &Query, mut found: impl FnMut(Match)) {
        // Beyond half round the earth, everything is within.
        let within = query.within.map(|metres| (chord_of_metres(metres.clamp(0.0, 2.0e7)) + 3e-16).powi(2));
        self.each_holding(query.at.vector(), |entry, chord2| {
            if within.is_none_or(|within| chord2 <= within) && query.admits(entry.conditions.as_deref()) {
                found(Match { fence: entry.id, chord2 });
            }
        });
    }

    /// What a fence encloses, if it is there.
    #[must_use]
    pub fn shape(&self, id: FenceId) -> Option<Shape> {
        self.entry(id).map(Entry::shape)
    }

    /// Whether a fence holds a position; `None` if the fence is not there.
    #[must_use]
    pub fn holds(&self, id: FenceId, position: Position) -> Option<bool> {
        self.entry(id).map(|entry| entry.shape().contains(position.vector()))
    }

    /// Whether a fence is there and counts for a query, wherever it is.
    #[must_use]
    pub fn counts(&self, id: FenceId, query: &Query) -> bool {
        self.entry(id).is_some_and(|entry| query.admits(entry.conditions.as_deref()))
    }

    /// How many bytes the fences take, with what finds them and their outlines, without their conditions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs().map(|run| run.bytes()).sum()
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.levels.iter().flatten().chain(&self.frozen).chain([&self.main])
    }

    pub(super) fn entry(&self, id: FenceId) -> Option<&Entry> {
        self.runs().filter_map(|run| run.find(id)).find(|entry| entry.is_in(self.number))
    }

    pub(super) fn fences(&self) -> impl Iterator<Item = Fence> {
        self.runs().flat_map(|run| run.fences(self.number))
    }

    fn each_holding(&self, place: Vector, mut found: impl FnMut(&Entry, f64)) {
        for run in self.runs() {
            run.near(place, |entry, chord2| {
                let is_inside = |outline| crate::geometry::is_within(outline, entry.centre, place, chord2);
                if entry.outline.as_deref().is_none_or(is_inside) && entry.is_in(self.number) {
                    found(entry, chord2);
                }
            });
        }
    }
}
