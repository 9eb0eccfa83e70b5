//! Daemons of the distribution: found, started in a temporary directory, and ended with it.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A directory that is gone with the value.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A new one, on the disk: what daemons sync has to arrive somewhere.
    pub(crate) fn new(name: &str) -> Result<Directory, String> {
        // `/tmp` often is memory, `/var/tmp` is not.
        let parent = std::env::var_os("TMPDIR").map_or("/var/tmp".into(), PathBuf::from);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = parent.join(format!(
            "vsync-bench-{name}-{}-{}",
            std::process::id(),
            now.subsec_nanos()
        ));
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Directory(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What kind of file system it is on, such as `ext4`.
    pub(crate) fn file_system(&self) -> String {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mounts = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (place, kind) = (words.next()?, words.next()?);
            self.0.starts_with(place).then_some((place.len(), kind))
        });
        // Of those mounted over one another the last one shows.
        mounts.max_by_key(|&(length, _)| length).map_or("unknown", |(_, kind)| kind).to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody could do more about it than whoever cleans the place for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Finds a program, in the usual places for programs and in `also`; or tells where it comes from.
pub(crate) fn find(program: &str, also: &[&str], package: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let places = also.iter().map(PathBuf::from).chain(std::env::split_paths(&path)).chain(sbin);
    let found = places.map(|place| place.join(program)).find(|file| file.is_file());
    found.ok_or_else(|| format!("{program} was not found: install Debian's package {package}"))
}

/// A command that the kernel ends with this process, should this one not come to end it itself.
pub(crate) fn bound(signal: &str, options: &[String], program: &Path) -> Result<Command, String> {
    let mut command = Command::new(find("setpriv", &[], "util-linux")?);
    command.args(["--pdeathsig", signal]).args(options).arg("--").arg(program);
    Ok(command)
}

/// A daemon. Ends with the value.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    /// What ends it in better order than a kill.
    stop: Option<Command>,
}

impl Daemon {
    /// Starts it; what it says goes to the file `log`.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Result<Daemon, String> {
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            // A daemon's own group: the terminal's ^C is for us, and we end it.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Daemon { child, log, stop: None })
    }

    /// Has it ended by this command.
    pub(crate) fn stopped_by(mut self, stop: Command) -> Daemon {
        self.stop = Some(stop);
        self
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has, in good order; an error if it has failed.
    pub(crate) fn ended(&mut self) -> Result<bool, String> {
        match self.child.try_wait() {
            Ok(None) => Ok(false),
            Ok(Some(status)) if status.success() => Ok(true),
            _ => self.check().map(|()| true),
        }
    }

    /// An error if it has ended, with the last that it said.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("a daemon ended ({status}): {}", tail(&self.log))),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Where stopping fails the kill remains; where that fails, it has ended already.
        if let Some(stop) = &mut self.stop {
            let _ = stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a file.
pub(crate) fn tail(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Ports of loopback that nobody listens on.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    // All are held until all are known, or one might be given twice.
    let sockets: Result<Vec<TcpListener>, _> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let sockets = sockets.map_err(|error| error.to_string())?;
    let ports = sockets.iter().map(|socket| Ok(socket.local_addr()?.port()));
    ports.collect::<Result<_, std::io::Error>>().map_err(|error| error.to_string())
}

/// Asks until the answer is yes, but not for ever.
pub(crate) fn wait_for(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    let end = Instant::now() + limit;
    while !ask()? {
        if Instant::now() > end {
            return Err(format!("waited {} s in vain for {what}", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// What a command prints; an error with what it complains about, if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let arguments: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    Err(format!(
        "{} {}: {}",
        program.display(),
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// A process's largest resident set in bytes.
pub(crate) fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
