//! A board of notes, in its second version: notes have numbers, and can be taken down.

// ANCHOR: type
use std::collections::BTreeMap;

use vsync::{Ctx, replicated};

/// The state as version 1 has it.
#[replicated(past, name = "board", version = 1)]
struct BoardV1 {
    notes: Vec<String>,
}

#[replicated(name = "board", version = 2, from = BoardV1)]
#[derive(Clone, Default)]
struct Board {
    notes: BTreeMap<u64, String>,
    taken_down: u64,
}

/// What a checkpoint of version 1 becomes here.
impl From<BoardV1> for Board {
    fn from(old: BoardV1) -> Board {
        Board { notes: (1..).zip(old.notes).collect(), taken_down: 0 }
    }
}

/// What this program, as a donor, sends to a member with the old one.
impl From<&Board> for BoardV1 {
    fn from(new: &Board) -> BoardV1 {
        BoardV1 { notes: new.notes.values().cloned().collect() }
    }
}

#[replicated]
impl Board {
    /// Adds a note. Version 1 tells how many there are, version 2 the note's number.
    #[update(order = "total")]
    fn add(&mut self, note: String) -> u64 {
        let number = 1 + self.taken_down + self.notes.len() as u64;
        self.notes.insert(number, note);
        number
    }

    /// Takes a note down. Version 1 knows nothing of it.
    #[update(order = "total", since = 2)]
    fn take_down(&mut self, ctx: &Ctx<Self>, number: u64) -> Result<String, String> {
        let note = self.notes.remove(&number).ok_or(format!("there is no note {number}"))?;
        self.taken_down += 1;
        Ok(format!("{note:?}, under version {}", ctx.version()))
    }

    #[query]
    fn notes(&self) -> BTreeMap<u64, String> {
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
        return Err("board2 NAME PORT OTHER-PORTS...".into());
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
                Some("activate") => {
                    say(board.group().activate(2).await.map(|()| "version 2 is active".into()))
                }
                Some(line) => match line.strip_prefix("down ").and_then(|n| n.parse().ok()) {
                    Some(number) => {
                        say(board.take_down(number).await.map(|note| format!("down: {note}")))
                    }
                    None => say(board.add(line.into()).await.map(|n| format!("note {n}"))),
                },
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
