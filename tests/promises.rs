//! Each promise, with a test that breaks when the promise does.

mod histories;
