//! A load that keeps to a rate.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Updates between two looks at whether to go on. A sender shares its thread with the member that
/// it feeds.
pub(crate) const BURST: u64 = 64;
/// How often what is due is sent.
const TICK: Duration = Duration::from_millis(1);

/// Sends so many updates per second as long as that is wanted: `send` as many of them as it is
/// told. What could not be sent in time follows. Returns how many it were.
///
/// # Errors
/// The first of `send`.
pub(crate) async fn paced<F>(
    rate: f64,
    goes_on: impl Fn() -> bool,
    mut send: impl FnMut(u64) -> F,
) -> Result<u64, String>
where
    F: Future<Output = Result<(), String>>,
{
    let begun = Instant::now();
    let mut done = 0;
    while goes_on() {
        let due = (begun.elapsed().as_secs_f64() * rate) as u64;
        if done >= due {
            sleep(TICK).await;
            continue;
        }
        let number = (due - done).min(BURST);
        send(number).await?;
        done += number;
        tokio::task::yield_now().await;
    }
    Ok(done)
}
