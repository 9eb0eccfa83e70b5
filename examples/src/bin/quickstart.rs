//! The README's example: an account book that two nodes share. Both run in this process here; the
//! same lines work on two machines.

// ANCHOR: readme
use std::collections::BTreeMap;
use vsync::{Node, replicated};

#[replicated]
#[derive(Default)]
struct Ledger {
    accounts: BTreeMap<String, i64>,
}

#[replicated]
impl Ledger {
    #[update(order = "total")]
    fn pay(&mut self, who: String, amount: i64) -> Result<i64, String> {
        let balance = self.accounts.entry(who).or_default();
        *balance = Some(*balance + amount).filter(|new| *new >= 0).ok_or("not enough money")?;
        Ok(*balance)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = |name| Node::builder().name(name).listen("127.0.0.1:0").secret("at least 16 bytes");
    let one = node("one").bootstrap().start().await?;
    let two = node("two").seeds([one.address()]).start().await?;
    let here: LedgerHandle = one.group("bank").join_or_create(Ledger::default()).await?;
    let there: LedgerHandle = two.group("bank").join_or_create(Ledger::default()).await?;
    println!("{} are there, for everybody to see", here.pay("ada".into(), 100).await?);
    println!("{:?}", there.pay("ada".into(), -250).await); // refused, at every replica alike
    Ok(())
}
// ANCHOR_END: readme

#[cfg(test)]
mod tests {
    /// From the first `use` to the end of `main`.
    fn example() -> &'static str {
        let text = include_str!("quickstart.rs");
        let begin = text.find("use std").expect("the first line");
        let end = text.find("\n// ANCHOR_END").expect("the end");
        &text[begin..end]
    }

    #[test]
    fn the_readme_shows_this_program() {
        let readme = include_str!("../../../README.md");
        assert!(readme.contains(example()), "copy this into the README:\n\n{}", example());
    }

    #[test]
    fn it_runs() {
        super::main().expect("a ledger on two nodes");
    }
}
