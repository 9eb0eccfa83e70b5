//! As much of gRPC as etcd's unary calls need, over HTTP/2: less work per call than any general
//! client does, on two cores that the daemons share.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::net::TcpStream;

/// Bytes under way to us before the daemon has to wait.
const WINDOW: u32 = 1 << 20;

/// A connection, with any number of calls at a time.
#[derive(Clone)]
pub(crate) struct Channel {
    requests: SendRequest<Bytes>,
    address: String,
}

impl Channel {
    /// To a daemon. Without encryption.
    pub(crate) async fn open(address: &str) -> Result<Channel, String> {
        let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(socket)
            .await
            .map_err(|error| error.to_string())?;
        // Its end shows in the calls.
        tokio::spawn(connection);
        Ok(Channel { requests, address: address.to_owned() })
    }

    /// Calls `method`, such as `/package.Service/Method`; the answer's message.
    pub(crate) async fn call(&mut self, method: &str, message: &Bytes) -> Result<Bytes, String> {
        let failed = |error: h2::Error| format!("{method}: {error}");
        let request = http::Request::post(format!("http://{}{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| error.to_string())?;
        let requests = self.requests.clone().ready().await.map_err(failed)?;
        self.requests = requests;
        let (answer, mut body) = self.requests.send_request(request, false).map_err(failed)?;
        body.send_data(message.clone(), true).map_err(failed)?;
        let answer = answer.await.map_err(failed)?;
        // A call that fails at once has its status in the header, and no trailer.
        let early = answer.headers().get("grpc-status").cloned();
        let mut body = answer.into_body();
        let mut text = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(failed)?;
            body.flow_control().release_capacity(data.len()).map_err(failed)?;
            text.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
        match early.as_ref().or(trailers.get("grpc-status")) {
            Some(status) if status == "0" => {}
            status => {
                let why = trailers.get("grpc-message");
                return Err(format!("{method}: status {status:?}, {why:?}"));
            }
        }
        let text = text.freeze();
        // A flag and the length go before the message.
        if text.len() < 5 { Err(format!("{method}: no answer")) } else { Ok(text.slice(5..)) }
    }
}

/// A message for [`Channel::call`], from its fields of bytes in order.
pub(crate) fn message(fields: &[(u8, &[u8])]) -> Bytes {
    let mut body = BytesMut::new();
    for &(number, value) in fields {
        // 2: what follows has a length.
        body.put_u8(number << 3 | 2);
        let mut length = value.len();
        while length >= 0x80 {
            body.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        body.put_u8(length as u8);
        body.put_slice(value);
    }
    let mut framed = BytesMut::with_capacity(5 + body.len());
    framed.put_u8(0);
    framed.put_u32(body.len() as u32);
    framed.put_slice(&body);
    framed.freeze()
}

/// A field's value in a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field of this number.
pub(crate) fn field(mut message: &[u8], wanted: u64) -> Option<Value<'_>> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Bytes(bytes)
            }
            // etcd's answers have no other kinds.
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(value);
        }
    }
    None
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
