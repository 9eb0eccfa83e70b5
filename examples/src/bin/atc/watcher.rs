//! What a controller does about what it sees: a journal, answers to remarks, its half of pairs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use vsync::{CallError, View, Views};

use crate::book::{Entry, PAIRS, Remark};
use crate::duty;
use crate::sector::Seen;
use crate::tower::{STEERING, Tower};

/// The duties of one process in one sector that are not the owner's.
pub(crate) struct Watcher {
    tower: Arc<Tower>,
    seen: mpsc::UnboundedReceiver<Seen>,
    journal: BufWriter<File>,
    /// Plans of pairs that this process has under way.
    filing: JoinSet<(u32, bool)>,
    /// Their keys.
    under_way: BTreeSet<u32>,
    /// Remarks that this process has answered.
    answered: BTreeSet<u64>,
    /// The sector's views.
    views: Views,
    /// Whether nothing is left to do.
    settled: watch::Sender<bool>,
}

impl Watcher {
    /// For one sector. The receiver tells when nothing is left to do here.
    pub(crate) fn new(
        tower: Arc<Tower>,
        seen: mpsc::UnboundedReceiver<Seen>,
        journal: &Path,
    ) -> Result<(Watcher, watch::Receiver<bool>), String> {
        let file =
            File::create(journal).map_err(|error| format!("{}: {error}", journal.display()))?;
        let (settled, listen) = watch::channel(false);
        let views = tower.sector.group().views();
        let watcher = Watcher {
            tower,
            views,
            seen,
            journal: BufWriter::new(file),
            filing: JoinSet::new(),
            under_way: BTreeSet::new(),
            answered: BTreeSet::new(),
            settled,
        };
        Ok((watcher, listen))
    }

    /// Watches until the process ends. `on_duty` says when the week has begun: until then it only
    /// writes down what it sees.
    pub(crate) async fn watch(mut self, mut on_duty: watch::Receiver<bool>) -> Result<(), String> {
        let mut seen = Vec::new();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // On a tick the state itself is asked, for what a member that is gone has left undone.
            let mut new_view = None;
            let ticked = tokio::select! {
                count = self.seen.recv_many(&mut seen, 256) => {
                    if count == 0 {
                        return Ok(());
                    }
                    false
                }
                Some(ended) = self.filing.join_next() => {
                    if let Ok((key, false)) = ended {
                        self.under_way.remove(&key);
                    }
                    false
                }
                Some(view) = self.views.next() => {
                    new_view = Some(view);
                    false
                }
                _ = tick.tick() => true,
            };
            let mut asked: Vec<(u64, u32)> = Vec::new();
            for seen in seen.drain(..) {
                self.take(seen, &mut asked)?;
            }
            if !*on_duty.borrow_and_update() {
                continue;
            }
            if let Some(view) = new_view {
                self.welcome(&view).await;
            }
            if ticked && let Ok(open) = self.tower.sector.unanswered().optimistic() {
                asked = open.into_unstable(STEERING);
            }
            for (id, about) in asked {
                self.answer(id, about).await;
            }
            self.file_pairs();
            if ticked {
                self.look_whether_settled();
            }
        }
    }

    fn take(&mut self, seen: Seen, asked: &mut Vec<(u64, u32)>) -> Result<(), String> {
        let applied = match seen {
            Seen::Applied(applied) => applied,
            Seen::Mark(tell) => {
                self.journal.flush().map_err(|error| format!("journal: {error}"))?;
                let _ = tell.send(());
                return Ok(());
            }
        };
        serde_json::to_writer(&mut self.journal, &applied)
            .map_err(|error| format!("journal: {error}"))?;
        self.journal.write_all(b"\n").map_err(|error| format!("journal: {error}"))?;
        if let Entry::Remark(Remark { id, about, answers: None, .. }) = applied.entry {
            asked.push((id, about));
        }
        Ok(())
    }

    /// Says so when somebody is on the way in: this is what a joiner finds behind its checkpoint.
    async fn welcome(&mut self, view: &View) {
        let Some((rank, active)) = self.tower.place() else { return };
        let Some(joiner) = view.members().get(active) else { return };
        let id = duty::welcome(view.number(), rank);
        let text = format!("{} is coming in", joiner.name);
        // In vain where this process is on the way out itself.
        let _ = self.tower.remark(Remark { id, about: 0, answers: None, text }).await;
    }

    async fn answer(&mut self, id: u64, about: u32) {
        let airport = self.tower.airport;
        if !self.tower.is_mine(|active| duty::answerer(airport, active))
            || !self.answered.insert(id)
        {
            return;
        }
        let text = "ready, cleared for take-off".into();
        let answer = Remark { id: id + 1, about, answers: Some(id), text };
        if self.tower.remark(answer).await.is_err() {
            // Not a member just now: the state will say on a later tick whether it is answered.
            self.answered.remove(&id);
        }
    }

    /// Files what is this process's of the pairs that are due.
    fn file_pairs(&mut self) {
        let Ok((done, filed)) = self.tower.progress() else {
            return;
        };
        let due = duty::pairs_due(self.tower.options.pairs, done, self.tower.rows.len() as u32);
        if filed >= 2 * due {
            return;
        }
        let Ok(missing) = self.tower.sector.pairs_missing(due).optimistic() else {
            return;
        };
        let airport = self.tower.airport;
        for key in missing.into_unstable(STEERING) {
            let (pair, half) = ((key - PAIRS) / 2, (key - PAIRS) % 2);
            if !self.tower.is_mine(|active| duty::filer(half, active))
                || !self.under_way.insert(key)
            {
                continue;
            }
            let tower = Arc::clone(&self.tower);
            self.filing.spawn(async move {
                let plan = duty::half_of_pair(airport, pair, half);
                tower.submits_plan(&plan);
                // Without a decision the half is filed again if the state still lacks it.
                let decision = tower.sector.file_plan(plan).await;
                (key, matches!(decision, Ok(_) | Err(CallError::Refused(_))))
            });
        }
    }

    fn look_whether_settled(&mut self) {
        let Ok((done, filed)) = self.tower.progress() else {
            return;
        };
        if done as usize == self.tower.rows.len()
            && filed == 2 * self.tower.options.pairs
            && self.filing.is_empty()
            && self.tower.sector.unanswered().optimistic().is_ok_and(|open| open.peek().is_empty())
        {
            self.settled.send_replace(true);
        }
    }
}
