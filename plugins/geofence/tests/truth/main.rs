//! What is inside, against answers that were found in other ways.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "tests")]

mod brute;
mod changes;
mod live;
mod on_the_sphere;
mod recorded;
mod straight;
mod world;
