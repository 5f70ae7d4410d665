//! restic's standard input, made so that only one deliberate act can end it well.
//!
//! restic saves a snapshot of whatever its input held once the input ends. With a pipe, the input ends whenever the
//! writer goes away, so a mover that is killed half way would have restic save half a dump. Here the input is one end
//! of a socket pair, and a byte that nobody reads lies in the mover's end. Linux tells the peer of a socket that is
//! closed with unread bytes "connection reset" instead of "end of file" (`unix_release_sock` in `net/unix/af_unix.c`),
//! and restic gives up on a read error without saving. [`Feed::seal`] alone takes the byte out first. So a panic, a
//! SIGKILL, a forgotten error path: all of them end in nothing saved, and no code has to run for it.

use std::{
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    process::Stdio,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// The mover's end. Dropped, it is a read error for restic; sealed, the end of the file.
#[derive(Debug)]
pub(super) struct Feed {
    socket: UnixStream,
}

impl Feed {
    /// A feed, and what to start restic with as its standard input.
    pub(super) fn new() -> io::Result<(Self, Stdio)> {
        let (ours, mut theirs) = StdUnixStream::pair()?;
        theirs.write_all(b"!")?;
        ours.set_nonblocking(true)?;
        Ok((Self { socket: UnixStream::from_std(ours)? }, Stdio::from(OwnedFd::from(theirs))))
    }

    /// Hands bytes over, as fast as restic takes them.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Ends the input well: restic will save what it got. To be called only when the dump is known to be whole.
    pub(super) async fn seal(mut self) -> io::Result<()> {
        self.socket.read_exact(&mut [0]).await?;
        self.socket.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Output, Stdio};

    use tokio::process::{Child, Command};

    use super::*;

    fn cat() -> (Feed, Child) {
        let (feed, stdin) = Feed::new().unwrap();
        let child = Command::new("cat").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (feed, child)
    }

    async fn ended(child: Child) -> Output {
        child.wait_with_output().await.unwrap()
    }

    #[tokio::test]
    async fn a_sealed_feed_is_read_to_its_end() {
        let (mut feed, child) = cat();
        feed.write(b"whole").await.unwrap();
        feed.seal().await.unwrap();
        let output = ended(child).await;
        assert!(output.status.success());
        assert_eq!(output.stdout, b"whole");
    }

    #[tokio::test]
    async fn a_feed_that_is_dropped_is_an_error_for_its_reader() {
        let (mut feed, child) = cat();
        feed.write(b"half").await.unwrap();
        drop(feed);
        let output = ended(child).await;
        assert!(!output.status.success(), "the reader took half for the whole");
        assert!(String::from_utf8_lossy(&output.stderr).contains("reset"), "{output:?}");
    }
}
