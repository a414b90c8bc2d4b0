//! The examples are the files beside this one; this crate holds nothing else.
