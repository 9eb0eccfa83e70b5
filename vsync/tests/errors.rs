//! What `fn main() -> Result<(), Box<dyn Error>>` prints, which is an error's `Debug`, is to read.

use std::error::Error;
use std::fmt;

use vsync::{
    ActivateError, ApplyError, CallError, Card, CheckpointError, ClientCallError, ClientError,
    GroupError, JoinError, Node, NotApplied, QueryError, StartError, TimerError, Unknown,
};

/// An error behind an error.
#[derive(Debug)]
struct Behind(Option<Box<Behind>>, &'static str);

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
}

impl Error for Behind {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|error| error as &(dyn Error + 'static))
    }
}

/// As `main` does.
fn printed(error: impl Into<Box<dyn Error>>) -> String {
    format!("Error: {:?}", error.into())
}

#[test]
fn every_error_prints_what_it_says() {
    let timeout = || GroupError::NotApplied(NotApplied::Timeout);
    let name = || "bank".to_owned();
    let errors: Vec<Box<dyn Error>> = vec![
        NotApplied::TooLarge { size: 9, limit: 8 }.into(),
        Unknown::NoAnswer.into(),
        Unknown::Interrupted.into(),
        timeout().into(),
        CallError::<String>::NotApplied(NotApplied::Excluded).into(),
        CallError::<String>::Panicked("why".to_owned()).into(),
        ClientCallError::<String>::Unknown(ClientError::Closed).into(),
        StartError::NoSeeds.into(),
        StartError::Directory(Box::new(JoinError::Directory(timeout()))).into(),
        JoinError::Timeout { name: name(), waiting: "for nobody".to_owned() }.into(),
        ClientError::Unreachable { seeds: vec![(name(), "silent".to_owned())] }.into(),
        ActivateError::Lacking(vec!["node0".to_owned()]).into(),
        "nothing".parse::<Card>().expect_err("no card").into(),
        CheckpointError::Checksum.into(),
        TimerError::NotTotal.into(),
        ApplyError::UnknownMethod { id: 7 }.into(),
        QueryError::Decode(ApplyError::NoMethod).into(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.contains(' '), "{text}");
        assert_eq!(printed(error), format!("Error: {text}"));
    }
}

#[test]
fn a_refusal_is_shown_as_the_application_has_it() {
    let refused = CallError::Refused("not enough money".to_owned());
    assert_eq!(printed(refused), "Error: refused: \"not enough money\"");
    // Also where the application's error has no text.
    #[derive(Debug)]
    struct SoldOut;
    assert_eq!(format!("{:?}", CallError::Refused(SoldOut)), "refused: SoldOut");
    assert_eq!(format!("{:?}", ClientCallError::Refused(SoldOut)), "refused: SoldOut");
}

#[test]
fn what_is_behind_an_error_is_told_once() {
    let cable = Behind(None, "no cable");
    let port = Behind(Some(Box::new(cable)), "the port is closed");
    assert_eq!(
        printed(StartError::Network(Box::new(port))),
        "Error: network: the port is closed: no cable"
    );
    let same = Behind(None, "no cable");
    let said = Behind(Some(Box::new(same)), "there is no cable");
    assert_eq!(printed(StartError::Network(Box::new(said))), "Error: network: there is no cable");
}

#[tokio::test]
async fn a_node_that_does_not_start_says_why() {
    let start = Node::builder().bootstrap().start().await;
    let text = printed(start.expect_err("no secret"));
    let ways = "give `secret_file`, `secret_env` or `secret`";
    assert_eq!(text, format!("Error: no cluster secret: {ways}"));
    let start = Node::builder().secret("at least 16 bytes").start().await;
    let text = printed(start.expect_err("neither seeds nor bootstrap"));
    assert!(text.starts_with("Error: no seeds, and this node does not bootstrap"), "{text}");
}
