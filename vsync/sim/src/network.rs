//! The network: one connection per pair of hosts, three streams each way.
//!
//! A stream is in order while its connection lives; nothing is promised between streams, or between
//! connections. A connection that breaks loses what had not arrived by then, of each stream another
//! suffix, and tells both ends, each in its own time.

use vsync_core::engine::Traffic;

use crate::Dice;

/// How long frames take.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Least delay.
    pub base: u64,
    /// Mean of what comes on top.
    pub jitter: u64,
    /// How many of 1000 frames take much longer.
    pub late: u64,
    /// Mean of how much longer these take.
    pub lateness: u64,
}

/// All connections.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    /// By (lower, higher) index.
    links: Vec<Vec<Link>>,
}

#[derive(Debug, Default)]
struct Link {
    /// Counts the connections of this pair.
    connection: u32,
    up: bool,
    /// From when on each end may send; frames reach an end no earlier than that.
    ready: [u64; 2],
    ways: [Way; 2],
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    streams: [Stream; 3],
    /// Nothing arrives before this.
    hold: u64,
    /// Extra delay of each stream, and until when it lasts.
    slow: [(u64, u64); 3],
}

#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// When the last frame arrives.
    last: u64,
    /// What of the connection before this one still arrives: up to then.
    cutoff: u64,
}

/// When the two ends of a link learn something.
pub type Both = [(usize, u64); 2];

impl Network {
    /// A network without hosts.
    pub fn new(weather: Weather) -> Self {
        Network { weather, links: Vec::new() }
    }

    /// Room for one more host.
    pub fn grow(&mut self) {
        let others = self.links.len();
        self.links.push((0..others).map(|_| Link::default()).collect());
    }

    fn link(&mut self, a: usize, b: usize) -> &mut Link {
        &mut self.links[a.max(b)][a.min(b)]
    }

    /// Takes a frame; says when it arrives, and over which connection. `None`: there is none.
    pub fn send(
        &mut self,
        now: u64,
        (from, to): (usize, usize),
        traffic: Traffic,
        dice: &mut Dice,
    ) -> Option<(u64, u32)> {
        let weather = self.weather;
        let link = self.link(from, to);
        let (end, other) = (usize::from(from > to), usize::from(from < to));
        if !link.up || now < link.ready[end] {
            return None;
        }
        let mut at = now + weather.base + dice.spread(weather.jitter);
        if dice.chance(weather.late) {
            at += dice.spread(weather.lateness);
        }
        let ready = link.ready[other];
        let way = &mut link.ways[end];
        let (extra, until) = way.slow[traffic as usize];
        if now < until {
            at += extra / 2 + dice.spread(extra / 2);
        }
        let stream = &mut way.streams[traffic as usize];
        at = at.max(stream.last).max(way.hold).max(ready + 1);
        stream.last = at;
        Some((at, link.connection))
    }

    /// Whether a frame that was to arrive now does.
    pub fn arrives(
        &self,
        now: u64,
        (from, to): (usize, usize),
        traffic: Traffic,
        connection: u32,
    ) -> bool {
        let link = &self.links[from.max(to)][from.min(to)];
        if link.connection == connection && link.up {
            return true;
        }
        let last = if link.up { link.connection.wrapping_sub(1) } else { link.connection };
        last == connection
            && now <= link.ways[usize::from(from > to)].streams[traffic as usize].cutoff
    }

    /// Breaks a connection; says when the ends find out. `keep`: how likely some of what is
    /// under way still arrives, in 1000; 1000 means all of it.
    pub fn cut(
        &mut self,
        now: u64,
        a: usize,
        b: usize,
        keep: u64,
        dice: &mut Dice,
    ) -> Option<Both> {
        let link = self.link(a, b);
        if !link.up {
            return None;
        }
        link.up = false;
        let mut found = [0; 2];
        for (end, way) in link.ways.iter_mut().enumerate() {
            let mut latest = now;
            for stream in &mut way.streams {
                let under_way = stream.last.saturating_sub(now);
                // Frames that would take for ever are lost in any case.
                let kept =
                    if dice.chance(keep) { dice.below(under_way.min(20_000) + 1) } else { 0 };
                stream.cutoff = now + kept;
                latest = latest.max(stream.cutoff);
            }
            let receiver = 1 - end;
            found[receiver] = latest.max(link.ready[receiver]) + 1 + dice.spread(300);
        }
        let (low, high) = (a.min(b), a.max(b));
        link.ready = found;
        Some([(low, found[0]), (high, found[1])])
    }

    /// Connects a pair; says when the ends find out.
    pub fn mend(&mut self, now: u64, a: usize, b: usize, dice: &mut Dice) -> Option<Both> {
        let link = self.link(a, b);
        if link.up {
            return None;
        }
        link.up = true;
        link.connection = link.connection.wrapping_add(1);
        for (end, way) in link.ways.iter_mut().enumerate() {
            link.ready[end] = link.ready[end].max(now) + 1 + dice.spread(300);
            way.hold = 0;
            for stream in &mut way.streams {
                stream.last = 0;
            }
        }
        Some([(a.min(b), link.ready[0]), (a.max(b), link.ready[1])])
    }

    /// Lets nothing through from one host to another before a moment.
    pub fn hold(&mut self, from: usize, to: usize, until: u64) {
        let way = &mut self.link(from, to).ways[usize::from(from > to)];
        way.hold = way.hold.max(until);
    }

    /// Makes one direction slow for a while.
    pub fn slow(&mut self, from: usize, to: usize, streams: &[Traffic], extra: u64, until: u64) {
        let way = &mut self.link(from, to).ways[usize::from(from > to)];
        for &traffic in streams {
            way.slow[traffic as usize] = (extra, until);
        }
    }

    /// Ends everything that makes frames late.
    pub fn calm(&mut self, now: u64) {
        self.weather.late = 0;
        for link in self.links.iter_mut().flatten() {
            for way in &mut link.ways {
                way.hold = way.hold.min(now);
                way.slow = Default::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Network, Dice) {
        let weather = Weather { base: 100, jitter: 1000, late: 100, lateness: 10_000 };
        let mut network = Network::new(weather);
        network.grow();
        network.grow();
        (network, Dice::new(1))
    }

    #[test]
    fn streams_are_in_order() {
        let (mut network, mut dice) = pair();
        let both = network.mend(0, 0, 1, &mut dice).expect("a connection");
        let start = both[0].1.max(both[1].1);
        let mut last = 0;
        for now in start..start + 500 {
            let sent = network.send(now, (0, 1), Traffic::Updates, &mut dice);
            let (at, _) = sent.expect("a way");
            assert!(at >= last && at > both[1].1);
            last = at;
        }
    }

    #[test]
    fn a_cut_loses_a_suffix_of_each_stream() {
        let (mut network, mut dice) = pair();
        let start = network.mend(0, 0, 1, &mut dice).expect("a connection")[0].1;
        let frames: Vec<_> = (start..start + 100)
            .filter_map(|now| network.send(now, (0, 1), Traffic::Bulk, &mut dice))
            .collect();
        let both = network.cut(start + 200, 0, 1, 500, &mut dice).expect("it was up");
        let came: Vec<bool> = frames
            .iter()
            .map(|&(at, connection)| network.arrives(at, (0, 1), Traffic::Bulk, connection))
            .collect();
        assert!(came.is_sorted_by(|a, b| a >= b));
        // What came, came before the end found out.
        for (&(at, _), came) in frames.iter().zip(came) {
            assert!(!came || at < both[1].1);
        }
        assert!(network.send(start + 300, (0, 1), Traffic::Bulk, &mut dice).is_none());
    }
}
