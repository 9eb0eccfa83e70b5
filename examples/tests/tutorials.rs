//! The tutorials' programs, as the book runs them: processes on one machine, some of them killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// How long a test waits for a line: not a measurement, but an end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that a reader would run in a terminal.
struct Terminal {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<String>,
    seen: Vec<String>,
}

impl Terminal {
    fn open(program: &str, secret: &str, arguments: &[&str], ports: &[String]) -> Terminal {
        let mut child = Command::new(program)
            .args(arguments)
            .args(ports)
            .env(secret, "not a secret, but a test")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let (tell, screen) = mpsc::channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        for stream in [Box::new(out) as Box<dyn std::io::Read + Send>, Box::new(err)] {
            let tell = tell.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    // The test may have ended.
                    let _ = tell.send(line);
                }
            });
        }
        Terminal { keyboard: child.stdin.take(), child, screen, seen: Vec::new() }
    }

    fn types(&mut self, line: &str) {
        let keyboard = self.keyboard.as_mut().expect("open");
        writeln!(keyboard, "{line}").expect("typed");
    }

    /// Waits for a line that `fits`.
    fn reads(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        loop {
            let Ok(line) = self.screen.recv_timeout(PATIENCE) else {
                panic!("{what} is missing; on the screen is {:#?}", self.seen)
            };
            self.seen.push(line.clone());
            if fits(&line) {
                return line;
            }
        }
    }

    /// Waits for this line.
    fn shows(&mut self, line: &str) {
        self.reads(line, |seen| seen == line);
    }

    /// Waits for a view with just these members, as the program prints them.
    fn sees(&mut self, members: &[&str]) {
        let wanted: BTreeSet<&str> = members.iter().copied().collect();
        self.reads(&format!("a view of {members:?}"), |line| {
            let members = line.strip_prefix("view ").and_then(|rest| rest.split_once(": "));
            members.is_some_and(|(_, names)| names.split(", ").collect::<BTreeSet<_>>() == wanted)
        });
    }

    /// As `kill -9`.
    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("over");
    }

    /// Ends the input, as Ctrl-D does, and waits for the process.
    fn ends(mut self) {
        self.keyboard = None;
        let status = self.child.wait().expect("over");
        assert!(status.success(), "{status}; on the screen was {:#?}", self.seen);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may be over.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three ports that are free, for QUIC and for the liveness link. The order is each node's own.
fn ports() -> [Vec<String>; 3] {
    let mut held = Vec::new();
    while held.len() < 3 {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = udp.local_addr().expect("its number").port();
        if let Ok(tcp) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, udp, tcp));
        }
    }
    let ports: Vec<String> = held.iter().map(|(port, ..)| port.to_string()).collect();
    std::array::from_fn(|first| {
        let mut own = ports.clone();
        own.swap(0, first);
        own
    })
}

#[test]
fn a_counter_outlives_one_of_three() {
    let ports = ports();
    let open = |name: &str, at: usize| {
        Terminal::open(env!("CARGO_BIN_EXE_counter"), "COUNTER_SECRET", &[name], &ports[at])
    };
    let (mut one, mut two) = (open("one", 0), open("two", 1));
    one.sees(&["one", "two"]);
    two.sees(&["one", "two"]);
    let mut three = open("three", 2);
    for terminal in [&mut one, &mut two, &mut three] {
        terminal.sees(&["one", "two", "three"]);
    }
    one.types("5");
    one.shows("value 5");
    two.types("seven");
    two.shows("\"seven\" is no number");
    two.types("7");
    two.shows("value 12");
    one.kill();
    two.sees(&["two", "three"]);
    three.types("30");
    three.shows("value 42");
    let mut one = open("one", 0);
    one.sees(&["one", "two", "three"]);
    one.types("");
    one.shows("value 42");
    one.ends();
    two.sees(&["two", "three"]);
    two.ends();
    three.ends();
}

#[test]
fn a_desk_reserves_once_whoever_is_killed() {
    let ports = ports();
    let desk = |arguments: &[&str], at: usize| {
        Terminal::open(env!("CARGO_BIN_EXE_desk"), "DESK_SECRET", arguments, &ports[at])
    };
    let mut members =
        [desk(&["member", "one"], 0), desk(&["member", "two"], 1), desk(&["member", "three"], 2)];
    for member in &mut members {
        member.sees(&["one", "two", "three"]);
    }
    let mut client = desk(&["client"], 0);
    client.types("reserve ann");
    client.shows("seat 1");
    client.types("reserve bob order-17");
    client.shows("seat 2");
    let [one, mut two, mut three] = members;
    one.kill();
    client.types("reserve bob order-17");
    client.shows("seat 2");
    two.sees(&["two", "three"]);
    client.types("reserve cyd");
    client.shows("seat 3");
    let mut late = desk(&["client"], 1);
    late.types("reserve dan");
    late.shows("no: SoldOut");
    late.types("cancel 2 ann");
    late.shows("no: NotYours");
    late.types("cancel 2 bob");
    late.shows("given back");
    let mut one = desk(&["member", "one"], 0);
    three.sees(&["one", "two", "three"]);
    one.sees(&["one", "two", "three"]);
    two.kill();
    three.kill();
    late.ends();
    client.ends();
}

#[test]
fn a_board_goes_on_while_its_programs_are_replaced() {
    let ports = ports();
    let open = |version: u32, name: &str, at: usize| {
        let program = match version {
            1 => env!("CARGO_BIN_EXE_board1"),
            _ => env!("CARGO_BIN_EXE_board2"),
        };
        Terminal::open(program, "BOARD_SECRET", &[name], &ports[at])
    };
    let all = |terminal: &mut Terminal, versions: [u32; 3]| {
        let wanted: Vec<String> = ["one", "two", "three"]
            .iter()
            .zip(versions)
            .map(|(name, version)| format!("{name} (version {version})"))
            .collect();
        terminal.reads(&format!("a view of {wanted:?}"), |line| {
            let joining = line.contains("joining");
            !joining && line.starts_with("view ") && wanted.iter().all(|it| line.contains(it))
        });
    };
    let (mut one, mut two) = (open(1, "one", 0), open(1, "two", 1));
    let mut three = open(1, "three", 2);
    all(&mut two, [1, 1, 1]);
    one.types("buy milk");
    one.shows("note 1");
    one.ends();
    let mut one = open(2, "one", 0);
    all(&mut two, [2, 1, 1]);
    all(&mut one, [2, 1, 1]);
    one.types("");
    one.shows("{1: \"buy milk\"}");
    one.types("down 1");
    one.reads("a refusal", |line| line.contains("`take_down` is there since version 2"));
    one.types("activate");
    one.reads("who has not the version", |line| {
        line.starts_with("these members do not have the version: ")
    });
    two.types("call ann");
    two.shows("note 2");
    two.ends();
    let mut two = open(2, "two", 1);
    all(&mut three, [2, 2, 1]);
    three.ends();
    let mut three = open(2, "three", 2);
    all(&mut one, [2, 2, 2]);
    all(&mut three, [2, 2, 2]);
    one.types("activate");
    one.shows("version 2 is active");
    // The view that it begins with may come a moment later here.
    all(&mut three, [2, 2, 2]);
    three.types("down 1");
    three.shows("down: \"buy milk\", under version 2");
    two.types("sleep");
    two.shows("note 3");
    one.ends();
    let mut old = open(1, "one", 0);
    old.reads("that it is too old", |line| line.contains("version 2 is active"));
}
