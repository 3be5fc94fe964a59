//! `/event-hooks`: create, list, read, change, delete. Bodies are JSON or forms.

use std::sync::Arc;

use axum::body::Body;
use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{forms, page};
use crate::http::door::Visit;
use crate::http::path::Parameters;
use crate::http::problem::Problem;
use crate::http::reply::{self, Response};
use crate::model::Hook;
use crate::pipeline::{ChangeError, HookBody};

/// `GET /event-hooks`
pub(super) fn list(visit: &Visit) -> Result<Response, Problem> {
    let parameters = Parameters::of(&visit.head.uri)?;
    let (size, after) = (page::size(&parameters)?, page::last_row(&parameters)?);
    let tags = parameters.get("tags").map(Tags::read).transpose()?;
    let hooks = visit.doors.pipeline.catalog().hooks();
    let matching =
        hooks.iter().filter(|hook| after.is_none_or(|after| hook.id > after) && tags.as_ref().is_none_or(|tags| tags.match_hook(hook)));
    // One more than the page tells whether there is another page.
    let mut rows: Vec<&Arc<Hook>> = matching.take(size + 1).collect();
    let more = rows.len() > size;
    rows.truncate(size);
    let offset = rows.last().filter(|_| more).map(|hook| page::behind(hook.id));
    let data: Vec<_> = rows.into_iter().map(|hook| entity(visit, hook)).collect();
    let filters: Vec<_> = parameters.get("tags").map(|tags| ("tags", tags)).into_iter().collect();
    Ok(page::answer("/event-hooks", &filters, size, &data, offset))
}

/// `POST /event-hooks`
pub(super) async fn create(visit: &Visit, body: Body) -> Result<Response, Problem> {
    let members = forms::read_hook(visit, body).await?;
    let hook = visit.doors.pipeline.create_hook(HookBody(members)).await.map_err(Problem::Change)?;
    Ok(reply::json(StatusCode::CREATED, &entity(visit, &hook)))
}

/// `GET /event-hooks/{id}`
pub(super) fn get(visit: &Visit, id: &str) -> Result<Response, Problem> {
    let hook = find(visit, id)?;
    Ok(reply::json(StatusCode::OK, &entity(visit, &hook)))
}

/// `PATCH /event-hooks/{id}`
pub(super) async fn patch(visit: &Visit, id: &str, body: Body) -> Result<Response, Problem> {
    let members = forms::read_hook(visit, body).await?;
    let id = resolve(visit, id)?;
    let changed = visit.doors.pipeline.patch_hook(id, HookBody(members)).await;
    let hook = changed.map_err(|error| match error {
        ChangeError::NotFound => Problem::NoSuchHook(id),
        other => Problem::Change(other),
    })?;
    Ok(reply::json(StatusCode::OK, &entity(visit, &hook)))
}

/// `DELETE /event-hooks/{id}`: 204 also for an id that nobody has.
pub(super) async fn delete(visit: &Visit, id: &str) -> Result<Response, Problem> {
    let id = resolve(visit, id)?;
    visit.doors.pipeline.delete_hook(id).await.map_err(Problem::Change)?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// The hook of a path's `{id}`: a UUID or a name.
pub(super) fn find(visit: &Visit, id: &str) -> Result<Arc<Hook>, Problem> {
    let id = resolve(visit, id)?;
    visit.doors.pipeline.catalog().hook(id).cloned().ok_or(Problem::NotFound)
}

/// The id that a path's `{id}` stands for. A UUID need not be anybody's; a name has to be.
fn resolve(visit: &Visit, id: &str) -> Result<Uuid, Problem> {
    /// Kong takes the form with hyphens only.
    const UUID_LENGTH: usize = 36;
    if let Some(id) = (id.len() == UUID_LENGTH).then(|| Uuid::try_parse(id).ok()).flatten() {
        return Ok(id);
    }
    visit.doors.pipeline.catalog().hook_by_name(id).map(|hook| hook.id).ok_or(Problem::InvalidId)
}

/// What is shown of a hook: the entity, and while it lasts, that the host paused it.
fn entity(visit: &Visit, hook: &Hook) -> Map<String, Value> {
    let mut entity = hook.to_entity();
    if let Some(paused) = visit.doors.pipeline.store().hook_state(hook.no).paused_by_host {
        entity.insert("paused_by_host".into(), json!({ "at": paused.at.to_rfc3339(), "reason": paused.reason }));
    }
    entity
}

/// Kong's filter of lists: `a,b` is both, `a/b` is either.
enum Tags<'a> {
    All(Vec<&'a str>),
    Any(Vec<&'a str>),
}

impl<'a> Tags<'a> {
    fn read(said: &'a str) -> Result<Self, Problem> {
        let tags = match (said.contains(','), said.contains('/')) {
            (true, true) => return Err(Problem::InvalidTags),
            (_, true) => Self::Any(said.split('/').collect()),
            (_, false) => Self::All(said.split(',').collect()),
        };
        let (Self::All(names) | Self::Any(names)) = &tags;
        if names.iter().any(|name| name.is_empty()) { Err(Problem::InvalidTags) } else { Ok(tags) }
    }

    fn match_hook(&self, hook: &Hook) -> bool {
        let has = |tag: &&str| hook.tags.as_ref().is_some_and(|tags| tags.iter().any(|one| one == tag));
        match self {
            Self::All(tags) => tags.iter().all(has),
            Self::Any(tags) => tags.iter().any(has),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::matching::tests::hook;

    #[test]
    fn tags_are_all_or_any() {
        let tagged = Hook { tags: Some(vec!["a".into(), "b".into()]), ..hook(1, "s", None) };
        let matches = |said: &str, hook: &Hook| Tags::read(said).ok().map(|tags| tags.match_hook(hook));
        assert_eq!(matches("a,b", &tagged), Some(true));
        assert_eq!(matches("a,c", &tagged), Some(false));
        assert_eq!(matches("c/b", &tagged), Some(true));
        assert_eq!(matches("a", &hook(1, "s", None)), Some(false));
        for wrong in ["a,b/c", ",", "a,", "/"] {
            assert!(Tags::read(wrong).is_err(), "{wrong}");
        }
    }
}
