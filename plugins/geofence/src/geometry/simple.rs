//! Whether a ring meets itself, and where. Its edges are straight lines of a plane.
//!
//! geo's own validation compares every edge with every other, names no edge, and lets pass what turns back on itself.

use geo::algorithm::line_intersection::{LineIntersection, line_intersection};
use geo::{Coord, Line};

/// What is wrong with a ring: indexes of its edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Two edges meet that are not neighbours.
    Crossing(usize, usize),
    /// An edge goes back over the one before it.
    Spike(usize),
}

/// The first fault that is found in a ring, the last point of which is not the first again.
pub(super) fn fault(points: &[Coord<f64>]) -> Option<Fault> {
    let edges: Vec<Line<f64>> =
        (0..points.len()).map(|at| Line::new(points[at], points[(at + 1) % points.len()])).collect();
    if let Some(spike) =
        (0..edges.len()).find(|&at| turns_back(&edges[(at + edges.len() - 1) % edges.len()], &edges[at]))
    {
        return Some(Fault::Spike(spike));
    }
    // From left to right; only edges that overlap in both axes are compared.
    let mut order: Vec<usize> = (0..edges.len()).collect();
    order.sort_unstable_by(|&a, &b| left(&edges[a]).total_cmp(&left(&edges[b])));
    let mut open: Vec<usize> = Vec::new();
    for at in order {
        let edge = &edges[at];
        open.retain(|&other| right(&edges[other]) >= left(edge));
        for &other in &open {
            if overlap_in_height(edge, &edges[other])
                && let Some(fault) = meet(&edges, at.min(other), at.max(other))
            {
                return Some(fault);
            }
        }
        open.push(at);
    }
    None
}

fn meet(edges: &[Line<f64>], first: usize, second: usize) -> Option<Fault> {
    let meeting = line_intersection(edges[first], edges[second])?;
    let is_neighbour = second == first + 1 || (first == 0 && second == edges.len() - 1);
    match meeting {
        LineIntersection::SinglePoint { .. } if is_neighbour => None,
        _ => Some(Fault::Crossing(first, second)),
    }
}

/// Whether an edge goes back over the one before it: by an angle that rounding in the projection may make of none.
fn turns_back(before: &Line<f64>, edge: &Line<f64>) -> bool {
    let (one, other) = (before.delta(), edge.delta());
    let (across, along) = (one.x * other.y - one.y * other.x, one.x * other.x + one.y * other.y);
    along < 0.0 && across.abs() <= 1e-9 * -along
}

fn left(edge: &Line<f64>) -> f64 {
    edge.start.x.min(edge.end.x)
}

fn right(edge: &Line<f64>) -> f64 {
    edge.start.x.max(edge.end.x)
}

fn overlap_in_height(one: &Line<f64>, other: &Line<f64>) -> bool {
    one.start.y.min(one.end.y) <= other.start.y.max(other.end.y)
        && other.start.y.min(other.end.y) <= one.start.y.max(one.end.y)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(points: &[[f64; 2]]) -> Option<Fault> {
        let points: Vec<Coord<f64>> = points.iter().map(|&[x, y]| Coord { x, y }).collect();
        fault(&points)
    }

    #[test]
    fn a_ring_that_meets_itself_is_found_with_its_edges() {
        assert_eq!(fault_of(&[[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), Some(Fault::Crossing(0, 2)));
        assert_eq!(fault_of(&[[0.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), Some(Fault::Spike(1)));
        assert_eq!(fault_of(&[[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [2.0, 0.0]]), Some(Fault::Spike(3)));
        // A corner that lies on another edge, and one that is visited twice.
        let touching = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 0.0], [0.0, 4.0]];
        assert!(matches!(fault_of(&touching), Some(Fault::Crossing(0, _))));
        let eight = [[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [2.0, 2.0], [1.0, 1.0], [0.0, 2.0]];
        assert!(matches!(fault_of(&eight), Some(Fault::Crossing(..))));
    }

    #[test]
    fn rings_of_every_other_form_are_let_pass() {
        assert_eq!(fault_of(&[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), None);
        assert_eq!(fault_of(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]), None);
        let star: Vec<[f64; 2]> = (0..200)
            .map(|at| {
                let (angle, radius) =
                    (f64::from(at) / 200.0 * std::f64::consts::TAU, 1.0 + f64::from(at % 2));
                [angle.cos() * radius, angle.sin() * radius]
            })
            .collect();
        assert_eq!(fault_of(&star), None);
    }
}
