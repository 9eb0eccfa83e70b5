//! Checkpoints on their way between the driver and the threads that make and read them: piece by
//! piece, so that making, sending and reading go on at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use vsync_core::wire::{self, GroupId, MemberId};

use super::Command;
use super::seat::Seat;
use super::threads::waiting;
use crate::codec::pieces::{CheckpointReader, CheckpointWriter, Pieces};

/// Bytes of a piece: what the engine sends at once.
const PIECE: usize = 256 << 10;
/// Pieces of a copied state that are made before the first of them has arrived at all joiners. Of
/// a state that cannot be copied there is no such limit: the sooner it is free again the better.
const AHEAD: usize = 16;
/// Bytes that may wait to be read; beyond it the donor is asked to wait.
const FULL: usize = 4 << 20;
/// When it may go on.
const ROOM: usize = 1 << 20;

/// How the pieces of a checkpoint that is made elsewhere come to the driver.
pub(crate) struct Handing {
    pub(crate) seat: Arc<Seat>,
    /// The name of the work.
    pub(crate) work: u64,
    /// The view after whose install it is taken.
    pub(crate) label: u64,
}

impl Handing {
    /// What a state is written to that waits until that is done.
    pub(crate) fn at_once(self) -> CheckpointWriter {
        self.writer(usize::MAX)
    }

    /// What a copy is written to: no faster than it is sent.
    pub(crate) fn in_time(self) -> CheckpointWriter {
        self.writer(AHEAD)
    }

    fn writer(self, most: usize) -> CheckpointWriter {
        let pool = Arc::new(Pool { most, loans: Mutex::default(), back: Condvar::new() });
        let first = pool.take();
        CheckpointWriter::pieces(first, PIECE, Box::new(Lending { handing: self, pool }))
    }
}

/// Hands pieces over, and gets their room back when nobody needs them any more: memory that was
/// never touched costs more than what is written to it.
struct Lending {
    handing: Handing,
    pool: Arc<Pool>,
}

impl Pieces for Lending {
    fn next(&mut self, full: Vec<u8>) -> Vec<u8> {
        let bytes = Bytes::from_owner(Loan { piece: full, pool: Arc::downgrade(&self.pool) });
        let Handing { seat, work, label } = &self.handing;
        seat.command(Command::Piece { work: *work, label: *label, bytes });
        self.pool.take()
    }
}

struct Pool {
    /// Pieces that may be under way.
    most: usize,
    loans: Mutex<Loans>,
    back: Condvar,
}

#[derive(Default)]
struct Loans {
    free: Vec<Vec<u8>>,
    /// Pieces that are not free.
    out: usize,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Loans> {
        self.loans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty piece, as soon as there is one.
    fn take(&self) -> Vec<u8> {
        let full = |loans: &mut Loans| loans.free.is_empty() && loans.out >= self.most;
        let mut loans = self.lock();
        if full(&mut loans) {
            drop(loans);
            // Nobody else takes pieces of it.
            waiting(|| drop(self.back.wait_while(self.lock(), full)));
            loans = self.lock();
        }
        loans.out += 1;
        loans.free.pop().unwrap_or_else(|| Vec::with_capacity(PIECE))
    }
}

/// A piece that goes back to where it came from.
struct Loan {
    piece: Vec<u8>,
    pool: Weak<Pool>,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Otherwise the last piece is made.
        let Some(pool) = self.pool.upgrade() else { return };
        let mut piece = std::mem::take(&mut self.piece);
        piece.clear();
        let mut loans = pool.lock();
        loans.out -= 1;
        loans.free.push(piece);
        drop(loans);
        pool.back.notify_one();
    }
}

/// A checkpoint that is being loaded, at the driver.
pub(crate) struct Incoming {
    /// No other transfer to this node has it.
    number: u64,
    label: u64,
    donor: MemberId,
    /// `None` when all of it is here.
    pieces: Option<Sender<Piece>>,
    flow: Arc<Flow>,
    /// Until the thread that reads it begins.
    source: Option<Source>,
    /// Whether the donor was asked to wait, and not yet to go on.
    pub(crate) holds: bool,
    /// Once all of it is here: this member, and the view by which the donor has its name.
    ended: Option<(MemberId, wire::View)>,
}

enum Piece {
    Next(Bytes),
    Last,
}

#[derive(Default)]
struct Flow {
    /// Bytes that wait to be read.
    queued: AtomicUsize,
    /// The donor is to wait.
    full: AtomicBool,
}

impl Flow {
    /// Whether the donor, which was to wait, may go on.
    fn has_room(&self) -> bool {
        self.queued.load(Ordering::SeqCst) < ROOM && self.full.swap(false, Ordering::SeqCst)
    }
}

/// Where the thread that reads a checkpoint gets it from.
pub(crate) struct Source {
    pieces: Receiver<Piece>,
    flow: Arc<Flow>,
    seat: Arc<Seat>,
    group: GroupId,
    transfer: u64,
}

impl Source {
    /// The reader; it ends early where the transfer does.
    pub(crate) fn reader(self) -> CheckpointReader {
        CheckpointReader::pieces(move || self.next())
    }

    fn next(&self) -> Option<Bytes> {
        let next = match self.pieces.try_recv() {
            Err(TryRecvError::Empty) => waiting(|| self.pieces.recv().ok()),
            next => next.ok(),
        };
        let Some(Piece::Next(bytes)) = next else { return None };
        self.flow.queued.fetch_sub(bytes.len(), Ordering::SeqCst);
        if self.flow.has_room() {
            let (group, transfer) = (self.group, self.transfer);
            self.seat.command(Command::Room { group, transfer });
        }
        Some(bytes)
    }
}

impl Incoming {
    /// Of the checkpoint that this member took at the install of that view.
    pub(crate) fn new(
        number: u64,
        seat: Arc<Seat>,
        group: GroupId,
        (label, donor): (u64, MemberId),
    ) -> Incoming {
        let (pieces, receiver) = channel();
        let flow = Arc::new(Flow::default());
        let transfer = number;
        let source = Source { pieces: receiver, flow: Arc::clone(&flow), seat, group, transfer };
        let (pieces, source) = (Some(pieces), Some(source));
        Incoming { number, label, donor, pieces, flow, source, holds: false, ended: None }
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, number: u64) -> bool {
        self.number == number
    }

    /// The view at whose install it was taken.
    pub(crate) fn label(&self) -> u64 {
        self.label
    }

    /// Who took it.
    pub(crate) fn donor(&self) -> MemberId {
        self.donor
    }

    /// What it is read from, for whoever begins to; nobody else does.
    pub(crate) fn begin(&mut self) -> Option<Source> {
        self.source.take()
    }

    /// Whether nobody reads it yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.source.is_some()
    }

    /// The next piece; whether the donor is to wait from now on.
    pub(crate) fn push(&self, bytes: Bytes) -> bool {
        let Some(pieces) = &self.pieces else { return false };
        let queued = self.flow.queued.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
        // Whoever read has failed: that is told by what came of it.
        drop(pieces.send(Piece::Next(bytes)));
        let fills = queued > FULL && !self.flow.full.swap(true, Ordering::SeqCst);
        // It may all have been read in the meantime.
        fills && !self.flow.has_room()
    }

    /// All of it is here; `status` is this member, and the engine's view.
    pub(crate) fn end(&mut self, status: Option<(MemberId, wire::View)>) {
        if let Some(pieces) = self.pieces.take() {
            drop(pieces.send(Piece::Last));
        }
        self.ended = status;
    }

    /// Whether all of it is here.
    pub(crate) fn has_ended(&self) -> bool {
        self.pieces.is_none()
    }

    /// This member, and the view by which the donor has its name.
    pub(crate) fn status(&self) -> Option<&(MemberId, wire::View)> {
        self.ended.as_ref()
    }
}
