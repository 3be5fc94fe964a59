//! In which form a body's events are written, as the headers say it.

use http::HeaderMap;

use super::cloudevents::SPEC_VERSION;
use crate::http::body;
use crate::http::problem::{DATA_TYPES, EVENT_TYPES, Problem};

/// How a body's events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    MessagePack,
    NdJson,
    /// Binary mode.
    CloudEvent,
    StructuredCloudEvent,
    /// Batched mode.
    CloudEvents,
}

impl Format {
    /// `data_alone`: the path names source and event, and the body is the data.
    pub(super) fn of(headers: &HeaderMap, data_alone: bool) -> Result<Self, Problem> {
        const MESSAGE_PACK: [&str; 3] = ["application/msgpack", "application/vnd.msgpack", "application/x-msgpack"];
        let said = body::media_type(headers).map(str::to_ascii_lowercase);
        let accept = if data_alone { DATA_TYPES } else { EVENT_TYPES };
        let binary = headers.contains_key(SPEC_VERSION);
        let format = match said.as_deref() {
            // The prefix of the batch comes first: the next one is a prefix of it.
            Some(said) if said.starts_with("application/cloudevents-batch") => {
                (said == "application/cloudevents-batch+json").then_some(Self::CloudEvents)
            }
            Some(said) if said.starts_with("application/cloudevents") => {
                (said == "application/cloudevents+json").then_some(Self::StructuredCloudEvent)
            }
            _ if binary => Some(Self::CloudEvent),
            Some("application/json") => Some(Self::Json),
            Some("application/x-ndjson") => Some(Self::NdJson),
            Some(said) if MESSAGE_PACK.contains(&said) => Some(Self::MessagePack),
            Some(_) | None => None,
        };
        match format {
            Some(Self::CloudEvent) if data_alone => {
                let what = "ce-specversion: a CloudEvent goes to POST /events; the path says source and event already";
                Err(Problem::Malformed(what.into()))
            }
            Some(format) if !data_alone || matches!(format, Self::Json | Self::MessagePack) => Ok(format),
            Some(_) | None => {
                let said = body::media_type(headers).filter(|said| !said.is_empty()).map(str::to_owned);
                Err(Problem::MediaType { said, accept, example: "Content-Type: application/json" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(said: &str, binary: bool, data_alone: bool) -> Option<Format> {
        let mut headers: HeaderMap = [(http::header::CONTENT_TYPE, said.parse().unwrap())].into_iter().collect();
        if binary {
            headers.insert(SPEC_VERSION, "1.0".parse().unwrap());
        }
        Format::of(&headers, data_alone).ok()
    }

    #[test]
    fn formats_are_told_by_the_media_type() {
        let native = |said| format(said, false, false);
        assert_eq!(native("application/json; charset=utf-8"), Some(Format::Json));
        for said in ["application/msgpack", "application/vnd.msgpack", "Application/X-MsgPack"] {
            assert_eq!(native(said), Some(Format::MessagePack), "{said}");
        }
        assert_eq!(native("application/x-ndjson"), Some(Format::NdJson));
        for said in ["text/plain", "", "application/cloudevents", "application/cloudevents-batch", "application/cloudevents+xml"] {
            assert_eq!(native(said), None, "{said}");
        }
        assert!(matches!(Format::of(&HeaderMap::new(), false), Err(Problem::MediaType { said: None, .. })));
    }

    #[test]
    fn the_mode_of_a_cloud_event_is_told_by_prefixes_in_order() {
        for binary in [false, true] {
            let batch = format("Application/CloudEvents-Batch+JSON; charset=utf-8", binary, false);
            assert_eq!(batch, Some(Format::CloudEvents));
            assert_eq!(format("application/cloudevents+json", binary, false), Some(Format::StructuredCloudEvent));
        }
        for said in ["application/json", "text/plain", "", "application/x-ndjson", "application/msgpack"] {
            assert_eq!(format(said, true, false), Some(Format::CloudEvent), "{said}");
        }
    }

    #[test]
    fn where_the_path_says_all_only_data_is_taken() {
        assert_eq!(format("application/json", false, true), Some(Format::Json));
        assert_eq!(format("application/msgpack", false, true), Some(Format::MessagePack));
        for (said, binary) in [("application/x-ndjson", false), ("application/cloudevents+json", false), ("application/json", true)] {
            assert_eq!(format(said, binary, true), None, "{said}");
        }
    }
}
