//! [`QueryCtx`]: what a query may know of where it runs.

use std::ops::Range;

use vsync_core::wire;

use crate::view::{View, portion};

/// What a query may know that is not in the state: the view, who answers, and which share of the
/// work is asked for.
///
/// A query takes it as its first argument, `ctx: &QueryCtx`, or leaves it out. Unlike what an
/// update may know, it differs between replicas.
///
/// A share is one of [`share_count`](QueryCtx::share_count) parts. A scattered query
/// (`#[query(scatter, gather = …)]`) is asked for as many as there are active members, one of each,
/// by rank. A share whose member fails is asked of another one, so the number of a share need not
/// be the rank of who answers. Every other query is asked for the one share that is all of it.
#[derive(Clone, Debug)]
pub struct QueryCtx {
    view: View,
    rank: Option<usize>,
    index: usize,
    count: usize,
}

impl Default for QueryCtx {
    /// In no view at all.
    fn default() -> Self {
        let none = wire::View { number: 0, members: Vec::new(), active: 0 };
        QueryCtx::new(View::new(&none, &[], &[], &[]), None, 0, 1)
    }
}

impl QueryCtx {
    /// A context for the share `index` of `count`.
    pub(crate) fn new(view: View, rank: Option<usize>, index: usize, count: usize) -> QueryCtx {
        QueryCtx { view, rank, index, count: count.max(1) }
    }

    /// The view that is installed where the query runs.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How many members of that view are active.
    pub fn size(&self) -> usize {
        self.view.size()
    }

    /// The rank in that view of the member that answers. `None` where the node is just being
    /// excluded.
    pub fn rank(&self) -> Option<usize> {
        self.rank
    }

    /// The number of the share that is asked for, from 0.
    pub fn share_index(&self) -> usize {
        self.index
    }

    /// How many shares there are.
    pub fn share_count(&self) -> usize {
        self.count
    }

    /// The part of some numbered items that belongs to the share that is asked for. All shares
    /// together cover each item once, and none is larger than another by more than one.
    ///
    /// ```
    /// # use vsync::{QueryCtx, replicated};
    /// #[replicated]
    /// #[derive(Default)]
    /// struct Archive {
    ///     pages: Vec<String>,
    /// }
    ///
    /// #[replicated]
    /// impl Archive {
    ///     /// The pages with this word.
    ///     #[query(scatter, gather = merge)]
    ///     fn search(&self, ctx: &QueryCtx, word: String) -> Vec<usize> {
    ///         let mine = ctx.share(0..self.pages.len());
    ///         mine.filter(|&page| self.pages[page].contains(&word)).collect()
    ///     }
    /// }
    ///
    /// fn merge(shares: Vec<Vec<usize>>) -> Vec<usize> {
    ///     shares.concat()
    /// }
    /// ```
    pub fn share(&self, items: Range<usize>) -> Range<usize> {
        portion(self.index, self.count, items)
    }
}
