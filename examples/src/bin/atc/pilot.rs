//! The owner's work: the rows of one airport, in the order of the file.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture, poll_fn};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use vsync::{CallError, GroupError};

use crate::book::{Entry, Refused, Remark, Stage};
use crate::data::Row;
use crate::duty;
use crate::tower::{STEERING, Tower};
use crate::words::{HOLD, SLOW};

type Decision = Result<u32, CallError<Refused>>;
type Filing = JoinHandle<Decision>;

/// A row under way: what is done of it, and the plan's filing where it is not decided yet.
struct Flying<'a> {
    row: &'a Row,
    stage: Stage,
    filing: Option<Filing>,
}

/// Why the owner stopped before the last row.
enum Stopped {
    /// Another member is the owner now.
    NotMine,
    /// The outcome of an update is not known, or it had none: the state has to say where to go on.
    Lost(String),
}

impl From<GroupError> for Stopped {
    fn from(error: GroupError) -> Self {
        Stopped::Lost(error.to_string())
    }
}

/// Flies the airport's rows whenever this process owns it, until all are done.
pub(crate) async fn fly(tower: &Tower) -> Result<(), String> {
    let mut views = tower.sector.group().views();
    loop {
        if owned(tower)
            && let Err(Stopped::Lost(why)) = replay(tower).await
        {
            eprintln!("{}: resuming from the state: {why}", tower.airport);
        }
        if tower.progress().is_ok_and(|(done, _)| done as usize == tower.rows.len()) {
            return Ok(());
        }
        tokio::select! {
            view = views.next() => {
                view.ok_or(format!("{}: the membership is over", tower.airport))?;
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

fn owned(tower: &Tower) -> bool {
    tower.is_mine(|active| duty::owner(tower.airport, active))
}

/// From the first row that is not done. What is under way when the ownership is lost stays under
/// way; the new owner may repeat it, to no effect.
async fn replay(tower: &Tower) -> Result<(), Stopped> {
    let keys = tower.rows.iter().map(|row| row.number).collect();
    let open = tower.sector.open_rows(keys).optimistic()?.into_unstable(STEERING);
    let mut open = open.into_iter().peekable();
    let mut flying: VecDeque<Flying<'_>> = VecDeque::new();
    let mut pace = tower
        .options
        .speed
        .map(|rows| tokio::time::interval(Duration::from_secs_f64(1.0 / f64::from(rows))));
    for (index, row) in tower.rows.iter().enumerate() {
        let Some((_, stage)) = open.next_if(|(key, _)| *key == row.number) else {
            continue;
        };
        hold_back(tower, index * 100 / tower.rows.len()).await;
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        if !owned(tower) {
            return Err(Stopped::NotMine);
        }
        flying.push_back(start(tower, row, stage).await);
        if flying.len() >= tower.options.window
            && let Some(first) = flying.pop_front()
        {
            finish(tower, first).await?;
        }
    }
    for last in flying {
        finish(tower, last).await?;
    }
    Ok(())
}

/// Leaves time for the newcomer, while it is not in.
async fn hold_back(tower: &Tower, percent: usize) {
    let mut released = tower.released.clone();
    // An error means that the parent is gone, which ends this process anyway.
    let released = released.wait_for(|released| *released);
    if percent >= HOLD {
        let _ = released.await;
    } else if percent >= SLOW {
        let _ = tokio::time::timeout(Duration::from_millis(1), released).await;
    }
}

/// Files the row's plan, if that is still to be done, without waiting for the decision.
async fn start<'a>(tower: &Tower, row: &'a Row, stage: Stage) -> Flying<'a> {
    if stage != Stage::New {
        return Flying { row, stage, filing: None };
    }
    let plan = duty::plan(row);
    tower.submits_plan(&plan);
    let mut filing = Box::pin(tower.sector.file_plan(plan).into_future());
    // The first poll sends it, so that plans leave in the order of the file; a task of its own goes
    // on polling it, because a call may be in line for room to be sent.
    let first = poll_fn(|cx| Poll::Ready(filing.as_mut().poll(cx))).await;
    let filing = tokio::spawn(async move {
        match first {
            Poll::Ready(decision) => decision,
            Poll::Pending => filing.await,
        }
    });
    Flying { row, stage, filing: Some(filing) }
}

/// The rest of a row, once its plan is accepted and that is safe to act upon.
async fn finish(tower: &Tower, flying: Flying<'_>) -> Result<(), Stopped> {
    let Flying { row, stage, filing } = flying;
    if let Some(filing) = filing {
        match filing.await.map_err(|error| Stopped::Lost(error.to_string()))? {
            Ok(_) => {}
            Err(CallError::Refused(_)) => return Ok(()),
            Err(error) => return Err(Stopped::Lost(lost(&error))),
        }
    }
    let key = row.number;
    if stage < Stage::Departed {
        if duty::remarkable(key) {
            let text = format!("{}{} to {} ready?", row.carrier, row.flight, row.dest);
            tower.remark(Remark { id: duty::remark(key), about: key, answers: None, text }).await?;
        }
        if let Some(at) = row.departed {
            tower.submits(&Entry::Depart { key, at });
            tower.sector.depart(key, at).send().await?;
        }
    }
    match row.arrived {
        Some(at) => {
            tower.submits(&Entry::Arrive { key, at, delay: row.delay });
            tower.sector.arrive(key, at, row.delay).send().await?;
        }
        None => {
            tower.submits(&Entry::Cancel { key });
            tower.sector.cancel(key).send().await?;
        }
    }
    Ok(())
}

fn lost(error: &CallError<Refused>) -> String {
    match error {
        CallError::NotApplied(why) => format!("not applied: {why}"),
        CallError::Unknown(why) => format!("outcome unknown: {why}"),
        other => format!("{other:?}"),
    }
}
