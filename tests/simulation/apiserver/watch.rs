//! Watches: everything since a version, then whatever comes, until their time is over.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    ApiServer,
    answer::{Refusal, Stream},
    news::News,
    request::{Asked, Target},
    state::{Change, State, selects},
};

/// Without a word from the client, a watch ends after this.
const LONGEST: Duration = Duration::from_mins(30);
/// How often a quiet watch says how far it is.
const BOOKMARK: Duration = Duration::from_mins(1);

struct Watch {
    server: ApiServer,
    target: Target,
    selector: Option<String>,
    /// Everything up to here was told.
    version: u64,
    news: News,
    ends: Instant,
    bookmark: Instant,
    bookmarks: bool,
    waiting: VecDeque<Value>,
    over: bool,
}

pub fn open(server: &ApiServer, asked: Asked) -> Response<Stream> {
    let Asked { target, query, .. } = asked;
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let now = Instant::now();
    let watch = Watch {
        version: number("resourceVersion").unwrap_or(0),
        news: server.listen(&[&target.plural]),
        server: server.clone(),
        target,
        selector: query.get("labelSelector").cloned(),
        ends: now + number("timeoutSeconds").map_or(LONGEST, Duration::from_secs),
        bookmark: now + BOOKMARK,
        bookmarks: query.get("allowWatchBookmarks").is_some_and(|allowed| allowed == "true"),
        waiting: VecDeque::new(),
        over: false,
    };
    let lines = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), watch))
    });
    Response::new(StreamBody::new(lines).boxed_unsync())
}

impl Watch {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            self.read();
            if !self.waiting.is_empty() {
                continue;
            }
            tokio::select! {
                biased;
                () = self.news.come() => {}
                () = sleep_until(self.ends) => {
                    self.over = true;
                    self.say_where();
                }
                () = sleep_until(self.bookmark) => {
                    self.bookmark += BOOKMARK;
                    self.say_where();
                }
            }
        }
    }

    /// Takes in what happened since.
    fn read(&mut self) {
        let server = self.server.clone();
        let state = server.state();
        if self.version < state.compacted() {
            self.over = true;
            let expired =
                Refusal::expired(format!("too old resource version: {} ({})", self.version, state.compacted()));
            return self.waiting.push_back(json!({ "type": "ERROR", "object": expired.status() }));
        }
        self.waiting.extend(events(&state, &self.target, self.selector.as_ref(), self.version));
        self.version = state.version();
    }

    fn say_where(&mut self) {
        if self.bookmarks {
            let metadata = json!({ "resourceVersion": self.version.to_string() });
            let object = json!({ "kind": "Bookmark", "apiVersion": "v1", "metadata": metadata });
            self.waiting.push_back(json!({ "type": "BOOKMARK", "object": object }));
        }
    }
}

fn events<'a>(
    state: &'a State,
    target: &'a Target,
    selector: Option<&'a String>,
    since: u64,
) -> impl Iterator<Item = Value> + 'a {
    state.since(since).iter().filter(|change| change.key.is_in(target)).filter_map(
        move |Change { before, after, version, .. }| {
            let shown = |object: &Option<Arc<Value>>| object.clone().filter(|object| selects(selector, object));
            let (kind, object) = match (shown(before), shown(after)) {
                (None, Some(after)) => ("ADDED", after),
                (Some(_), Some(after)) => ("MODIFIED", after),
                // Also one that is still there, and no longer what was asked for.
                (Some(before), None) => ("DELETED", before),
                (None, None) => return None,
            };
            let mut event = json!({ "type": kind, "object": object });
            event["object"]["metadata"]["resourceVersion"] = json!(version.to_string());
            Some(event)
        },
    )
}
