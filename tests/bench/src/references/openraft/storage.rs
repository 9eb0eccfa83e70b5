//! The log and the state machine that openraft asks for, in memory.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    AnyError, Entry, EntryPayload, LogId, LogState, OptionalSend, RaftLogId, RaftLogReader,
    RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError, StorageIOError, StoredMembership,
    Vote,
};
use tokio::sync::mpsc::UnboundedSender;

use super::{Event, Types};
use crate::references::load::Sink;

type Id = LogId<u64>;
type Members = StoredMembership<u64, openraft::EmptyNode>;
type Meta = SnapshotMeta<u64, openraft::EmptyNode>;
type Stored<T> = Result<T, StorageError<u64>>;

/// The log. A clone is the same log.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    /// What is left, one index after another.
    entries: VecDeque<Entry<Types>>,
    purged: Option<Id>,
    vote: Option<Vote<u64>>,
}

/// The state machine. A clone is the same one.
#[derive(Clone)]
pub(super) struct Machine(Arc<Mutex<State>>);

struct State {
    sink: Sink,
    last: Option<Id>,
    members: Members,
    snapshot: Option<(Meta, Vec<u8>)>,
    applied: UnboundedSender<Event>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entries {
    /// Where the entry with this index is, or would be.
    fn place(&self, index: u64) -> usize {
        let first = self.entries.front().map_or(index, |entry| entry.log_id.index);
        (index.saturating_sub(first) as usize).min(self.entries.len())
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Stored<Vec<Entry<Types>>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let log = lock(&self.0);
        let begin = match range.start_bound() {
            Bound::Included(&index) => log.place(index),
            Bound::Excluded(&index) => log.place(index + 1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => log.place(index + 1),
            Bound::Excluded(&index) => log.place(index),
            Bound::Unbounded => log.entries.len(),
        };
        Ok(log.entries.range(begin..end.max(begin)).cloned().collect())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Stored<LogState<Types>> {
        let log = lock(&self.0);
        let last_log_id = log.entries.back().map(|entry| entry.log_id).or(log.purged);
        Ok(LogState { last_purged_log_id: log.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Stored<()> {
        lock(&self.0).vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Stored<Option<Vote<u64>>> {
        Ok(lock(&self.0).vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Stored<()>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        lock(&self.0).entries.extend(entries);
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, id: Id) -> Stored<()> {
        let mut log = lock(&self.0);
        let place = log.place(id.index);
        log.entries.truncate(place);
        Ok(())
    }

    async fn purge(&mut self, id: Id) -> Stored<()> {
        let mut log = lock(&self.0);
        let place = log.place(id.index + 1);
        log.entries.drain(..place);
        log.purged = Some(id);
        Ok(())
    }
}

impl Machine {
    /// Says after each change how many updates are applied.
    pub(super) fn new(applied: UnboundedSender<Event>) -> Machine {
        Machine(Arc::new(Mutex::new(State {
            sink: Sink::default(),
            last: None,
            members: Members::default(),
            snapshot: None,
            applied,
        })))
    }

    /// Updates applied so far.
    pub(super) fn updates(&self) -> u64 {
        lock(&self.0).sink.updates
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Stored<Snapshot<Types>> {
        let mut state = lock(&self.0);
        let data = postcard::to_extend(&state.sink, Vec::new())
            .map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)))?;
        let meta = Meta {
            last_log_id: state.last,
            last_membership: state.members.clone(),
            snapshot_id: state.last.map_or(0, |id| id.index).to_string(),
        };
        state.snapshot = Some((meta.clone(), data.clone()));
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(data)) })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Stored<(Option<Id>, Members)> {
        let state = lock(&self.0);
        Ok((state.last, state.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Stored<Vec<()>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = lock(&self.0);
        let mut answers = Vec::new();
        for entry in entries {
            let id = *entry.get_log_id();
            state.last = Some(id);
            match entry.payload {
                EntryPayload::Blank => (),
                EntryPayload::Normal(batch) => state
                    .sink
                    .apply(&batch)
                    .map_err(|why| StorageIOError::apply(id, AnyError::error(why)))?,
                EntryPayload::Membership(members) => {
                    state.members = Members::new(Some(id), members);
                }
            }
            answers.push(());
        }
        // Nobody listens at the end of a run.
        let _ = state.applied.send(Event::Applied);
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Stored<Box<Cursor<Vec<u8>>>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Stored<()> {
        let data = snapshot.into_inner();
        let sink = postcard::from_bytes(&data)
            .map_err(|error| StorageIOError::read_snapshot(None, AnyError::new(&error)))?;
        let mut state = lock(&self.0);
        state.sink = sink;
        state.last = meta.last_log_id;
        state.members = meta.last_membership.clone();
        state.snapshot = Some((meta.clone(), data));
        let _ = state.applied.send(Event::Applied);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Stored<Option<Snapshot<Types>>> {
        let snapshot = lock(&self.0).snapshot.clone();
        Ok(snapshot.map(|(meta, data)| Snapshot { meta, snapshot: Box::new(Cursor::new(data)) }))
    }
}
