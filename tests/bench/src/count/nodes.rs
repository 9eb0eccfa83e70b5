//! Whole nodes: what a member does for an update, from the public API to the state and back to the
//! caller.
//!
//! All members run on this thread, each on a runtime of its own, one after the other, over the
//! network in memory. Their clocks stand still but for a step per turn: what is due is due in the
//! same turn of every run, and no range that the tool has slowed down counts as a slow one.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::advance;
use vsync::__private::start_over;
use vsync::Node;
use vsync_net::{Memory, MemoryNet};

use super::{MEMBERS, PATIENCE, PAYLOAD, counted};
use crate::member::{Sink, SinkHandle};

/// The first member, which is the sequencer, too.
pub(super) const SENDER: usize = 0;
/// Another one.
pub(super) const RECEIVER: usize = 1;

/// How long a turn takes by the members' clocks.
const TURN: Duration = Duration::from_millis(1);
/// How often the tasks of a member run in its turn: its driver takes in what has come, tells
/// callers, and sends what they have left then.
const STEPS: usize = 4;

/// One member sends batches of updates and awaits the last one of each; what `which` does for it is
/// counted.
pub(super) fn stream(batches: u64, batch: u64, which: usize) -> Result<(), String> {
    let group = Group::form()?;
    let sink = group.members[SENDER].sink.clone();
    let work = async move {
        for _ in 0..batches {
            for _ in 1..batch {
                sink.total(payload()).send().await.map_err(|error| error.to_string())?;
            }
            sink.total(payload()).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    group.carry(vec![work], which, batches * batch)
}

/// So many callers at one member at the same time, each of whom awaits every update: what that
/// member does for it is counted.
pub(super) fn calls(updates: u64, callers: u64) -> Result<(), String> {
    let group = Group::form()?;
    let caller = |_| {
        let sink = group.members[SENDER].sink.clone();
        async move {
            for _ in 0..updates {
                sink.total(payload()).await.map_err(|error| error.to_string())?;
            }
            Ok(())
        }
    };
    let work = (0..callers).map(caller).collect();
    group.carry(work, SENDER, updates * callers)
}

fn payload() -> String {
    "x".repeat(PAYLOAD)
}

/// One member, and where its tasks run.
struct Member {
    sink: SinkHandle,
    // Dropped before the runtime, and within it.
    _node: Node,
    runtime: Runtime,
}

struct Group {
    members: Vec<Member>,
}

impl Group {
    fn form() -> Result<Group, String> {
        let net = MemoryNet::new();
        let mut group = Group { members: Vec::new() };
        for number in 0..MEMBERS {
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let joining = runtime.spawn(join(number, net.endpoint(&name(number))));
            group.wait(&runtime, || joining.is_finished())?;
            let (node, sink) = done(&runtime, joining)?;
            group.members.push(Member { sink, _node: node, runtime });
        }
        let (last, others) = group.members.split_last().ok_or("nobody is there")?;
        let all = |member: &Member| size(member) == MEMBERS as usize;
        let formed = || all(last) && others.iter().all(all);
        group.wait(&last.runtime, formed)?;
        Ok(group)
    }

    /// Gives turns to all, and to one that may not be a member yet, until that is so.
    fn wait(&self, other: &Runtime, until: impl Fn() -> bool) -> Result<(), String> {
        for _ in 0..PATIENCE {
            if until() {
                return Ok(());
            }
            turn(other);
            self.members.iter().for_each(|member| turn(&member.runtime));
            // Checkpoints are made by threads.
            std::thread::sleep(TURN);
        }
        Err("the group has not formed".to_owned())
    }

    /// Lets the sender do this work, and all members what they have to do for it.
    fn carry<W>(&self, work: Vec<W>, which: usize, updates: u64) -> Result<(), String>
    where
        W: Future<Output = Result<(), String>> + Send + 'static,
    {
        let sender = &self.members[SENDER].runtime;
        let work: Vec<_> = work.into_iter().map(|work| sender.spawn(work)).collect();
        while !work.iter().all(JoinHandle::is_finished) {
            for (number, member) in self.members.iter().enumerate() {
                match number == which {
                    true => counted(|| turn(&member.runtime)),
                    false => turn(&member.runtime),
                }
            }
        }
        work.into_iter().try_for_each(|work| done(sender, work))?;
        let applied = || self.members.iter().all(|member| applied(member) == updates);
        self.wait(sender, applied)
    }
}

/// What came of work that is finished.
fn done<T>(runtime: &Runtime, work: JoinHandle<Result<T, String>>) -> Result<T, String> {
    runtime.block_on(work).map_err(|error| error.to_string())?
}

/// One turn of a member: its clock goes on, and its tasks run as often as they need.
fn turn(runtime: &Runtime) {
    runtime.block_on(async {
        advance(TURN).await;
        for _ in 0..STEPS {
            yield_now().await;
        }
    });
}

fn name(number: u64) -> String {
    format!("member{number}")
}

async fn join(number: u64, endpoint: Memory) -> Result<(Node, SinkHandle), String> {
    let builder = Node::builder().name(name(number));
    let builder = match number {
        0 => builder.bootstrap(),
        _ => builder.seeds([name(0)]),
    };
    let node = start_over(builder, Arc::new(endpoint)).await.map_err(|error| error.to_string())?;
    let sink = node.group("count").join_or_create(Sink::default()).await;
    Ok((node, sink.map_err(|error| error.to_string())?))
}

/// How many members there are in its view.
fn size(member: &Member) -> usize {
    member.sink.group().view().map_or(0, |view| view.size())
}

/// How many updates it has applied.
fn applied(member: &Member) -> u64 {
    let count = member.sink.updates().optimistic();
    count.map_or(0, |count| count.into_unstable("a count of what was done"))
}
