//! `trueup receiver`: the reference billing receiver.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    domain::SystemClock,
    receiver::{Receiver, ReceiverStore, StoreFault},
    sinks::signature::{KeyFault, SigningKeys},
};

/// Take events, apply each exactly once, and answer what was applied.
///
/// POST / or /events takes events; GET /resources and /resources/UID/events tell what was applied. These answers are
/// for whoever can reach the port, so by default that is this machine alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen.
    #[arg(long, env = "TRUEUP_RECEIVER_LISTEN", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,

    /// What to remember in: sqlite:PATH. The file is made if it is not there.
    #[arg(long, env = "TRUEUP_RECEIVER_DATABASE", default_value = "sqlite:trueup-receiver.db", value_parser = database)]
    database: PathBuf,

    /// The file with the signing keys, whsec_..., one or more apart by white space. Or set TRUEUP_RECEIVER_SECRET.
    #[arg(long, env = "TRUEUP_RECEIVER_SECRET_FILE")]
    secret_file: Option<PathBuf>,

    /// The signing keys themselves. Only from the environment: a command line is there for everyone to see.
    #[arg(skip = std::env::var("TRUEUP_RECEIVER_SECRET").ok().map(SecretString::from))]
    secret: Option<SecretString>,
}

/// Why the receiver could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No keys were given.
    #[error("nothing says which signatures to believe; give --secret-file PATH or set TRUEUP_RECEIVER_SECRET")]
    NoSecret,
    /// The file with the keys cannot be read.
    #[error("reading the signing keys from {path}: {source}")]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] StoreFault),
    /// The port cannot be used.
    #[error("listening on {listen}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("serving on {listen}: {source}")]
    Serve {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// The exit code: 2 for what the caller must change, 3 for what could not be reached.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoSecret | Self::SecretFile { .. } | Self::Keys(_) => 2,
            Self::Database(_) | Self::Listen { .. } | Self::Serve { .. } => 3,
        }
    }
}

/// Runs the receiver until `shutdown`.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<(), Error> {
    let keys = match (&args.secret_file, args.secret) {
        (Some(path), _) => {
            let text =
                std::fs::read_to_string(path).map_err(|source| Error::SecretFile { path: path.clone(), source })?;
            SecretString::from(text)
        }
        (None, Some(secret)) => secret,
        (None, None) => return Err(Error::NoSecret),
    };
    let keys = SigningKeys::parse(&keys)?;
    let store = ReceiverStore::open(&args.database).await?;
    let listen = args.listen;
    let listener = TcpListener::bind(listen).await.map_err(|source| Error::Listen { listen, source })?;
    info!(%listen, database = %args.database.display(), "the receiver takes events");
    let receiver = Receiver::new(store, keys, Arc::new(SystemClock::default()));
    receiver.serve(listener, shutdown).await.map_err(|source| Error::Serve { listen, source })
}

fn database(address: &str) -> Result<PathBuf, String> {
    match address.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
        Some(path) if !path.is_empty() && !path.contains('?') && path != ":memory:" => Ok(PathBuf::from(path)),
        _ => Err("write sqlite:PATH; the receiver must remember, so it needs a file".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    // What comes of running with `keys` as the secret file's text, told to stop before it begins.
    async fn ran(keys: Option<&str>) -> Result<(), Error> {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("keys");
        if let Some(keys) = keys {
            std::fs::write(&secret, keys).unwrap();
        }
        let database = format!("sqlite:{}", directory.path().join("receiver.db").display());
        let secret = secret.display().to_string();
        let line =
            ["receiver", "--listen", "127.0.0.1:0", "--database", database.as_str(), "--secret-file", secret.as_str()];
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        run(Cli::parse_from(line).args, shutdown).await
    }

    #[tokio::test]
    async fn it_runs_until_it_is_told_to_stop() {
        ran(Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")).await.unwrap();
    }

    #[tokio::test]
    async fn what_the_caller_must_change_is_exit_code_2_and_shows_no_secret() {
        let missing = ran(None).await.unwrap_err();
        assert!(missing.to_string().starts_with("reading the signing keys from "), "{missing}");
        let wrong = ran(Some("whsec_hush")).await.unwrap_err();
        assert!(!wrong.to_string().contains("hush"), "{wrong}");
        assert_eq!([missing.exit_code(), wrong.exit_code(), Error::NoSecret.exit_code()], [2, 2, 2]);
    }

    #[test]
    fn a_database_is_a_file() {
        let cases = [("sqlite:r.db", "r.db"), ("sqlite://r.db", "r.db"), ("sqlite:///var/r.db", "/var/r.db")];
        for (address, expected) in cases {
            assert_eq!(database(address).unwrap(), PathBuf::from(expected), "{address}");
        }
        for address in ["r.db", "sqlite:", "sqlite::memory:", "postgres://h/d", "sqlite:r.db?mode=ro"] {
            assert!(database(address).unwrap_err().contains("sqlite:PATH"), "{address}");
        }
    }
}
