//! Survivors lose nothing: what a member sent in a view that it survived was delivered there by all
//! who moved on.

use crate::check::Court;

pub(super) fn judge(court: &mut Court<'_>) {
    for chapter in court.group.chapters() {
        for (sender, span, _) in chapter.movers() {
            let sent = span.sent();
            let Some(rank) = span.rank(sender.who).filter(|_| sent > 0) else {
                continue;
            };
            for (member, span, _) in chapter.movers() {
                let delivered = span.delivered.get(rank).copied().unwrap_or(0);
                if delivered < sent {
                    let id = court.id(sender.who);
                    let what = format!("moves on with {delivered} of {sent} updates of {id}");
                    court.blame(member, span.view, what);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::story::{accepts, rejects};

    const THREE: &str = "a view 1 a b c; b view 1 a b c; c view 1 a b c; a send 0 2 fifo;";

    #[test]
    fn a_dead_sender_may_lose_its_last() {
        accepts(&format!(
            "{THREE} a deliver a 0 2 fifo; b deliver a 0 1 fifo; c deliver a 0 1 fifo;
            b accepted a=1; c accepted a=1; b view 2 b c; c view 2 b c"
        ));
    }

    #[test]
    fn a_survivor_may_not() {
        rejects(
            "survivors",
            &format!(
                "{THREE} a deliver a 0 1 fifo; b deliver a 0 1 fifo; c deliver a 0 1 fifo;
                a view 2 a b c; b view 2 a b c; c view 2 a b c"
            ),
        );
    }

    #[test]
    fn not_even_at_itself() {
        rejects("survivors", "a view 1 a; a send 0 2 fifo; a deliver a 0 1 fifo; a view 2 a +b");
    }
}
