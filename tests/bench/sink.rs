//! The sink: an HTTP/1.1 server in a process of its own that counts distinct ids, checks the signature of every hundredth request, and knows how
//! long each event was on its way since its intended send time. `/hang` never answers. Control: `/stats`, `/ids`, `/reset`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tenterhook_tests::fixtures::hmac_sha256_hex;
use tokio::net::TcpListener;

use crate::helper::{Latency, SECRET, id_number};
use crate::{now_ns, say};

/// One request in so many has its signature checked.
const CHECK_EVERY: u64 = 100;

#[derive(Debug)]
struct State {
    requests: u64,
    ids: HashSet<u128>,
    bad_signatures: u64,
    last_ns: u64,
    latency: Histogram<u64>,
}

impl State {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { requests: 0, ids: HashSet::new(), bad_signatures: 0, last_ns: 0, latency: crate::helper::histogram()? })
    }
}

pub(crate) async fn run() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let state = Arc::new(Mutex::new(State::new()?));
    say(&json!({ "address": listener.local_addr()?.to_string() }).to_string());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, state.clone()));
            // A client that goes away is no event for a sink.
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> anyhow::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let locked = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let reply = match head.uri.path() {
        "/reset" => {
            *locked() = State::new()?;
            Bytes::new()
        }
        "/stats" => {
            let state = locked();
            let stats = json!({
                "requests": state.requests, "unique": state.ids.len(), "bad_signatures": state.bad_signatures, "last_ns": state.last_ns,
                "latency": Latency::of(&state.latency)
            });
            stats.to_string().into()
        }
        "/ids" => locked().ids.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<u8>>().into(),
        "/hang" => std::future::pending().await,
        _ => {
            record(&head.headers, &body, &mut locked());
            Bytes::new()
        }
    };
    Ok(Response::new(Full::new(reply)))
}

fn record(headers: &http::HeaderMap, body: &[u8], state: &mut State) {
    // A ping of the host is no event of the benchmark.
    let Some(intended) = intended_ns(body) else { return };
    let now = now_ns();
    state.requests += 1;
    state.last_ns = now;
    state.latency.saturating_record(now.saturating_sub(intended) / 1000);
    if let Some(id) = headers.get("webhook-id").and_then(|id| id_number(id.as_bytes())) {
        state.ids.insert(id);
    }
    if state.requests.is_multiple_of(CHECK_EVERY)
        && let Some(said) = headers.get("x-kong-signature")
    {
        let right = format!("sha256={}", hmac_sha256_hex(SECRET.as_bytes(), body));
        state.bad_signatures += u64::from(said.as_bytes() != right.as_bytes());
    }
}

/// The 19 digits behind `"t":`, wherever the handler's serialiser put the member.
fn intended_ns(body: &[u8]) -> Option<u64> {
    let at = body.windows(4).position(|window| window == b"\"t\":")? + 4;
    std::str::from_utf8(body.get(at..at + 19)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_send_time_is_found_in_the_body() {
        assert_eq!(intended_ns(&crate::helper::event(1_767_323_045_678_000_000)), Some(1_767_323_045_678_000_000));
        assert_eq!(intended_ns(b"{\"event\":\"ping\"}"), None);
    }
}
