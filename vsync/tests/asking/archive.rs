//! What is asked here: an archive whose members a test can stop in the middle of a query.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use vsync::testing::Cluster;
use vsync::{MemberId, Missing, QueryCtx, Scattered, replicated};

pub(crate) use crate::patience::within;

/// What was asked of a member, and whether it may answer: a test shuts it to catch a member in the
/// middle of a query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe(Arc<(Mutex<Seen>, Condvar)>);

#[derive(Debug, Default)]
struct Seen {
    shares: Vec<(usize, usize)>,
    shut: bool,
}

impl Probe {
    pub(crate) fn shut(&self, shut: bool) {
        self.0.0.lock().expect("not poisoned").shut = shut;
        self.0.1.notify_all();
    }

    fn pass(&self, ctx: &QueryCtx) {
        let mut seen = self.0.0.lock().expect("not poisoned");
        seen.shares.push((ctx.share_index(), ctx.share_count()));
        drop(self.0.1.wait_while(seen, |seen| seen.shut).expect("not poisoned"));
    }

    pub(crate) fn take(&self) -> Vec<(usize, usize)> {
        std::mem::take(&mut self.0.0.lock().expect("not poisoned").shares)
    }

    pub(crate) async fn asked(&self) {
        while self.0.0.lock().expect("not poisoned").shares.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Numbered pages.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Archive {
    pages: Vec<u64>,
    #[local]
    probe: Probe,
}

pub(crate) fn merge(shares: Vec<Vec<u64>>) -> Vec<u64> {
    shares.concat()
}

fn most(lengths: Vec<usize>) -> usize {
    lengths.into_iter().max().unwrap_or_default()
}

fn flood(shares: Vec<String>) -> String {
    shares.concat().repeat(1 << 20)
}

#[replicated]
impl Archive {
    /// Adds pages.
    #[update(order = "total")]
    pub(crate) fn fill(&mut self, pages: Vec<u64>) {
        self.pages.extend(pages);
    }

    /// Adds one.
    #[update(order = "fifo")]
    pub(crate) fn add(&mut self, page: u64) {
        self.pages.push(page);
    }

    /// The pages that can be divided.
    #[query(scatter, gather = merge)]
    pub(crate) fn search(&self, ctx: &QueryCtx, by: u64) -> Vec<u64> {
        self.probe.pass(ctx);
        let mine = &self.pages[ctx.share(0..self.pages.len())];
        mine.iter().copied().filter(|page| page % by == 0).collect()
    }

    /// Its gathering fails.
    #[query(scatter, gather = Self::refuse)]
    pub(crate) fn refused(&self, ctx: &QueryCtx) -> Result<u64, String> {
        Ok(ctx.share_index() as u64)
    }

    fn refuse(shares: Vec<Result<u64, String>>) -> Result<u64, String> {
        Err(format!("{shares:?}"))
    }

    /// Of the states that the shares are read from, the longest.
    #[query(scatter, gather = most)]
    pub(crate) fn longest(&self, _ctx: &QueryCtx) -> usize {
        self.pages.len()
    }

    /// So many bytes for each share, and a MiB for each byte of them.
    #[query(scatter, gather = flood)]
    pub(crate) fn bulk(&self, _ctx: &QueryCtx, bytes: usize) -> String {
        "7".repeat(bytes)
    }

    /// How many pages.
    #[query]
    pub(crate) fn count(&self) -> usize {
        self.pages.len()
    }

    /// Who answers.
    #[query]
    pub(crate) fn who(&self, ctx: &QueryCtx) -> (Option<usize>, usize, usize, usize) {
        self.probe.pass(ctx);
        (ctx.rank(), ctx.size(), ctx.share_index(), ctx.share(3..9).len())
    }

    /// Longer than an answer may be.
    #[query]
    pub(crate) fn long(&self) -> Vec<u8> {
        vec![0; (16 << 20) + 1]
    }
}

pub(crate) struct Members {
    pub(crate) cluster: Cluster,
    pub(crate) handles: Vec<ArchiveHandle>,
    pub(crate) probes: Vec<Probe>,
}

impl Drop for Members {
    fn drop(&mut self) {
        // Else the runtime would wait for those that are shut.
        self.probes.iter().for_each(|probe| probe.shut(false));
    }
}

impl Members {
    /// All active, with a hundred pages.
    pub(crate) async fn new(size: usize) -> Members {
        let cluster = Cluster::new(size).await;
        let (mut handles, mut probes) = (Vec::new(), Vec::new());
        for node in cluster.nodes() {
            let archive = Archive::default();
            probes.push(archive.probe.clone());
            handles.push(node.group("archive").join_or_create(archive).await.expect("a member"));
        }
        let members = Members { cluster, handles, probes };
        members.settle(size).await;
        members.handles[0].fill((0..100).collect()).await.expect("stable");
        members
    }

    /// Until the first sees so many active members.
    pub(crate) async fn settle(&self, size: usize) {
        let mut views = self.handles[0].group().views();
        while views.next().await.expect("a view").size() != size {}
    }

    pub(crate) fn ids(&self) -> Vec<MemberId> {
        let view = self.handles[0].group().view().expect("a view");
        view.active().iter().map(|member| member.id).collect()
    }

    pub(crate) fn shares(&self) -> Vec<Vec<(usize, usize)>> {
        self.probes.iter().map(Probe::take).collect()
    }
}

pub(crate) fn tenth() -> Vec<u64> {
    (0..10).map(|page| page * 10).collect()
}

pub(crate) fn told<R>(scattered: &Scattered<R>) -> (Vec<MemberId>, Vec<(MemberId, Missing)>) {
    let answered = scattered.answers.iter().map(|(member, _)| *member).collect();
    (answered, scattered.missing.clone())
}
