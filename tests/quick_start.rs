//! The quick start does what it says: each of its commands is run, in their order, and answers as it shows.

use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::world::{SECRET, World, binary};

const TEXT: &str = include_str!("../docs/quick-start.md");
const END: &str = "--- the block ends ---";

/// A block of commands, and what it shows of their output.
struct Block<'a> {
    commands: &'a str,
    output: &'a str,
}

/// The blocks for the second terminal.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    // Every other part lies within fences.
    for part in text.split("```").skip(1).step_by(2) {
        let (kind, content) = part.split_once('\n').expect("a fence ends its line");
        match kind {
            "sh" => blocks.push(Block { commands: content, output: "…" }),
            "text" => blocks.last_mut().expect("an output follows its commands").output = content.trim_end(),
            "sh server" => assert_eq!(content, "tidings serve\n"),
            "html" => {}
            other => panic!("a block of the kind {other:?}"),
        }
    }
    blocks
}

/// Whether an output is what is shown, in which `…` is any text, of several lines, too.
fn fits(shown: &str, output: &str) -> bool {
    let Some((begin, rest)) = shown.split_once('…') else { return shown == output };
    let Some(mut left) = output.strip_prefix(begin) else { return false };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(end)
}

#[tokio::test]
async fn each_command_of_the_quick_start_answers_as_it_says() {
    let directory = TempDir::new().expect("a directory");
    let mut world = World::prepared("");
    let mut serve = Command::new(binary());
    serve.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(&directory);
    world.resume_with(serve).await;

    let blocks = blocks(TEXT);
    let mut script = String::from("set -euo pipefail\n");
    for block in &blocks {
        script.push_str(&format!("{}\necho '{END}'\n", block.commands));
    }
    let script = script.replace("http://127.0.0.1:7400", &world.url(""));
    let path = std::env::var("PATH").expect("a path");
    let beside = binary().parent().expect("a directory").display();
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&directory)
        .env("PATH", format!("{beside}:{path}"))
        .env("TIDINGS_LISTEN", world.address())
        .env("TIDINGS_SECRET", SECRET)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("bash runs");
    let said = String::from_utf8(output.stdout).expect("text");
    let complaint = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{said}\n{complaint}");
    let outputs: Vec<&str> = said.split_terminator(&format!("{END}\n")).collect();
    assert_eq!(outputs.len(), blocks.len(), "{said}");
    for (block, output) in blocks.iter().zip(outputs) {
        assert!(fits(block.output, output.trim_end()), "{}\n{}\n{output}", block.commands, block.output);
    }
}

#[test]
fn what_is_left_out_of_an_output_may_be_anything_and_nothing_else_may() {
    assert!(fits("… at position 2\nada: 1 …", "0190 at position 2\nada: 1 unread"));
    assert!(fits("a\n…\nz", "a\nb\nc\nz"));
    for (shown, output) in [("a", "ab"), ("… at 2", "x at 3"), ("a…b…c", "a c b c d"), ("b…", "ab")] {
        assert!(!fits(shown, output), "{shown} {output}");
    }
}
