//! Comparing cards: whether this program's type is that of the group's members, before it joins.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::QUESTION;
use super::core::Core;
use crate::card::Card;
use crate::error::{JoinError, Sight};
use crate::runtime::rpc::{Answer, Ask, Contact};

/// Members that are asked at one time: the first answer counts.
const AT_ONCE: usize = 3;

/// What a member says of a group's type: its card, and the version that is active.
#[derive(Debug)]
pub(super) struct Told {
    card: Card,
    active: u32,
    /// What it sees of the group where it sees no quorum.
    pub(super) blocked: Option<Sight>,
}

impl Core {
    /// Asks members of a group for its type until one answers. Otherwise the last reason.
    pub(super) async fn ask_card(
        self: &Arc<Core>,
        group: &str,
        members: &[Contact],
    ) -> Result<Told, String> {
        let mut why = "no member was asked for its type".to_owned();
        for some in members.chunks(AT_ONCE) {
            let mut questions = JoinSet::new();
            for member in some.iter().filter(|member| member.node != self.me()) {
                let core = Arc::clone(self);
                let (group, address) = (group.to_owned(), member.address.clone());
                questions.spawn(async move {
                    let asked = timeout(QUESTION, core.ask_one_card(group, &address)).await;
                    asked.unwrap_or_else(|_| Err(format!("{address}: no answer in time")))
                });
            }
            while let Some(asked) = questions.join_next().await {
                match asked {
                    Ok(Ok(told)) => return Ok(told),
                    Ok(Err(error)) => why = error,
                    Err(error) => tracing::error!(%error, "a question to a member failed"),
                }
            }
        }
        Err(why)
    }

    async fn ask_one_card(&self, group: String, address: &str) -> Result<Told, String> {
        let peer = self.transport.connect(address).await.map_err(|error| error.to_string())?;
        match self.rpc.ask(peer.id, Ask::Card { group }).await {
            Ok(Answer::Card { card, active, blocked }) => {
                let card = card.parse().map_err(|error| format!("{address}: its type: {error}"))?;
                Ok(Told { card, active, blocked })
            }
            Ok(Answer::Unavailable(why)) => Err(format!("{address}: {why}")),
            Ok(other) => Err(format!("{address} answered {other:?}")),
            Err(_) => Err(format!("{address}: the connection broke")),
        }
    }
}

impl Told {
    /// Whether a program with this card can be a member of the group.
    pub(super) fn fits(&self, group: &str, here: &Card) -> Result<(), JoinError> {
        let (name, active) = (group.to_owned(), self.active);
        let same = here.name() == self.card.name();
        if same && !here.reads(active) {
            return Err(JoinError::Version { name, here: here.version(), active });
        }
        let differences = here.differences(&self.card, active);
        if differences.is_empty() { Ok(()) } else { Err(JoinError::Schema { name, differences }) }
    }
}
