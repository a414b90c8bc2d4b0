//! Each promise, with a test that breaks when the promise does.

mod bad_input;
mod changes;
mod command_line;
mod crash;
mod disk;
mod disk_errors;
mod examples;
mod failures;
mod full_disk;
mod histories;
mod http;
mod live;
mod load;
mod power;
mod privacy;
mod rebuild;
mod resume;
mod slow;
mod sse;
mod timers;
mod websocket;
mod world;
