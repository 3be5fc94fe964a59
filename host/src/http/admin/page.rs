//! Pages of lists, as Kong has them: `size`, an opaque `offset`, and a `next` that is a link.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::path::{Parameters, encode};
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};

/// Entries of a page where none are asked for, and most of them.
const SIZE: usize = 100;
const SIZE_MAX: usize = 1000;

/// The parameter `size`.
pub(super) fn size(parameters: &Parameters) -> Result<usize, Problem> {
    let Some(said) = parameters.said("size") else { return Ok(SIZE) };
    if said.parse::<f64>().is_err() {
        return Err(Problem::InvalidSize("size must be a number"));
    }
    said.parse().ok().filter(|size| (1..=SIZE_MAX).contains(size)).ok_or(Problem::InvalidSize("size must be an integer between 1 and 1000"))
}

/// One page. `path` and `filters` make the link to the next one.
pub(super) fn answer(path: &str, filters: &[(&str, &str)], size: usize, data: &[impl Serialize], offset: Option<String>) -> Response {
    let mut page = json!({ "data": data, "next": Value::Null });
    if let Some(offset) = offset {
        let filters: String = filters.iter().map(|(name, value)| format!("&{name}={}", encode(value))).collect();
        page["next"] = format!("{path}?offset={}&size={size}{filters}", encode(&offset)).into();
        page["offset"] = offset.into();
    }
    reply::json(StatusCode::OK, &page)
}

/// The offset that goes on behind this row: Kong's form, in an alphabet that needs no escaping.
pub(super) fn behind(last: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(json!([last]).to_string())
}

/// Reads such an offset.
pub(super) fn last_row(parameters: &Parameters) -> Result<Option<Uuid>, Problem> {
    let Some(offset) = parameters.get("offset") else { return Ok(None) };
    let invalid = |why| Problem::InvalidOffset(offset.to_owned(), why);
    let engines = [&URL_SAFE_NO_PAD, &STANDARD_NO_PAD];
    let json = engines.into_iter().find_map(|engine| engine.decode(offset.trim_end_matches('=')).ok());
    let json = json.ok_or_else(|| invalid("bad base64 encoding"))?;
    let [last] = serde_json::from_slice::<[Uuid; 1]>(&json).map_err(|_| invalid("bad content"))?;
    Ok(Some(last))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters::of(&format!("/x?{query}").parse().unwrap()).ok().unwrap()
    }

    #[test]
    fn sizes_are_checked_in_kongs_words() {
        let said = |query: &str| match size(&parameters(query)) {
            Ok(size) => size.to_string(),
            Err(Problem::InvalidSize(message)) => message.to_owned(),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(said(""), "100");
        assert_eq!(said("size=1"), "1");
        assert_eq!(said("size=1000"), "1000");
        for wrong in ["abc", "", "1x"] {
            assert_eq!(said(&format!("size={wrong}")), "size must be a number", "{wrong}");
        }
        for wrong in ["0", "1001", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(said(&format!("size={wrong}")), "size must be an integer between 1 and 1000", "{wrong}");
        }
    }

    #[test]
    fn offsets_survive_their_text_form() {
        let id = Uuid::from_u128(7);
        assert_eq!(last_row(&parameters(&format!("offset={}", behind(id)))).unwrap(), Some(id));
        let padded = base64::engine::general_purpose::STANDARD.encode(format!("[\"{id}\"]"));
        assert_eq!(last_row(&parameters(&format!("offset={}", encode(&padded)))).unwrap(), Some(id), "Kong's own alphabet");
        assert_eq!(last_row(&parameters("")).unwrap(), None);
        for (wrong, why) in [("x", "bad base64 encoding"), ("e30", "bad content"), ("WzFd", "bad content")] {
            let Err(Problem::InvalidOffset(said, because)) = last_row(&parameters(&format!("offset={wrong}"))) else { panic!("{wrong}") };
            assert_eq!((said.as_str(), because), (wrong, why));
        }
    }

    #[tokio::test]
    async fn the_last_page_has_no_offset_and_others_link_on() {
        let body = async |response: Response| -> Value {
            serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
        };
        assert_eq!(body(answer("/x", &[], 5, &[1, 2], None)).await, json!({ "data": [1, 2], "next": null }));
        let page = body(answer("/x", &[("tags", "a/b")], 5, &[1], Some("off=".into()))).await;
        assert_eq!(page, json!({ "data": [1], "offset": "off=", "next": "/x?offset=off%3D&size=5&tags=a%2Fb" }));
    }
}
