//! Clocks of simulated hosts.

/// A clock that starts anywhere and runs at its own speed.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it shows at the beginning of the world.
    pub start: u64,
    /// Its speed, in 1024ths.
    pub speed: u64,
}

impl Clock {
    /// What it shows at a moment of the world.
    pub fn local(self, now: u64) -> u64 {
        self.start + now * self.speed / 1024
    }

    /// The first moment of the world at which it shows at least `local`.
    pub fn moment(self, local: u64) -> u64 {
        (local.saturating_sub(self.start) * 1024).div_ceil(self.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn a_clock_comes_to_every_deadline() {
        for speed in [900, 1024, 1100] {
            let clock = Clock { start: 12_345, speed };
            for local in (12_345..20_000).step_by(7) {
                assert!(clock.local(clock.moment(local)) >= local);
            }
        }
    }
}
