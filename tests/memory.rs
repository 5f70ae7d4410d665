//! How much memory receivers can cost, measured: every allocation of this process is counted.
//!
//! A process of its own, and one test: whatever else ran would be counted too.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs, reason = "this is a test")]

#[allow(dead_code, reason = "the other tests of deliveries use the rest of it")]
#[path = "outbox/rig.rs"]
mod rig;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use trueup::{
    domain::DestinationId,
    outbox::{Backoff, Destination, Limits},
};

use crate::rig::{Ledger, names, until, webhook_with};

#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// What a sink may hold, by default and as the documentation says.
const BOUND: usize = 16 * MIB;
/// What connections, tasks and the server of this test may cost beside the events: 64 of each.
const BESIDE: usize = 12 * MIB;
/// An event far larger than any that the catalogue of messages makes.
const EVENT: usize = 32 * KIB;
const STREAMS: usize = 80;
const ROWS: usize = 16;

/// How a receiver misbehaves.
#[derive(Clone, Copy, Debug)]
enum Way {
    Hang,
    /// It says nothing, and events are sent to it by the hundred.
    HangAtBatches,
    Fail,
    Redirect,
    Drip,
    HangUp,
    Babble,
    TenMegabytes(u16),
    WithoutEnd(u16),
}

/// A server that keeps nothing of what it is sent. Answers how many messages came.
async fn serve(way: Way) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, way, Arc::clone(&count)));
        }
    });
    (address, seen)
}

// Ends when the other side has had enough, which is its right.
async fn answer(mut stream: TcpStream, way: Way, count: Arc<AtomicUsize>) -> Option<()> {
    let mut chunk = vec![0; 16 * KIB];
    if stream.read(&mut chunk).await.ok()? == 0 {
        return None;
    }
    count.fetch_add(1, Ordering::Relaxed);
    chunk.fill(b'x');
    match way {
        Way::Hang | Way::HangAtBatches => while stream.read(&mut chunk).await.ok()? > 0 {},
        Way::HangUp => {}
        Way::Fail => stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await.ok()?,
        Way::Redirect => {
            let elsewhere = b"HTTP/1.1 308 There\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(elsewhere).await.ok()?;
        }
        Way::Babble => stream.write_all(b"220 mail.example ESMTP\r\n").await.ok()?,
        Way::Drip => {
            stream.write_all(b"HTTP/1.1 200 Good\r\nx-drip: ").await.ok()?;
            loop {
                stream.write_all(b"x").await.ok()?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Way::TenMegabytes(status) => {
            let head = format!("HTTP/1.1 {status} Much\r\ncontent-length: {}\r\n\r\n", 10 * MIB);
            stream.write_all(head.as_bytes()).await.ok()?;
            for _ in 0..10 * MIB / chunk.len() {
                stream.write_all(&chunk).await.ok()?;
            }
        }
        Way::WithoutEnd(status) => {
            stream.write_all(format!("HTTP/1.1 {status} Endless\r\n\r\n").as_bytes()).await.ok()?;
            loop {
                stream.write_all(&chunk).await.ok()?;
            }
        }
    }
    Some(())
}

/// Serves a destination of its own that misbehaves in this way, until it was tried often. Answers the most that was
/// allocated meanwhile, beyond what stood before.
async fn peak(ledger: &Ledger, way: Way) -> usize {
    let (address, seen) = serve(way).await;
    let id = DestinationId::new(format!("{way:?}").to_lowercase().replace(['(', ')'], "-"));
    ledger.store.open_destination(&id, ledger.clock.now()).await.unwrap();
    let batches = matches!(way, Way::HangAtBatches);
    let sink = webhook_with(Duration::from_millis(300), batches, address, &ledger.clock);
    // The limits are those of production; only the pauses are short.
    let backoff = Backoff { base: Duration::from_millis(5), cap: Duration::from_millis(40) };
    let limits = Limits { backoff, ..Limits::default() };
    assert_eq!(limits.bytes, BOUND);
    let relay = ledger.relay(7);
    let before = COUNTED.current_usage();
    COUNTED.reset_peak_usage();
    relay.put(Destination { id: id.clone(), revision: "1".into(), sink, limits });
    let most = AtomicUsize::new(0);
    until("it was tried often", || async {
        let held = ledger.gauge("trueup_outbox_in_flight_bytes", &id);
        most.fetch_max(usize::try_from(held).unwrap(), Ordering::Relaxed);
        // Whatever is held back as a whole is tried with one message at a time.
        let enough = match way {
            Way::Hang | Way::HangAtBatches | Way::Drip => seen.load(Ordering::Relaxed) > 150,
            Way::Redirect => seen.load(Ordering::Relaxed) > 1,
            _ => seen.load(Ordering::Relaxed) > 300,
        };
        enough.then_some(())
    })
    .await;
    let peak = COUNTED.peak_usage().saturating_sub(before);
    let held = most.into_inner();
    assert!(held <= BOUND, "{way:?}: {held} bytes were in flight");
    if matches!(way, Way::Hang | Way::HangAtBatches) {
        assert!(held > BOUND / 2, "and the bound is what bounds them: {held} bytes were in flight");
    }
    relay.remove(&id).await;
    ledger.store.close_destination(&id).await.unwrap();
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_receiver_can_make_a_sink_hold_more_than_its_bound() {
    rig::provide_cryptography();
    let mut ledger = Ledger::new().await;
    ledger.message = "x".repeat(EVENT);
    ledger.append(&names("app", STREAMS), ROWS).await;
    // More than may be held, so that a bound is needed: 64 resources are served at a time.
    const { assert!(64 * ROWS * EVENT >= 2 * BOUND) };
    for way in [
        Way::Hang,
        Way::Fail,
        Way::Redirect,
        Way::Drip,
        Way::HangUp,
        Way::Babble,
        Way::TenMegabytes(500),
        Way::TenMegabytes(200),
        Way::WithoutEnd(503),
    ] {
        let peak = peak(&ledger, way).await;
        println!("{way:?}: {:.1} MiB", megabytes(peak));
        assert!(peak < BOUND + BESIDE, "{way:?} cost {:.1} MiB", megabytes(peak));
    }
    // Of many resources at once. An array is written out beside the events that it is made of, so that both are held.
    drop(ledger);
    let mut ledger = Ledger::new().await;
    ledger.message = "x".repeat(EVENT);
    ledger.append(&names("app", 600), 1).await;
    const { assert!(600 * EVENT > BOUND) };
    let peak = peak(&ledger, Way::HangAtBatches).await;
    println!("{:?}: {:.1} MiB", Way::HangAtBatches, megabytes(peak));
    assert!(peak < 2 * BOUND + BESIDE, "arrays cost {:.1} MiB", megabytes(peak));
}

#[allow(clippy::cast_precision_loss, reason = "it is for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / MIB as f64
}
