//! Protocol stories: text files with commands and what they print, driving real engines by hand.
//!
//! A block is some commands, a line `----`, and what came of them, up to an empty line. Lines that
//! start with `#` are the story's own words; `# bug: NAME` names a planted bug that this story must
//! catch. `UPDATE_STORIES=1 cargo test -p vsync-tests --test stories` writes the files anew; the
//! difference is then read like any other change.
//!
//! Commands (`A->B` is a link, or `*->B`, `A->*`):
//!
//! | command | what |
//! |---|---|
//! | `nodes N [causal] [window=B] [chunk=B] [groups=N] [changes=N]` | N processes, all connected |
//! | `in G` | what follows is about group G; 0 to begin with |
//! | `group A… [joining B…]` | a group of active members, and of joining ones without their state |
//! | `join A at B…` | A asks to come in |
//! | `submit A CLASS [stable] [xN]` | updates |
//! | `close A…` | the network takes more from A |
//! | `flush A`, `leave A` | |
//! | `flow A->B… [control\|updates\|bulk] [xN]` | what is under way arrives, or the first N of it |
//! | `lose A->B… [control\|updates\|bulk] [xN]` | what is under way is lost |
//! | `stall A->B… [control\|updates\|bulk]` | nothing moves there but by `flow`, until `heal` |
//! | `show A->B… [control\|updates\|bulk]` | says how much is under way |
//! | `hold` | from now on checkpoints are handed in only by `checkpoint` |
//! | `checkpoint A` | A hands in the checkpoints that it was asked for |
//! | `run MS [among A…] [until A installs]` | time passes, all flows between these |
//! | `cut A-B…`, `mend A-B…` | a connection breaks, or comes back |
//! | `crash A…` | they are gone, and the others know |
//! | `pause A…`, `thaw A…` | they stand still, and go on with what has arrived meanwhile |
//! | `abandon A…` | they forget their memberships or their joins, without a word |
//! | `heal` | all flows until nothing is left to do; everything is judged |
//! | `heal dissolved` | the same, but nobody may be left in the group |
//! | `heal stuck` | the same, but those who are left must not go on, however long they wait |

mod script;
mod stage;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use vsync_core::bugs::Bugs;

use script::Block;
use stage::Stage;

/// A story, as written.
#[derive(Clone, Debug)]
pub struct Story {
    /// Name of its file.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Where it is.
    pub path: PathBuf,
}

/// A story, as it went.
#[derive(Clone, Debug)]
pub struct Told {
    /// The text with what was printed this time.
    pub text: String,
    /// What is wrong with the run.
    pub wrong: Vec<String>,
}

/// All stories, by name.
pub fn all() -> Vec<Story> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories");
    let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            let name = path.file_stem()?.to_string_lossy().into_owned();
            Some(Story { name, text: fs::read_to_string(&path).ok()?, path })
        })
        .collect()
}

impl Story {
    /// The planted bugs that it must catch.
    pub fn bugs(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("# bug: ")).map(str::trim).collect()
    }

    /// What shows that the story goes otherwise with a bug: something is wrong, or told otherwise.
    pub fn dies(&self, bugs: Bugs) -> Option<String> {
        let told = self.tell(bugs);
        let mut lines = told.text.lines().zip(self.text.lines());
        let other = || lines.find(|(now, before)| now != before).map(|(now, _)| now.to_owned());
        let short = || (told.text != self.text).then(|| "it is longer or shorter".into());
        told.wrong.first().cloned().or_else(other).or_else(short)
    }

    /// Plays the story.
    pub fn tell(&self, bugs: Bugs) -> Told {
        let mut stage = Stage::new(bugs);
        let mut text = String::new();
        let mut panicked = None;
        for block in script::parse(&self.text) {
            match block {
                Block::Words(words) => text += &words,
                Block::Commands(commands) => {
                    let play = || commands.iter().for_each(|line| stage.play(line));
                    if panicked.is_none()
                        && let Err(what) = vsync_sim::catch(play)
                    {
                        panicked = Some(what);
                    }
                    text += &commands.iter().map(|line| format!("{line}\n")).collect::<String>();
                    text += "----\n";
                    text += &stage.printed();
                    if let Some(what) = &panicked {
                        text += &format!("panic: {what}\n");
                    }
                }
            }
        }
        let mut wrong = stage.wrong();
        wrong.splice(0..0, panicked.map(|what| format!("panic: {what}")));
        Told { text, wrong }
    }
}
