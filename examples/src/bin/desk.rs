//! A reservation desk: three processes hold it, and clients ask it. One of the book's tutorials.
//!
//! ```sh
//! desk member one 7501 7502 7503
//! desk client 7501 7502 7503
//! ```

// ANCHOR: type
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vsync::replicated;

const SEATS: u32 = 3;

/// Why the desk says no.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum No {
    /// All seats are taken.
    SoldOut,
    /// The seat is not taken by who wants to give it back.
    NotYours,
}

/// Who has which seat.
#[replicated]
#[derive(Clone, Default)]
struct Desk {
    seats: BTreeMap<u32, String>,
}

#[replicated]
impl Desk {
    /// The lowest free seat.
    #[update(order = "total")]
    fn reserve(&mut self, who: String) -> Result<u32, No> {
        let free = (1..=SEATS).find(|seat| !self.seats.contains_key(seat)).ok_or(No::SoldOut)?;
        self.seats.insert(free, who);
        Ok(free)
    }

    /// Gives a seat back.
    #[update(order = "total")]
    fn cancel(&mut self, seat: u32, who: String) -> Result<(), No> {
        if self.seats.get(&seat) != Some(&who) {
            return Err(No::NotYours);
        }
        self.seats.remove(&seat);
        Ok(())
    }

    /// Who has which seat.
    #[query]
    fn taken(&self) -> BTreeMap<u32, String> {
        self.seats.clone()
    }
}
// ANCHOR_END: type

// ANCHOR: member
use std::error::Error;

use vsync::Node;

const SECRET: &str = "DESK_SECRET";

/// A process that holds the desk, until it is killed or its input ends.
async fn member(name: &str, ports: &[String]) -> Result<(), Box<dyn Error>> {
    let addresses = addresses(ports);
    let own = addresses.first().ok_or("which port is this node's own?")?;
    let node = Node::builder().name(name).listen(own).secret_env(SECRET);
    let node = node.seeds(addresses.clone()).expect(2).start().await?;
    let desk: DeskHandle = node.group("desk").join_or_create(Desk::default()).await?;
    let mut views = desk.group().views();
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            Some(view) = views.next() => {
                let names: Vec<_> = view.active().iter().map(|member| &member.name[..]).collect();
                println!("view {}: {}", view.number(), names.join(", "));
            }
            line = lines.next_line() => if line?.is_none() { break },
        }
    }
    node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
// ANCHOR_END: member

fn addresses(ports: &[String]) -> Vec<String> {
    ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
}

// ANCHOR: client
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use vsync::{Client, ClientCallError};

/// A process that holds nothing and asks: `reserve WHO [ORDER]`, `cancel SEAT WHO`, `taken`.
async fn client(ports: &[String]) -> Result<(), Box<dyn Error>> {
    let secret = std::env::var(SECRET).map_err(|_| format!("{SECRET} is not set"))?;
    let desk: DeskClient = Client::connect(addresses(ports), secret).await?.group("desk");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["reserve", who] => desk.reserve(who.into()).await.map(|seat| format!("seat {seat}")),
            ["reserve", who, order] => {
                let call = desk.reserve(who.into()).key(order);
                call.await.map(|seat| format!("seat {seat}"))
            }
            ["cancel", seat, who] => match seat.parse() {
                Ok(seat) => desk.cancel(seat, who.into()).await.map(|()| "given back".into()),
                Err(_) => Ok(format!("{seat:?} is no seat")),
            },
            ["taken"] => Ok(match desk.taken().await {
                Ok(taken) => format!("{taken:?}"),
                Err(error) => format!("try again: {error}"),
            }),
            _ => Ok("reserve WHO [ORDER], cancel SEAT WHO, or taken".into()),
        };
        println!("{}", answer.unwrap_or_else(said));
    }
    Ok(())
}

/// What an error means for whoever stands at the counter.
fn said(error: ClientCallError<No>) -> String {
    match error {
        ClientCallError::Refused(no) => format!("no: {no:?}"),
        ClientCallError::NotApplied(why) => format!("nothing has happened, try again: {why}"),
        ClientCallError::Unknown(why) => format!("ask again under the same order: {why}"),
        error => format!("a fault of the desk: {error:?}"),
    }
}
// ANCHOR_END: client

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words[..] {
        ["member", name, _, ..] => member(name, &arguments[2..]).await,
        ["client", _, ..] => client(&arguments[1..]).await,
        _ => Err("desk member NAME PORT OTHER-PORTS... | desk client PORTS...".into()),
    };
    match ended {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
