//! The doomed minority: members that know more than they have told, and go together.

use vsync_core::wire::{GroupId, MemberId};

use super::event::Event;
use super::host::Host;
use super::links::{ALL, UPDATES};
use super::world::World;

impl World {
    /// Some members hear all, but what they say beyond their circle is lost, until they go.
    pub(crate) fn plan_doom(&mut self) {
        let Some(dice) = self.fate.doom() else { return };
        let dice = std::mem::replace(&mut self.dice, dice);
        self.choose_doomed();
        self.dice = dice;
        self.fate.current = None;
    }

    fn choose_doomed(&mut self) {
        let view = self.books.judge.newest(GroupId(0));
        let active: Vec<MemberId> = view.map_or(Vec::new(), |view| {
            view.members[..view.active].iter().map(|member| member.id).collect()
        });
        let host = |member: &MemberId| {
            let of = |host: &&Host| host.is_alive() && host.member(GroupId(0)) == Some(*member);
            self.hosts.iter().find(of).map(|host| host.index)
        };
        let mut circle: Vec<usize> = active.iter().filter_map(host).collect();
        // The sequencer, of lowest rank, often is one of them: it knows the most.
        let kept = usize::from(self.dice.chance(500)).min(circle.len());
        self.dice.shuffle(&mut circle[kept..]);
        circle.truncate((active.len().saturating_sub(1)) / 2);
        let at = self.now + self.dice.between(20_000, 400_000);
        for _ in 0..self.plan.guests {
            // They come in, but do not get their checkpoint before the end.
            self.lazy = true;
            let host = self.spawn();
            self.want(host, GroupId(0), 2_000);
            circle.push(host);
        }
        let streams = if self.dice.chance(800) { UPDATES } else { ALL };
        // Or: only what the sequencer says is lost, and who heard it goes with it.
        let sequencer = active.first().map(|first| first.node);
        let order_only = self.dice.chance(400);
        for &from in &circle {
            let silent = !order_only || Some(self.hosts[from].node) == sequencer;
            for to in 0..self.hosts.len() {
                if to != from && !circle.contains(&to) && silent && self.dice.chance(850) {
                    self.network.slow(from, to, streams, 2_000_000, at);
                }
            }
        }
        self.note(format_args!("doomed: {circle:?} at {}", at / 1000));
        self.doomed = circle;
        self.queue.push(at, Event::Doom);
    }

    /// The doomed go together, or lose what they have not told.
    pub(crate) fn doom(&mut self) {
        self.lazy = false;
        let soft = self.dice.chance(300);
        let doomed = std::mem::take(&mut self.doomed);
        self.totals.dooms += 1;
        self.totals.faults += 1;
        for &host in &doomed {
            let back = self.now + 1 + self.dice.spread(300_000);
            for other in 0..self.hosts.len() {
                if other != host && !doomed.contains(&other) {
                    self.cut(host, other, 0, back);
                }
            }
        }
        for &host in &doomed {
            let spared = soft && self.dice.chance(600);
            if !spared && self.hosts[host].is_alive() {
                self.kill(host, &[]);
            }
        }
    }
}
