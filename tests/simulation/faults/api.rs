//! The API server as one process reaches it.

use std::io;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use kube::{Client, client::Body};
use serde::Deserialize;

use super::{
    Surface,
    passage::{Heard, NOTICED_AFTER, Passage, Silence},
};
use crate::apiserver::{ApiServer, Stream, Verb};

/// A client of `server` that belongs to the process of `passage`.
pub fn client(server: &ApiServer, passage: &Passage) -> Client {
    let (server, passage) = (server.clone(), passage.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (server, passage) = (server.clone(), passage.clone());
        async move { ask(server, passage, request).await }
    });
    Client::new(service, "default")
}

async fn ask(server: ApiServer, passage: Passage, request: Request<Body>) -> Result<Response<Stream>, io::Error> {
    let (verb, what) = ApiServer::describe(&request);
    let surface = match verb {
        Verb::Get | Verb::List | Verb::Watch => Surface::Read,
        _ => Surface::Write,
    };
    let asked = server.clone();
    let deed = async move {
        let before = asked.version();
        let response = asked.answer(request).await;
        (response, asked.version() != before)
    };
    match passage.pass(surface, what.clone(), deed, |(_, changed)| *changed).await {
        Ok((response, _)) if verb == Verb::Watch => Ok(listen(server, passage, what, response)),
        Ok((response, _)) => Ok(response),
        Err(Silence::Nothing | Silence::Perhaps) => {
            tokio::time::sleep(NOTICED_AFTER).await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

/// Whom a watch tells of.
#[derive(Deserialize)]
struct News {
    #[serde(rename = "type")]
    kind: String,
    object: About,
}

#[derive(Deserialize)]
struct About {
    metadata: Named,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

/// Passes on what a watch tells, as far as the plan lets it.
fn listen(server: ApiServer, passage: Passage, what: String, response: Response<Stream>) -> Response<Stream> {
    let news = Box::pin(BodyStream::new(response.into_body()));
    let told = stream::unfold(Some(news), move |news| {
        let (server, passage, what) = (server.clone(), passage.clone(), what.clone());
        async move {
            let mut news = news?;
            let Ok(frame) = news.next().await?;
            let line = frame.data_ref().cloned().unwrap_or_else(Bytes::new);
            let Some(name) = name_of(&line) else { return Some((Ok(frame), Some(news))) };
            match passage.hear(format!("{what}: {name}")).await {
                Heard::Told => Some((Ok(frame), Some(news))),
                Heard::Cut => None,
                Heard::Expired => {
                    server.compact();
                    None
                }
            }
        }
    });
    Response::new(StreamBody::new(told).boxed_unsync())
}

/// What an event of a watch is about; nothing for bookmarks and errors.
fn name_of(line: &[u8]) -> Option<String> {
    let News { kind, object } = serde_json::from_slice(line).ok()?;
    Some(format!("{kind} {}", object.metadata.name?))
}
