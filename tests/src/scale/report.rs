//! A report as tables.

use std::fmt::{self, Display, Formatter};

use super::change::MOST_VANISHING;
use super::model::{Better, Model};
use super::steady::IN_FLIGHT;
use super::{MOST_STEADY, MOST_TREES, Report};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.views(f)?;
        self.steady(f)?;
        self.trees(f)?;
        self.sequencer(f)?;
        self.crossover(f)?;
        self.laws(f)
    }
}

impl Report {
    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (costs, timers) = (self.setting.costs, self.setting.timers);
        writeln!(f, "seed {}, virtual time, real engines", self.setting.seed)?;
        writeln!(
            f,
            "processor: {} ns a frame sent, {} received; {} and {} ps a byte; {} ns an update",
            costs.send, costs.receive, costs.send_byte, costs.receive_byte, costs.update
        )?;
        writeln!(
            f,
            "network: {} Mbit/s out of a node, {} us and up to a tenth more one way",
            costs.bandwidth, costs.latency
        )?;
        writeln!(f, "timers: heartbeat {} ms, retry {} ms", timers.heartbeat, timers.retry)?;
        match self.setting.idle {
            0 => Ok(()),
            idle => writeln!(f, "idle for {idle} ms before a member vanishes"),
        }
    }

    fn views(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n| event | members | ms | frames | KB | busiest: frames | KB |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        let mut changes: Vec<_> = self.changes.iter().collect();
        changes.sort_by_key(|change| (change.event, change.members));
        for change in changes {
            writeln!(
                f,
                "| {} | {} | {:.3} | {} | {:.1} | {} | {:.1} |",
                format!("{:?}", change.event).to_lowercase(),
                change.members,
                change.time_us / 1e3,
                change.frames,
                change.bytes as f64 / 1e3,
                change.busiest_frames,
                change.busiest_bytes as f64 / 1e3,
            )?;
        }
        if self.changes.iter().any(|change| change.members > MOST_VANISHING) {
            writeln!(f, "a vanished member: simulated up to {MOST_VANISHING} members")?;
        }
        Ok(())
    }

    fn steady(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.skipped.is_empty() {
            let skipped = &self.skipped;
            writeln!(
                f,
                "\nsteady state: simulated up to {MOST_STEADY} members, one sender with trees up \
                 to {MOST_TREES}; skipped: {skipped:?}"
            )?;
        }
        if self.streams.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n| senders | members | payload | updates/s | busiest processor | link | \
             acks: frames | processor | bytes that are no updates |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        let mut streams: Vec<_> = self.streams.iter().collect();
        streams.sort_by_key(|stream| (stream.senders, stream.payload, stream.members));
        for it in streams {
            writeln!(
                f,
                "| {} | {} | {} | {:.0} | {:.0} % | {:.0} % | {:.1} % | {:.1} % | {:.1} % |",
                format!("{:?}", it.senders).to_lowercase(),
                it.members,
                it.payload,
                it.per_second,
                it.processor * 100.0,
                it.link * 100.0,
                it.ack_frames * 100.0,
                it.ack_processor * 100.0,
                it.overhead * 100.0,
            )?;
        }
        writeln!(f, "\n| members | stable update, us | its frames | acks of them |")?;
        writeln!(f, "|---:|---:|---:|---:|")?;
        for it in &self.waits {
            let (n, time, frames, acks) = (it.members, it.stable_us, it.frames, it.acks);
            writeln!(f, "| {n} | {time:.0} | {frames:.0} | {acks:.0} |")?;
        }
        Ok(())
    }

    fn trees(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.compared.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\nnot built; trees of fan-out {}, simulated under the protocol (on paper) [processor]",
            self.fan
        )?;
        writeln!(
            f,
            "| members | 1 sender, k/s | relay tree | ack tree | both | all | relay tree |"
        )?;
        writeln!(f, "|---:|---:|---:|---:|---:|---:|---:|")?;
        for it in &self.compared {
            write!(f, "| {} |", it.members)?;
            let kinds = [it.direct, it.relay, it.acks, it.both];
            for ([simulated, paper], busy) in kinds.into_iter().zip(it.processor) {
                let (simulated, paper, busy) = (simulated / 1e3, paper / 1e3, busy * 100.0);
                write!(f, " {simulated:.0} ({paper:.0}) [{busy:.0} %] |")?;
            }
            match it.all {
                Some([all, relay]) => writeln!(f, " {:.0} | {:.0} |", all / 1e3, relay / 1e3)?,
                None => writeln!(f, " | |")?,
            }
        }
        Ok(())
    }

    fn sequencer(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.sequenced.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\nwho sends, the first member being the sequencer; calls: {IN_FLIGHT} in flight each"
        )?;
        writeln!(
            f,
            "| members | stream, k/s: sequencer | another | all | all but it | stable, us: its | \
             another's | calls, k/s: all | its processor | others' | all but it | its | others' |"
        )?;
        writeln!(f, "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        for it in &self.sequenced {
            write!(f, "| {} |", it.members)?;
            it.streams.iter().try_for_each(|rate| write!(f, " {:.0} |", rate / 1e3))?;
            it.waits.iter().try_for_each(|time| write!(f, " {time:.0} |"))?;
            for calls in &it.calls {
                let (rate, its, others) =
                    (calls.per_second / 1e3, calls.sequencer * 100.0, calls.other * 100.0);
                write!(f, " {rate:.0} | {its:.0} % | {others:.0} % |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn crossover(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.crossovers.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n| what | pays from: simulated | on paper | 16 | 100 | 1000 |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        for it in &self.crossovers {
            let said = |from: Option<usize>, none: &str| {
                from.map_or_else(|| none.to_owned(), |from| from.to_string())
            };
            let none = if it.better == Better::Token { "not simulated" } else { "at no size" };
            let (simulated, paper) = (said(it.simulated, none), said(it.from, "never"));
            write!(f, "| {} | {simulated} | {paper} |", it.better.name())?;
            for (_, factor) in &it.factors {
                write!(f, " {factor:.2} x |")?;
            }
            writeln!(f)?;
        }
        let model = Model::new(self.setting.costs, self.fan);
        let heartbeat = self.setting.timers.heartbeat;
        let part = |n| model.heartbeats(n, heartbeat) * 100.0;
        let (a, b, c) = (part(16), part(100), part(1000));
        writeln!(f, "signs of life, of a processor: 16: {a:.1} %, 100: {b:.1} %, 1000: {c:.1} %")
    }

    fn laws(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| curve | from | law | fit |\n|---|---:|---|---:|")?;
        for fitted in &self.laws {
            if let Some(law) = fitted.law {
                let (curve, from) = (&fitted.curve, fitted.from);
                let (factor, exponent, fit) = (law.factor, law.exponent, law.fit);
                writeln!(f, "| {curve} | {from} | {factor:.3} n^{exponent:.2} | {fit:.3} |")?;
            }
        }
        Ok(())
    }
}
