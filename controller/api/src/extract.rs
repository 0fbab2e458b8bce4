//! axum's extractors with our problems as rejections.

use std::marker::PhantomData;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::guard::Held;
use crate::problem::Problem;
use crate::uploads::Upload;

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let held = request.extensions().get::<Held>().cloned();
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        // A body may take its time, and who sent it may have lost the right meanwhile.
        if let Some(held) = held {
            held.still().await?;
        }
        Ok(Self(value))
    }
}

/// A file as a body; it has arrived, within its route's bound.
pub(crate) struct File(pub(crate) Upload);

impl<S: Send + Sync> FromRequest<S> for File {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let upload = request.extensions().get::<Upload>().cloned();
        upload.map(Self).ok_or_else(Problem::signed_out)
    }
}

/// The parameters after the question mark.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(query.0))
    }
}

/// The parameters after the question mark in their order, where some may stand there twice. `T`
/// describes them and is nothing else.
pub(crate) struct Pairs<T>(pub(crate) Vec<(String, String)>, PhantomData<T>);

impl<T, S: Send + Sync> FromRequestParts<S> for Pairs<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::from_request_parts(parts, state).await?;
        Ok(Self(pairs, PhantomData))
    }
}

/// The parameters within the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(path.0))
    }
}
