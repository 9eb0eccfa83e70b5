//! postgres.

use crate::options::Workload;
use crate::report::Outcome;

/// Not there yet.
pub(crate) fn run(_workload: &Workload) -> Result<Outcome, String> {
    Err("postgres is not there yet".to_owned())
}
