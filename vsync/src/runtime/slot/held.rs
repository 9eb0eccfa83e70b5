//! [`Held`]: what waits for a replica that works away from the driver.

use std::collections::VecDeque;

use vsync_core::engine::Output;

/// What waits for a replica that works away from the driver.
#[derive(Debug)]
pub(crate) struct Held {
    /// The name of the work.
    pub(crate) work: u64,
    /// The engine's outputs since, oldest first.
    outputs: VecDeque<Output>,
    /// Bytes of the updates among them.
    pub(crate) bytes: usize,
    /// The others were told to wait.
    pub(crate) holds: bool,
    /// How many of the outputs end a membership.
    ends: usize,
}

impl Held {
    pub(crate) fn new(work: u64) -> Held {
        Held { work, outputs: VecDeque::new(), bytes: 0, holds: false, ends: 0 }
    }

    /// One more; returns its bytes.
    pub(crate) fn push(&mut self, output: Output) -> usize {
        let bytes = size(&output);
        self.ends += usize::from(is_end(&output));
        self.outputs.push_back(output);
        self.bytes += bytes;
        bytes
    }

    /// The oldest.
    pub(crate) fn pop(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        self.ends -= usize::from(is_end(&output));
        self.bytes -= size(&output);
        Some(output)
    }

    /// Forgets all of them; returns their bytes.
    pub(crate) fn clear(&mut self) -> usize {
        self.outputs.clear();
        self.ends = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Whether one of them ends the membership: what follows is of another.
    pub(crate) fn has_end(&self) -> bool {
        self.ends > 0
    }

    /// Those of a checkpoint on its way to this membership, oldest first.
    pub(crate) fn take_transfer(&mut self) -> VecDeque<Output> {
        let end = self.outputs.iter().position(is_end).unwrap_or(self.outputs.len());
        let after = self.outputs.split_off(end);
        let all = std::mem::take(&mut self.outputs);
        // They hold no updates.
        let (taken, left) = all.into_iter().partition(is_of_transfer);
        self.outputs = left;
        self.outputs.extend(after);
        taken
    }

    /// What was held before comes before this.
    pub(crate) fn put_before(&mut self, mut older: Held) {
        older.outputs.append(&mut self.outputs);
        self.outputs = older.outputs;
        self.bytes += older.bytes;
        self.holds |= older.holds;
        self.ends += older.ends;
    }
}

/// Whether it has to do with a checkpoint on its way to this member. That goes past what is held
/// for the replica, which waits for it.
pub(super) fn is_of_transfer(output: &Output) -> bool {
    matches!(output, Output::Load { .. } | Output::Loaded { .. })
}

/// Whether the membership ends with it.
fn is_end(output: &Output) -> bool {
    matches!(output, Output::Excluded { .. } | Output::Left { .. })
}

fn size(output: &Output) -> usize {
    match output {
        Output::Deliver(range) => range.body.len(),
        _ => 0,
    }
}
