//! The coordinator's side of a cluster of [`actor`](crate::actor)s.

use std::thread::sleep;
use std::time::Duration;

use crate::actor::load::Load;
use crate::actor::{Ask, Count, Joined, Plan, Record};
use crate::options::Pressure;
use crate::process::Member;
use crate::samples::Sample;

/// Over how long the full rate is measured of which half is then sent, after as long to warm up.
const CALIBRATE: Duration = Duration::from_millis(700);
/// How long everything may take to come to rest.
const REST: u32 = 100;

/// Processes that act; they end with the value.
pub(crate) struct Stage {
    plan: String,
    seed: Option<String>,
    pub(crate) members: Vec<Member>,
}

impl Stage {
    /// Starts members, one after the other, and waits until all know all.
    pub(crate) fn start(plan: &Plan, members: usize) -> Result<Stage, String> {
        let plan = serde_json::to_string(plan).map_err(|error| error.to_string())?;
        let mut stage = Stage { plan, seed: None, members: Vec::new() };
        for _ in 0..members {
            let index = stage.enter()?;
            stage.members[index].ask::<Joined>(&Ask::Join)?;
        }
        stage.all(&Ask::Size(members))?;
        Ok(stage)
    }

    /// One more process, in the cluster but not in the group.
    pub(crate) fn enter(&mut self) -> Result<usize, String> {
        let index = self.members.len();
        let mut member =
            Member::spawn(&["actor", "--plan", &self.plan], index, self.seed.as_deref())?;
        let address = member.line()?;
        self.seed.get_or_insert(address);
        self.members.push(member);
        Ok(index)
    }

    /// Tells all.
    pub(crate) fn all(&mut self, ask: &Ask) -> Result<(), String> {
        self.members.iter_mut().try_for_each(|member| member.ask::<()>(ask))
    }

    /// The first so many send from now on. Returns how many updates per second in all they are told
    /// to send, if that is bounded.
    pub(crate) fn press(
        &mut self,
        pressure: Pressure,
        senders: usize,
    ) -> Result<Option<f64>, String> {
        if pressure == Pressure::None {
            return Ok(None);
        }
        self.load(senders, Load::Full)?;
        sleep(CALIBRATE);
        let Some(part) = pressure.share() else { return Ok(None) };
        let before: Sample = self.members[0].ask(&Ask::Now)?;
        sleep(CALIBRATE);
        let after: Sample = self.members[0].ask(&Ask::Now)?;
        let rate = (after.1 - before.1) as f64 * 1e6 / (after.0 - before.0).max(1) as f64;
        self.load(senders, Load::Off)?;
        let rate = part * rate;
        self.load(senders, Load::Rate(rate / senders as f64))?;
        sleep(CALIBRATE);
        Ok(Some(rate))
    }

    fn load(&mut self, senders: usize, load: Load) -> Result<(), String> {
        let mut members = self.members.iter_mut().take(senders);
        members.try_for_each(|member| member.ask::<()>(&Ask::Load(load)))
    }

    /// Ends the load, and makes sure that these members have applied the same updates; of those
    /// that are marked, all that they sent. Returns how many, of each sender.
    pub(crate) fn settle(&mut self, who: &[(usize, bool)]) -> Result<Vec<u64>, String> {
        for &(index, _) in who {
            self.members[index].ask::<()>(&Ask::Load(Load::Off))?;
        }
        let mut counts = Vec::new();
        for _ in 0..REST {
            counts.clear();
            for &(index, _) in who {
                counts.push(self.members[index].ask::<Count>(&Ask::Count)?);
            }
            if alike(who, &counts) {
                return Ok(counts.swap_remove(0).state.counts);
            }
            sleep(Duration::from_millis(50));
        }
        Err(format!("members {who:?} have not applied the same, or lost own updates: {counts:?}"))
    }

    /// What a member noted.
    pub(crate) fn record(&mut self, index: usize) -> Result<Record, String> {
        self.members[index].ask(&Ask::Record)
    }
}

/// Whether all have the same state; with everything in it that those sent which are marked.
fn alike(who: &[(usize, bool)], counts: &[Count]) -> bool {
    counts.iter().zip(who).all(|(count, &(index, own))| {
        let applied = count.state.counts.get(index).copied().unwrap_or(0);
        let whole = applied == count.sent && count.broken.is_none();
        count.state == counts[0].state && (whole || !own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::state::Summary;

    fn count(counts: &[u64], digest: u64, sent: u64) -> Count {
        let state = Summary { counts: counts.to_vec(), digest, held: 0 };
        Count { state, sent, broken: None }
    }

    #[test]
    fn survivors_are_alike_with_what_they_sent() {
        let who = [(0, true), (1, true)];
        // Member 2 is gone: what it sent counts only as far as all have the same of it.
        assert!(alike(&who, &[count(&[5, 7, 9], 1, 5), count(&[5, 7, 9], 1, 7)]));
        assert!(!alike(&who, &[count(&[5, 7, 9], 1, 5), count(&[5, 7, 8], 1, 7)]));
        assert!(!alike(&who, &[count(&[5, 7, 9], 1, 5), count(&[5, 7, 9], 2, 7)]));
        assert!(!alike(&who, &[count(&[5, 7], 1, 5), count(&[5, 7], 1, 8)]));
        assert!(alike(&[(0, true), (1, false)], &[count(&[5, 7], 1, 5), count(&[5, 7], 1, 8)]));
        assert!(alike(&who, &[count(&[], 0, 0), count(&[], 0, 0)]));
        let broken = Count { broken: Some("no".to_owned()), ..count(&[5, 7], 1, 7) };
        assert!(!alike(&who, &[count(&[5, 7], 1, 5), broken]));
    }
}
