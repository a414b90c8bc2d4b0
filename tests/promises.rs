//! Each promise, with a test that breaks when the promise does.

mod bad_input;
mod check;
mod command_line;
mod crash;
mod examples;
mod failures;
mod histories;
mod http;
mod live;
mod privacy;
mod rebuild;
mod restore;
mod resume;
mod slow;
mod sse;
mod websocket;
mod world;
