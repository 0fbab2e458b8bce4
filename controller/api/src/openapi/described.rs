//! What a handler takes and answers, read off its own type: nothing is described that is not so.

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use schemars::JsonSchema;

use super::draft::Draft;
use crate::answer::{Answer, Created, Done, Tried};
use crate::extract::{File, Json, Pairs, Path, Query};
use crate::files::{Export, OF_PAGES};
use crate::problem::Problem;
use crate::resources::login;
use crate::resources::prometheus::{Made, Parameters, Refused, Success};
use crate::session::SignedIn;
use crate::view::View;

/// What a handler takes of a request.
pub(crate) trait Takes {
    fn describe(_draft: &mut Draft<'_>) {}
}

impl Takes for View {}
impl Takes for SignedIn {}
impl Takes for login::Caller {}
impl Takes for HeaderMap {}
impl Takes for Uri {}
impl Takes for Request {}
impl<T> Takes for State<T> {}
impl<T> Takes for Extension<T> {}

impl<T: JsonSchema> Takes for Json<T> {
    fn describe(draft: &mut Draft<'_>) {
        let schema = draft.schemas.body::<T>();
        draft.body = Some(serde_json::json!({
            "required": true, "content": {"application/json": {"schema": schema}},
        }));
        draft.refusals.extend([400, 413, 415, 422]);
    }
}

impl<T: JsonSchema> Takes for Query<T> {
    fn describe(draft: &mut Draft<'_>) {
        draft.query_of::<T>();
        draft.refusals.push(400);
    }
}

impl<T: JsonSchema> Takes for Export<T> {
    fn describe(draft: &mut Draft<'_>) {
        draft.query_of::<T>();
        draft
            .parameters
            .retain(|one| !OF_PAGES.iter().any(|name| one["name"] == *name));
        draft.parameters.push(serde_json::json!({
            "name": "format", "in": "query", "required": false,
            "schema": {"type": "string", "enum": ["csv", "xlsx"], "default": "csv"},
            "description": "How the file is written; `xlsx` has 20,000 rows at most",
        }));
        draft.parameters.push(serde_json::json!({
            "name": "lang", "in": "query", "required": false,
            "schema": {"type": "string", "enum": ["zh", "en"], "default": "zh"},
            "description": "Language of its columns and words; an import takes both",
        }));
        draft.file_of_rows();
        draft.refusals.extend([400, 422, 429, 507]);
    }
}

impl<T: JsonSchema> Takes for Pairs<T> {
    fn describe(draft: &mut Draft<'_>) {
        draft.query_of::<T>();
        draft.refusals.push(400);
    }
}

impl<T: JsonSchema> Takes for Path<T> {
    fn describe(draft: &mut Draft<'_>) {
        draft.path_of::<T>();
        draft.refusals.push(404);
    }
}

impl Takes for File {
    fn describe(draft: &mut Draft<'_>) {
        let one = || serde_json::json!({"schema": {}});
        draft.body = Some(serde_json::json!({
            "required": true,
            "description": "The file as it is, not a form. What it is, its bytes say: the content \
                type is not looked at",
            "content": {
                "application/octet-stream": one(),
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": one(),
                "text/csv": one(),
            },
        }));
        // Too slow, too large, too many at once.
        draft.refusals.extend([408, 413, 429]);
    }
}

/// Which there are, the path says; Prometheus's own documentation describes them.
impl Takes for Parameters {
    fn describe(draft: &mut Draft<'_>) {
        draft.parameters.push(serde_json::json!({
            "name": "parameters", "in": "query", "style": "form", "explode": true,
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
            "description": "As the HTTP API of Prometheus names them; of a POST in the form too",
        }));
        draft.refusals.extend([400, 413, 422]);
    }
}

/// What a handler answers.
pub(crate) trait Answers {
    fn describe(draft: &mut Draft<'_>);
}

impl<T: JsonSchema> Answers for Answer<T> {
    fn describe(draft: &mut Draft<'_>) {
        let schema = draft.schemas.answer::<T>();
        draft.answer_json(200, "What was asked for", schema);
    }
}

impl<T: JsonSchema> Answers for Created<T> {
    fn describe(draft: &mut Draft<'_>) {
        let schema = draft.schemas.answer::<T>();
        draft.answer_json(201, "It was made", schema);
    }
}

impl<T: JsonSchema> Answers for Tried<T> {
    fn describe(draft: &mut Draft<'_>) {
        let schema = draft.schemas.answer::<T>();
        draft.answer_json(200, "Nothing was made: the answer says why", schema.clone());
        draft.answer_json(201, "It was made", schema);
    }
}

impl Answers for Done {
    fn describe(draft: &mut Draft<'_>) {
        draft.answer_empty(204, "It was done");
    }
}

impl<T> Answers for Success<T> {
    fn describe(draft: &mut Draft<'_>) {
        in_an_envelope(draft);
    }
}

impl Answers for Made {
    fn describe(draft: &mut Draft<'_>) {
        in_an_envelope(draft);
    }
}

fn in_an_envelope(draft: &mut Draft<'_>) {
    let schema = serde_json::json!({
        "type": "object", "required": ["status", "data"],
        "properties": {"status": {"const": "success"}, "data": {}},
    });
    draft.answer_json(200, "Data in Prometheus's envelope", schema);
}

/// Nothing but JSON in types of ours can be read off; the rest stands beside the route.
impl Answers for Response {
    fn describe(_draft: &mut Draft<'_>) {}
}

impl Answers for Refused {
    fn describe(_draft: &mut Draft<'_>) {}
}

impl<T: Answers> Answers for Result<T, Problem> {
    fn describe(draft: &mut Draft<'_>) {
        T::describe(draft);
    }
}

impl<T: Answers> Answers for Result<T, Refused> {
    fn describe(draft: &mut Draft<'_>) {
        T::describe(draft);
    }
}

/// A handler that can be described. `T` is the tuple of what it takes.
pub(crate) trait Described<T> {
    fn describe(draft: &mut Draft<'_>);
}

macro_rules! described {
    ($($taken:ident),*) => {
        impl<F, Made, $($taken,)*> Described<($($taken,)*)> for F
        where
            F: Fn($($taken),*) -> Made,
            Made: Future,
            Made::Output: Answers,
            $($taken: Takes,)*
        {
            fn describe(draft: &mut Draft<'_>) {
                $(<$taken as Takes>::describe(draft);)*
                <Made::Output as Answers>::describe(draft);
            }
        }
    };
}

described!();
described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
