//! Whether a counter that many clients have used at once could have been used by one after the
//! other: linearizability, which for calls that add one and give the sum is decided by their
//! values.

/// One call: between these two ticks it gave this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) begun: u64,
    pub(crate) done: u64,
    pub(crate) value: u64,
}

/// The values are the order of the calls. Each number from 1 on must be there once, and no call may
/// be done before one begins that comes earlier.
pub(crate) fn judge(history: &[Op]) -> Result<(), String> {
    let mut ops = history.to_vec();
    ops.sort_by_key(|op| op.value);
    let mut latest = 0;
    for (op, number) in ops.iter().zip(1..) {
        if op.value != number {
            return Err(format!("{number} is lost, or was given twice before: {op:?}"));
        }
        latest = latest.max(op.begun);
        if op.done < latest {
            return Err(format!("done before one that comes earlier has begun: {op:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_histories_are_found() {
        let op = |begun, done, value| Op { begun, done, value };
        let good = [op(1, 4, 2), op(2, 3, 1), op(5, 6, 3)];
        assert_eq!(judge(&good), Ok(()));
        assert!(judge(&[op(1, 4, 2), op(2, 3, 2), op(5, 6, 3)]).is_err(), "twice");
        assert!(judge(&[op(1, 4, 2), op(2, 3, 1), op(5, 6, 4)]).is_err(), "lost");
        assert!(judge(&[op(1, 2, 2), op(3, 4, 1), op(5, 6, 3)]).is_err(), "against real time");
    }
}
