//! A reservation desk with HTTP and JSON in front: the web server is a client of the group, no
//! member, and as many of them may run as there is work for. All run in this process here.
//!
//! ```sh
//! curl -X POST -H 'idempotency-key: order-17' localhost:8080/seats/ann
//! ```
//! Sent twice, it reserves one seat, whichever of the desk's three nodes fails in between.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vsync::{Client, ClientCallError, ClientError, Node, replicated};

const SECRET: &str = "a secret of the example";
const SEATS: u32 = 100;

/// There is no seat left.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SoldOut;

/// Who has which seat.
#[replicated]
#[derive(Default)]
struct Desk {
    seats: BTreeMap<u32, String>,
}

#[replicated]
impl Desk {
    /// The next seat that is free.
    #[update(order = "total")]
    fn reserve(&mut self, who: String) -> Result<u32, SoldOut> {
        let seat = self.seats.len() as u32 + 1;
        if seat > SEATS {
            return Err(SoldOut);
        }
        self.seats.insert(seat, who);
        Ok(seat)
    }

    /// All that are taken.
    #[query]
    fn taken(&self) -> BTreeMap<u32, String> {
        self.seats.clone()
    }
}

type Answer = (StatusCode, Json<Value>);

async fn reserve(
    State(desk): State<DeskClient>,
    Path(who): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let call = desk.reserve(who);
    let call = match headers.get("idempotency-key") {
        Some(key) => call.key(key),
        None => call,
    };
    match call.await {
        Ok(seat) => (StatusCode::OK, Json(json!({ "seat": seat }))),
        Err(ClientCallError::Refused(SoldOut)) => problem(StatusCode::CONFLICT, &"sold out"),
        Err(ClientCallError::NotApplied(error @ ClientError::OtherContent)) => {
            problem(StatusCode::UNPROCESSABLE_ENTITY, &error)
        }
        Err(ClientCallError::NotApplied(error @ ClientError::KeyTooLong { .. })) => {
            problem(StatusCode::BAD_REQUEST, &error)
        }
        Err(ClientCallError::NotApplied(why)) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
        // Whoever has sent a key may ask again.
        Err(ClientCallError::Unknown(why)) => problem(StatusCode::GATEWAY_TIMEOUT, &why),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:?}")),
    }
}

async fn taken(State(desk): State<DeskClient>) -> Answer {
    match desk.taken().await {
        Ok(seats) => (StatusCode::OK, Json(json!(seats))),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

fn problem(status: StatusCode, why: &dyn ToString) -> Answer {
    (status, Json(json!({ "error": why.to_string() })))
}

/// A node that is a member of the desk's group.
async fn member(name: &str, seeds: &[String]) -> Result<Node, Box<dyn std::error::Error>> {
    let node = Node::builder().name(name).listen("127.0.0.1:0").secret(SECRET);
    let node = match seeds {
        [] => node.bootstrap(),
        seeds => node.seeds(seeds.iter().cloned()),
    };
    let node = node.start().await?;
    let _: DeskHandle = node.group("desk").join_or_create(Desk::default()).await?;
    Ok(node)
}

/// The web server's end: it knows addresses and the secret.
async fn service(seeds: Vec<String>) -> Result<Router, ClientError> {
    let desk: DeskClient = Client::connect(seeds, SECRET).await?.group("desk");
    let seats = Router::new().route("/seats/{who}", post(reserve)).route("/seats", get(taken));
    Ok(seats.with_state(desk))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut nodes, mut seeds) = (Vec::new(), Vec::new());
    for name in ["one", "two", "three"] {
        let node = member(name, &seeds).await?;
        seeds.push(node.address().to_owned());
        nodes.push(node);
    }
    let web = "127.0.0.1:8080";
    let listener = TcpListener::bind(web).await.map_err(|error| format!("{web}: {error}"))?;
    println!("curl -X POST -H 'idempotency-key: order-17' localhost:8080/seats/ann");
    axum::serve(listener, service(seeds).await?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(at: std::net::SocketAddr, line: &str, key: &str) -> String {
        let mut stream = TcpStream::connect(at).await.expect("connected");
        let key = format!("idempotency-key: {key}");
        let text = format!("{line} HTTP/1.1\r\nhost: desk\r\n{key}\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_retry_after_a_crash_reserves_one_seat() {
        let one = member("one", &[]).await.expect("started");
        let mut seeds = vec![one.address().to_owned()];
        let two = member("two", &seeds).await.expect("started");
        let three = member("three", &seeds).await.expect("started");
        seeds.extend([two.address().to_owned(), three.address().to_owned()]);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let service = service(seeds).await.expect("connected");
        tokio::spawn(async move { axum::serve(listener, service).await });

        let first = ask(at, "POST /seats/ann", "17").await;
        assert!(first.starts_with("HTTP/1.1 200") && first.contains("{\"seat\":1}"), "{first}");
        drop(one);
        let again = ask(at, "POST /seats/ann", "17").await;
        assert!(again.contains("{\"seat\":1}"), "{again}");
        let other = ask(at, "POST /seats/bob", "17").await;
        assert!(other.starts_with("HTTP/1.1 422"), "{other}");
        assert!(ask(at, "POST /seats/bob", "18").await.contains("{\"seat\":2}"));
        let taken = ask(at, "GET /seats", "").await;
        assert!(taken.contains("{\"1\":\"ann\",\"2\":\"bob\"}"), "{taken}");
    }
}
