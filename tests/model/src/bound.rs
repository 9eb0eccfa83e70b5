//! What the exploration is bounded by.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// How much of each fault a run may see, and what is in flight when it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Silences: a member suspects everybody that it has not heard since.
    pub suspicions: u8,
    /// Members that crash; at most one.
    pub crashes: u8,
    /// Retry timers that fire.
    pub retries: u8,
    /// Connections that break, lose what is under way, and come back.
    pub breaks: u8,
    /// What is in flight in the first state.
    pub traffic: Traffic,
    /// Whether what is late arrives: frames of a view that its receiver has left, and confirmations
    /// of installs.
    pub late: bool,
}

/// The updates of the first state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// A fifo update of rank 2 that rank 0 lacks, and a total of rank 1 not yet sent.
    #[default]
    Half,
    /// The same, but the fifo update is still on its way to both others.
    Fresh,
    /// A fifo update and a total of rank 2 that rank 1 lacks, the total's position known to the
    /// sequencer alone, and a total of rank 1 not yet sent.
    Ordered,
}

/// The named bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Named {
    /// Less than a minute: for every change.
    Small,
    /// Some minutes.
    Full,
}

impl Named {
    /// The runs of this bound: each is explored to its end.
    pub fn runs(self) -> Vec<Bound> {
        let quiet = Bound::default();
        let one = Bound { suspicions: 1, ..quiet };
        let (fresh, ordered) = (Traffic::Fresh, Traffic::Ordered);
        let small = vec![
            Bound { crashes: 1, ..one },
            Bound { traffic: fresh, ..one },
            Bound { traffic: ordered, ..one },
            Bound { crashes: 1, traffic: ordered, late: true, ..quiet },
        ];
        let more = [
            Bound { crashes: 1, traffic: fresh, ..one },
            Bound { crashes: 1, breaks: 1, traffic: ordered, ..quiet },
        ];
        match self {
            Named::Small => small,
            Named::Full => small.into_iter().chain(more).collect(),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bound { suspicions, crashes, retries, breaks, traffic, late } = *self;
        let (traffic, late) = (format!("{traffic:?}").to_lowercase(), u8::from(late));
        write!(f, "suspicions={suspicions},crashes={crashes},retries={retries},breaks={breaks},")?;
        write!(f, "traffic={traffic},late={late}")
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bound = Bound::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(format!("`{part}`: no value"))?;
            if name == "traffic" {
                bound.traffic = match value {
                    "half" => Traffic::Half,
                    "fresh" => Traffic::Fresh,
                    "ordered" => Traffic::Ordered,
                    _ => return Err(format!("`{part}`: half, fresh or ordered")),
                };
                continue;
            }
            let value: u8 = value.parse().map_err(|_| format!("`{part}`: not a small number"))?;
            match name {
                "suspicions" => bound.suspicions = value,
                "crashes" if value <= 1 => bound.crashes = value,
                "crashes" => return Err("at most one of three members may crash".to_owned()),
                "retries" => bound.retries = value,
                "breaks" => bound.breaks = value,
                "late" => bound.late = value > 0,
                _ => return Err(format!("`{name}`: not a bound")),
            }
        }
        Ok(bound)
    }
}
