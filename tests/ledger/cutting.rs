//! A connection that is cut at a chosen message.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the server: what is not passed on is never done.
    Asked,
    /// To the client: what is not passed on was done, and nobody is told.
    Answered,
}

/// Where to cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// What the sessions are called that are cut; others are left alone.
    pub sessions: &'static str,
    pub way: Way,
    /// So many messages of one connection still pass.
    pub after: usize,
    /// So many connections are cut.
    pub times: usize,
}

#[derive(Default)]
struct Plan {
    cut: Option<Cut>,
    // Counts the plans, so that a connection that is open already counts its messages anew.
    number: usize,
    done: usize,
}

/// Stands between a client, which speaks TCP, and a server, which listens on a socket in a directory. Ends when dropped.
pub struct Proxy {
    pub port: u16,
    plan: Arc<Mutex<Plan>>,
    _stop: DropGuard,
}

impl Proxy {
    /// In front of the server whose socket is in `directory`.
    pub async fn start(directory: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (plan, stop) = (Arc::<Mutex<Plan>>::default(), CancellationToken::new());
        let (shared, stopped) = (Arc::clone(&plan), stop.clone());
        tokio::spawn(async move {
            while let Some(Ok((client, _))) = stopped.run_until_cancelled(listener.accept()).await {
                let server = UnixStream::connect(directory.join(".s.PGSQL.5432")).await.unwrap();
                let (plan, stopped) = (Arc::clone(&shared), stopped.clone());
                tokio::spawn(async move { stopped.run_until_cancelled(pass_on(client, server, &plan)).await });
            }
        });
        Self { port, plan, _stop: stop.drop_guard() }
    }

    /// Cuts connections from now on as `cut` says.
    pub fn cut(&self, cut: Cut) {
        let mut plan = self.plan.lock().unwrap();
        *plan = Plan { cut: Some(cut), number: plan.number + 1, done: 0 };
    }

    /// Cuts no more; answers how many were cut.
    pub fn mend(&self) -> usize {
        let mut plan = self.plan.lock().unwrap();
        plan.cut = None;
        plan.done
    }
}

/// Passes messages on, both ways, until one side closes or the connection is to be cut. Then both sides are closed.
async fn pass_on(client: TcpStream, server: UnixStream, plan: &Mutex<Plan>) {
    client.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // The first message has no type before its length. It names the session.
    let Some(first) = read(&mut from_client, false).await else { return };
    let is_called = |name: &str| first.windows(name.len()).any(|window| window == name.as_bytes());
    if to_server.write_all(&first).await.is_err() {
        return;
    }
    tokio::select! {
        () = way(Way::Asked, &mut from_client, &mut to_server, plan, &is_called) => {}
        () = way(Way::Answered, &mut from_server, &mut to_client, plan, &is_called) => {}
    }
}

async fn way(
    way: Way,
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    plan: &Mutex<Plan>,
    is_called: &impl Fn(&str) -> bool,
) {
    let (mut counting, mut passed) = (0, 0);
    while let Some(message) = read(from, true).await {
        if is_cut_here(way, &mut plan.lock().unwrap(), &mut counting, &mut passed, is_called) {
            return;
        }
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

fn is_cut_here(
    way: Way,
    plan: &mut Plan,
    counting: &mut usize,
    passed: &mut usize,
    is_called: impl Fn(&str) -> bool,
) -> bool {
    if plan.number != *counting {
        (*counting, *passed) = (plan.number, 0);
    }
    *passed += 1;
    let Some(cut) = plan.cut else { return false };
    let here = cut.way == way && *passed > cut.after && plan.done < cut.times && is_called(cut.sessions);
    plan.done += usize::from(here);
    here
}

/// One message of PostgreSQL's protocol: its type, its length, and so many bytes.
async fn read(from: &mut (impl tokio::io::AsyncRead + Unpin), typed: bool) -> Option<Vec<u8>> {
    let mut message = vec![0; if typed { 5 } else { 4 }];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(*message.last_chunk().unwrap());
    let head = message.len();
    message.resize(head + usize::try_from(length).unwrap() - 4, 0);
    from.read_exact(&mut message[head..]).await.ok()?;
    Some(message)
}
