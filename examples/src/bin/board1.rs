//! A board of notes, as its first version was: one of the book's tutorials upgrades it.

// ANCHOR: type
use vsync::replicated;

#[replicated(name = "board")]
#[derive(Clone, Default)]
struct Board {
    notes: Vec<String>,
}

#[replicated]
impl Board {
    /// Adds a note; how many there are.
    #[update(order = "total")]
    fn add(&mut self, note: String) -> u64 {
        self.notes.push(note);
        self.notes.len() as u64
    }

    #[query]
    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}
// ANCHOR_END: type

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use vsync::{Node, View};

// ANCHOR: run
async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, ports @ ..] = arguments.as_slice() else {
        return Err("board1 NAME PORT OTHER-PORTS...".into());
    };
    let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let own = addresses.first().ok_or("which port is this node's own?")?;
    let node = Node::builder().name(name).listen(own).secret_env("BOARD_SECRET");
    let node = node.seeds(addresses.clone()).expect(2).start().await?;
    let board: BoardHandle = node.group("board").join_or_create(Board::default()).await?;
    let mut views = board.group().views();
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            Some(view) = views.next() => println!("view {}: {}", view.number(), members(&view)),
            line = lines.next_line() => match line?.as_deref() {
                None => break,
                Some("") => say(board.notes().await.map(|all| format!("{all:?}"))),
                Some(note) => say(board.add(note.into()).await.map(|n| format!("note {n}"))),
            },
        }
    }
    node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

fn say(answer: Result<String, impl Display>) {
    println!("{}", answer.unwrap_or_else(|error| error.to_string()));
}

/// Who has a copy, and who waits for one.
fn members(view: &View) -> String {
    let member = |member: &vsync::Member| {
        let joining = if member.active { "" } else { ", joining" };
        format!("{} (version {}{joining})", member.name, member.version)
    };
    view.members().iter().map(member).collect::<Vec<_>>().join(" ")
}
// ANCHOR_END: run

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
