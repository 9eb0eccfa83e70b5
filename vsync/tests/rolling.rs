//! A rolling upgrade of real processes under load: to the second version, back to the first, to the
//! second again, and there for good. Each process writes all the time; one is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use vsync::{ActivateError, CallError, JoinError, Node};

/// How long a child lives at most, whatever happens to its parent.
const LIFE: Duration = Duration::from_secs(120);
/// How long the parent waits for a word: not a measurement, but an end.
const PATIENCE: Duration = Duration::from_secs(60);
const VERSION: &str = "VSYNC_TEST_VERSION";
const NAME: &str = "VSYNC_TEST_NAME";
const SEEDS: &str = "VSYNC_TEST_SEEDS";
const GROUP: &str = "journal";

/// The first program's type.
mod one {
    use vsync::replicated;

    #[replicated(name = "journal")]
    #[derive(Clone, Debug, Default)]
    pub(super) struct Journal {
        entries: Vec<(String, u64)>,
    }

    #[replicated]
    impl Journal {
        /// Adds an entry.
        #[update(order = "total")]
        pub(super) fn add(&mut self, writer: String, number: u64) -> u64 {
            self.entries.push((writer, number));
            self.entries.len() as u64
        }

        #[query]
        pub(super) fn all(&self) -> Vec<(String, u64, u32)> {
            self.entries.iter().map(|(writer, number)| (writer.clone(), *number, 1)).collect()
        }
    }
}

/// The second program's type: it notes under which version an entry was added.
mod two {
    use serde::{Deserialize, Serialize};
    use vsync::{Ctx, replicated};

    #[replicated(past, name = "journal", version = 1)]
    pub(super) struct JournalV1 {
        entries: Vec<(String, u64)>,
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Entry {
        version: u32,
        number: u64,
        writer: String,
    }

    #[replicated(name = "journal", version = 2, from = JournalV1)]
    #[derive(Clone, Debug, Default)]
    pub(super) struct Journal {
        entries: Vec<Entry>,
    }

    impl From<JournalV1> for Journal {
        fn from(old: JournalV1) -> Journal {
            let entry = |(writer, number)| Entry { version: 1, number, writer };
            Journal { entries: old.entries.into_iter().map(entry).collect() }
        }
    }

    impl From<&Journal> for JournalV1 {
        fn from(new: &Journal) -> JournalV1 {
            let entry = |entry: &Entry| (entry.writer.clone(), entry.number);
            JournalV1 { entries: new.entries.iter().map(entry).collect() }
        }
    }

    #[replicated]
    impl Journal {
        /// Adds an entry.
        #[update(order = "total", until = 2)]
        pub(super) fn add(&mut self, ctx: &Ctx<Self>, writer: String, number: u64) -> u64 {
            self.entries.push(Entry { version: ctx.version(), number, writer });
            self.entries.len() as u64
        }

        /// Adds an entry, in the second version.
        #[update(order = "fifo", since = 2)]
        pub(super) fn append(&mut self, ctx: &Ctx<Self>, number: u64, writer: String) {
            self.entries.push(Entry { version: ctx.version(), number, writer });
        }

        #[query]
        pub(super) fn all(&self) -> Vec<(String, u64, u32)> {
            let entry = |entry: &Entry| (entry.writer.clone(), entry.number, entry.version);
            self.entries.iter().map(entry).collect()
        }
    }
}

/// What a child does with its handle, whatever its version.
trait Program: Sized {
    async fn join(node: &Node, create: bool) -> Result<Self, JoinError>;
    async fn add(
        &self,
        writer: &str,
        number: u64,
    ) -> Result<(), CallError<std::convert::Infallible>>;
    async fn activate(&self, version: u32) -> Result<(), ActivateError>;
    async fn all(&self) -> Vec<(String, u64, u32)>;
}

impl Program for one::JournalHandle {
    async fn join(node: &Node, create: bool) -> Result<Self, JoinError> {
        let group = node.group(GROUP).timeout(PATIENCE);
        match create {
            true => group.create(one::Journal::default()).await,
            false => group.join(one::Journal::default()).await,
        }
    }

    async fn add(
        &self,
        writer: &str,
        number: u64,
    ) -> Result<(), CallError<std::convert::Infallible>> {
        one::JournalHandle::add(self, writer.to_owned(), number).await.map(drop)
    }

    async fn activate(&self, version: u32) -> Result<(), ActivateError> {
        self.group().activate(version).await
    }

    async fn all(&self) -> Vec<(String, u64, u32)> {
        self.group().flush().await.expect("flushed");
        one::JournalHandle::all(self).await.expect("read")
    }
}

impl Program for two::JournalHandle {
    async fn join(node: &Node, create: bool) -> Result<Self, JoinError> {
        let group = node.group(GROUP).timeout(PATIENCE);
        match create {
            true => group.create(two::Journal::default()).await,
            false => group.join(two::Journal::default()).await,
        }
    }

    async fn add(
        &self,
        writer: &str,
        number: u64,
    ) -> Result<(), CallError<std::convert::Infallible>> {
        match self.group().version() {
            Some(2) => self.append(number, writer.to_owned()).await,
            _ => two::JournalHandle::add(self, writer.to_owned(), number).await.map(drop),
        }
    }

    async fn activate(&self, version: u32) -> Result<(), ActivateError> {
        self.group().activate(version).await
    }

    async fn all(&self) -> Vec<(String, u64, u32)> {
        self.group().flush().await.expect("flushed");
        two::JournalHandle::all(self).await.expect("read")
    }
}

/// Not a test by itself: the processes of the other.
#[test]
#[ignore = "run by the other test as a process of its own"]
fn child() {
    let Ok(version) = std::env::var(VERSION) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(async {
        let life = async {
            match version.as_str() {
                "1" => life::<one::JournalHandle>().await,
                _ => life::<two::JournalHandle>().await,
            }
        };
        tokio::time::timeout(LIFE, life).await
    });
    done.expect("in time");
}

/// A word to the parent, on a line of its own.
fn say(word: &str) {
    println!("\n> {word}");
}

async fn life<P: Program>() {
    let (name, seeds) = (std::env::var(NAME).unwrap(), std::env::var(SEEDS).unwrap());
    let builder = Node::builder().name(&name).listen("127.0.0.1:0").patience(PATIENCE);
    let builder = builder.secret("the secret of the upgrade");
    let node = match seeds.is_empty() {
        true => builder.bootstrap().start().await,
        false => builder.seeds(seeds.split(' ')).start().await,
    };
    let node = node.expect("started");
    let journal = match P::join(&node, seeds.is_empty()).await {
        Ok(journal) => journal,
        Err(error) => return say(&format!("refused {error}")),
    };
    say(&format!("member {}", node.address()));
    let (tell, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            drop(tell.send(line.unwrap_or_default()));
        }
    });
    let mut number = 1;
    let mut writing = true;
    loop {
        let command = match writing {
            true => commands.try_recv().unwrap_or_default(),
            false => commands.recv().await.unwrap_or_else(|| "leave".to_owned()),
        };
        match command.as_str() {
            "stop" => {
                writing = false;
                say("stopped");
            }
            "activate" => match journal.activate(2).await {
                Ok(()) => say("activated"),
                Err(error) => say(&format!("not activated: {error}")),
            },
            "dump" => {
                for (writer, number, version) in journal.all().await {
                    say(&format!("entry {writer} {number} {version}"));
                }
                say("end");
            }
            "leave" => break,
            _ => {}
        }
        if writing {
            match journal.add(&name, number).await {
                Ok(()) => say(&format!("ack {number}")),
                // Certainly not: it is tried again.
                Err(CallError::NotApplied(_)) => number -= 1,
                Err(_) => say(&format!("unknown {number}")),
            }
            number += 1;
            // A load, and room for others on the machine.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    node.shutdown(Duration::from_secs(20)).await;
    say("left");
}

/// A child process.
struct Process {
    name: String,
    address: String,
    child: Child,
    stdin: ChildStdin,
    words: Receiver<String>,
    /// What it has said of its writes.
    acked: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
}

impl Process {
    fn start(version: u32, name: &str, seeds: &str) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(VERSION, version.to_string())
            .env(NAME, name)
            .env(SEEDS, seeds)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, words) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(word) = line.strip_prefix("> ") {
                    drop(tell.send(word.to_owned()));
                }
            }
        });
        Process {
            name: name.to_owned(),
            address: String::new(),
            stdin: child.stdin.take().unwrap(),
            child,
            words,
            acked: BTreeSet::new(),
            unknown: BTreeSet::new(),
        }
    }

    fn order(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap();
    }

    /// The next word that is not about a write. `None` when it is gone.
    fn word(&mut self) -> Option<String> {
        loop {
            let word = match self.words.recv_timeout(PATIENCE) {
                Ok(word) => word,
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("{} says nothing", self.name),
            };
            if !self.note(&word) {
                return Some(word);
            }
        }
    }

    /// Whether a word is about a write.
    fn note(&mut self, word: &str) -> bool {
        match word.split_once(' ') {
            Some(("ack", number)) => self.acked.insert(number.parse().unwrap()),
            Some(("unknown", number)) => self.unknown.insert(number.parse().unwrap()),
            _ => false,
        }
    }

    #[track_caller]
    fn expect(&mut self, start: &str) -> String {
        let word = self.word().unwrap_or_else(|| panic!("{} is gone", self.name));
        assert!(word.starts_with(start), "{}: {word}, not {start}", self.name);
        word
    }

    /// Waits until it has written something more.
    fn writes(&mut self) {
        let before = self.acked.len();
        while self.acked.len() < before + 5 {
            let word = self.words.recv_timeout(PATIENCE).expect("it writes");
            assert!(self.note(&word), "{}: {word}", self.name);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that run, and those that are gone.
#[derive(Default)]
struct Stage {
    members: Vec<Process>,
    gone: Vec<Process>,
    started: usize,
}

impl Stage {
    fn seeds(&self) -> String {
        let seeds: Vec<_> = self.members.iter().map(|member| member.address.as_str()).collect();
        seeds.join(" ")
    }

    /// One more member.
    fn add(&mut self, version: u32) {
        let name = format!("n{}v{version}", self.started);
        self.started += 1;
        let mut process = Process::start(version, &name, &self.seeds());
        let word = process.expect("member ");
        process.address = word["member ".len()..].to_owned();
        self.members.push(process);
    }

    /// The oldest leaves, or is killed.
    fn remove(&mut self, kill: bool) {
        let mut process = self.members.remove(0);
        process.writes();
        if kill {
            process.child.kill().unwrap();
            assert_eq!(process.word(), None);
        } else {
            process.order("leave");
            process.expect("left");
        }
        self.gone.push(process);
    }

    /// Each program is replaced by one of this version.
    fn roll(&mut self, version: u32, kill: bool) {
        for index in 0..3 {
            self.add(version);
            self.remove(kill && index == 1);
            self.members.iter_mut().for_each(Process::writes);
        }
    }
}

#[test]
fn to_the_second_version_and_back_and_there_for_good() {
    let mut stage = Stage::default();
    (0..3).for_each(|_| stage.add(1));
    // While some have it and some do not, it cannot be activated.
    stage.add(2);
    stage.members[3].order("activate");
    let refused = stage.members[3].expect("not activated");
    assert!(refused.contains("n0v1 (version 1)"), "{refused}");
    stage.remove(false);
    stage.roll(2, false);
    stage.roll(1, true);
    stage.roll(2, false);
    stage.members[1].order("activate");
    stage.members[1].expect("activated");
    stage.members.iter_mut().for_each(Process::writes);
    // From here on there is no way back.
    let mut late = Process::start(1, "late", &stage.seeds());
    let refused = late.expect("refused");
    assert!(refused.contains("version 2 is active, this program has version 1"), "{refused}");

    for member in &mut stage.members {
        member.order("stop");
        member.expect("stopped");
    }
    let mut states: Vec<Vec<(String, u64, u32)>> = Vec::new();
    for member in &mut stage.members {
        member.order("dump");
        let mut state = Vec::new();
        loop {
            let word = member.expect("e");
            let Some(entry) = word.strip_prefix("entry ") else { break };
            let words: Vec<_> = entry.split(' ').collect();
            state.push((words[0].to_owned(), words[1].parse().unwrap(), words[2].parse().unwrap()));
        }
        states.push(state);
    }
    judge(&stage, states);
}

/// All replicas are equal; what was acknowledged is there, in its writer's order, nothing twice.
fn judge(stage: &Stage, mut states: Vec<Vec<(String, u64, u32)>>) {
    assert_eq!(states.len(), 3);
    // Fifo updates of several writers may be in another order at each; per writer they are not.
    let by_writer = |state: &[(String, u64, u32)]| {
        let mut lists: BTreeMap<String, Vec<(u64, u32)>> = BTreeMap::new();
        for (writer, number, version) in state {
            lists.entry(writer.clone()).or_default().push((*number, *version));
        }
        lists
    };
    let totals = |state: &[(String, u64, u32)]| {
        state.iter().filter(|entry| entry.2 == 1).cloned().collect::<Vec<_>>()
    };
    let last = states.pop().unwrap();
    for state in &states {
        assert_eq!(totals(state), totals(&last), "what was added in the first version");
        assert_eq!(by_writer(state), by_writer(&last));
    }
    let lists = by_writer(&last);
    for process in stage.members.iter().chain(&stage.gone) {
        let list = lists.get(&process.name).map_or(&[][..], |list| list);
        let numbers: Vec<u64> = list.iter().map(|(number, _)| *number).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{}: {numbers:?}", process.name);
        let there: BTreeSet<u64> = numbers.into_iter().collect();
        assert!(process.acked.is_subset(&there), "{}: lost", process.name);
        let open =
            |number: &&u64| !process.acked.contains(number) && !process.unknown.contains(number);
        // One that was killed, or left, did not say all.
        let open: Vec<_> = there.iter().filter(open).collect();
        assert!(open.len() <= 1, "{}: {open:?} were never sent", process.name);
        assert!(list.is_sorted_by_key(|(_, version)| *version), "a version never goes back");
    }
    assert!(last.iter().any(|entry| entry.2 == 2), "written under the second version");
}
