//! Each promise, with a test that breaks when the promise does.

mod bad_input;
mod clicks;
mod command_line;
mod crash;
mod deliveries;
mod examples;
mod explain;
mod failures;
mod histories;
mod http;
mod live;
mod privacy;
mod progress;
mod rebuild;
mod resume;
mod slow;
mod sse;
mod stats;
mod websocket;
mod world;
