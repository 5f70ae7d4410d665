//! A server in front of the receiver that passes messages on, or misbehaves as it is told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use trueup::domain::Uid;

/// A message as it came over the wire. Of several events, the first one's resource and sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub uid: Uid,
    pub sequence: i64,
    pub events: usize,
}

/// What to do with one.
#[derive(Clone, Debug)]
pub enum Action {
    /// Ask the receiver, and pass its answer on.
    Forward,
    /// Ask the receiver, then close the connection without a word.
    ForwardAndHangUp,
    /// Ask the receiver, kill it and start it again, and close the connection without a word.
    ForwardAndRestart,
    /// Answer this.
    Answer(u16, &'static str, String),
    /// Answer with a body that never ends.
    AnswerWithoutEnd(u16),
    /// Answer with so many bytes.
    AnswerAtLength(u16, usize),
    /// Write these bytes, which are no answer.
    Babble(&'static [u8]),
    /// Begin to answer, one byte after each such pause, without ever coming to the end.
    Drip(Duration),
    /// Say nothing, and keep the connection.
    Hang,
    /// Close the connection at once.
    HangUp,
}

type Script = dyn Fn(&Message) -> Action + Send + Sync;
type Restart = dyn Fn() -> futures::future::BoxFuture<'static, ()> + Send + Sync;

/// The server. Ends when dropped.
pub struct Front {
    pub address: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

struct State {
    upstream: Option<SocketAddr>,
    client: reqwest::Client,
    restart: Mutex<Option<Arc<Restart>>>,
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Message>>,
}

impl Front {
    pub async fn start(upstream: Option<SocketAddr>) -> Self {
        crate::rig::provide_cryptography();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            upstream,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            restart: Mutex::default(),
            script: Mutex::new(Arc::new(|_: &Message| Action::Forward)),
            seen: Mutex::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&state), stop.clone()));
        Self { address, state, _stop: stop.drop_guard() }
    }

    /// From now on, does what `script` says.
    pub fn script(&self, script: impl Fn(&Message) -> Action + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    /// How to kill the receiver and start it again.
    pub fn restart_with(&self, restart: Arc<Restart>) {
        *self.state.restart.lock().unwrap() = Some(restart);
    }

    /// Every message so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Message> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Those about one resource.
    pub fn seen_of(&self, uid: &Uid) -> Vec<Message> {
        self.seen().into_iter().filter(|message| message.uid == *uid).collect()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
        let (state, stop) = (Arc::clone(&state), stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(serve(stream, &state)).await });
    }
}

// Ends when either side closes; what went wrong then is the other side's to notice.
async fn serve(mut stream: TcpStream, state: &State) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let message = read(&mut stream, &mut buffer).await?;
        state.seen.lock().unwrap().push(message.clone());
        let script = Arc::clone(&state.script.lock().unwrap());
        match script(&message) {
            Action::Forward => {
                let (status, body) = forward(state, &message).await?;
                write(&mut stream, status, "x-front: passed on", &body).await?;
            }
            Action::ForwardAndHangUp => {
                forward(state, &message).await?;
                return None;
            }
            Action::ForwardAndRestart => {
                forward(state, &message).await?;
                let restart = state.restart.lock().unwrap().clone().unwrap();
                restart().await;
                return None;
            }
            Action::Answer(status, header, body) => write(&mut stream, status, header, body.as_bytes()).await?,
            Action::AnswerWithoutEnd(status) => {
                stream.write_all(format!("HTTP/1.1 {status} Endless\r\n\r\n").as_bytes()).await.ok()?;
                loop {
                    stream.write_all(&[b'x'; 16 * 1024]).await.ok()?;
                }
            }
            Action::AnswerAtLength(status, length) => {
                write(&mut stream, status, "x-front: at length", &vec![b'x'; length]).await?;
            }
            Action::Babble(bytes) => {
                stream.write_all(bytes).await.ok()?;
                return None;
            }
            Action::Drip(pause) => {
                let answer = b"HTTP/1.1 200 Good\r\nx-drip: ".iter().chain(std::iter::repeat(&b'x'));
                for byte in answer {
                    stream.write_all(&[*byte]).await.ok()?;
                    tokio::time::sleep(pause).await;
                }
            }
            Action::Hang => std::future::pending().await,
            Action::HangUp => return None,
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Message> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().unwrap();
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let rest = buffer.split_off(head_end + length);
    let body = buffer[head_end..].to_vec();
    *buffer = rest;
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let (first, events) = said.as_array().map_or((&said, 1), |several| (&several[0], several.len()));
    // Whatever type it is of: transitions, voids and snapshots have these.
    let uid = Uid::new(first["data"]["uid"].as_str().unwrap());
    let sequence = first["data"]["sequence"].as_i64().unwrap();
    Some(Message { path, headers, body, uid, sequence, events })
}

async fn write(stream: &mut TcpStream, status: u16, header: &str, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {status} Said So\r\n{header}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()
}

async fn forward(state: &State, message: &Message) -> Option<(u16, Vec<u8>)> {
    let mut request = state.client.post(format!("http://{}/events", state.upstream.unwrap()));
    for (name, value) in &message.headers {
        if name.starts_with("webhook-") || name == "content-type" {
            request = request.header(name, value);
        }
    }
    let response = request.body(message.body.clone()).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.bytes().await.ok()?.to_vec()))
}
