//! The book's first tutorial: a counter that three processes share.
//!
//! ```sh
//! counter one 7401 7402 7403
//! ```
//! Its name, its own port, the ports of the others: the same three at each process.

// ANCHOR: type
use vsync::replicated;

#[replicated]
#[derive(Default)]
struct Counter {
    value: i64,
}

#[replicated]
impl Counter {
    /// Adds to the counter, in one order everywhere; the new value.
    #[update(order = "total")]
    fn add(&mut self, amount: i64) -> i64 {
        self.value = self.value.saturating_add(amount);
        self.value
    }

    /// What this process knows.
    #[query]
    fn value(&self) -> i64 {
        self.value
    }
}
// ANCHOR_END: type

// ANCHOR: node
use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use vsync::{Node, View};

/// This process as one of three nodes: its name, its port, the ports of the others.
async fn start(arguments: Vec<String>) -> Result<Node, Box<dyn Error>> {
    let [name, ports @ ..] = arguments.as_slice() else {
        return Err("counter NAME PORT OTHER-PORTS...".into());
    };
    let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let own = addresses.first().ok_or("which port is this node's own?")?;
    let node = Node::builder()
        .name(name)
        .listen(own)
        .seeds(addresses.clone())
        .expect(2) // two of the three form the cluster; whoever comes later joins it
        .secret_env("COUNTER_SECRET")
        .start()
        .await?;
    Ok(node)
}
// ANCHOR_END: node

// ANCHOR: run
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// Each line of the input is a number to add; an empty one asks for the value.
async fn run() -> Result<(), Box<dyn Error>> {
    let node = start(std::env::args().skip(1).collect()).await?;
    let counter: CounterHandle = node.group("counter").join_or_create(Counter::default()).await?;
    let mut views = counter.group().views();
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            Some(view) = views.next() => println!("view {}: {}", view.number(), names(&view)),
            line = lines.next_line() => match line? {
                None => break,
                Some(line) if line.is_empty() => say(counter.value().timeout(SOON).await),
                Some(line) => match line.parse() {
                    Ok(amount) => say(counter.add(amount).timeout(SOON).await),
                    Err(_) => println!("{line:?} is no number"),
                },
            },
        }
    }
    node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// How long somebody at a terminal waits; without a timeout a call waits as long as it takes.
const SOON: Duration = Duration::from_secs(5);

fn say(answer: Result<i64, impl Display>) {
    match answer {
        Ok(value) => println!("value {value}"),
        Err(error) => println!("{error}"),
    }
}

fn names(view: &View) -> String {
    let active = view.active().iter().map(|member| member.name.as_str());
    active.collect::<Vec<_>>().join(", ")
}

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
// ANCHOR_END: run
