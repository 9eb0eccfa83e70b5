//! The text of a story, in pieces.

/// A piece of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Comments and empty lines, as they are.
    Words(String),
    /// Commands; what they printed last time is left out.
    Commands(Vec<String>),
}

/// Takes a story apart.
pub(crate) fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            blocks.push(Block::Words(format!("{line}\n")));
            continue;
        }
        let mut commands = vec![line.to_owned()];
        for line in lines.by_ref() {
            if line == "----" {
                break;
            }
            commands.push(line.to_owned());
        }
        while lines.peek().is_some_and(|line| !line.is_empty()) {
            lines.next();
        }
        blocks.push(Block::Commands(commands));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_taken_apart() {
        let words = |text: &str| Block::Words(format!("{text}\n"));
        let commands =
            |list: &[&str]| Block::Commands(list.iter().map(|line| (*line).to_owned()).collect());
        assert_eq!(
            parse("# Once\n\nnodes 3\nclose 1\n----\nprinted\n\n# then\nheal\n----\n"),
            [
                words("# Once"),
                words(""),
                commands(&["nodes 3", "close 1"]),
                words(""),
                words("# then"),
                commands(&["heal"]),
            ]
        );
    }
}
