//! What a caller sees: the one way from a handler to sites and hosts.
//!
//! The guard works out the scope of the permission that the route names, and a handler takes it as
//! its argument instead of the state. What is outside does not exist here: it is neither listed nor
//! counted, and asking for it by number is answered as if it had never been.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use xiezhi_ingest::HostView;
use xiezhi_model::{HostId, Permission, Scope, Site, SiteId, SiteTree};

use crate::problem::Problem;
use crate::session::SignedIn;
use crate::state::AppState;

/// What a caller sees. The guard puts it there.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// For what belongs to no site, and for writing.
    pub(crate) state: AppState,
    /// Who looks.
    pub(crate) who: SignedIn,
    /// What the permission of the route reaches.
    pub(crate) scope: Scope,
    whole: Arc<SiteTree>,
    seen: Arc<SiteTree>,
}

impl View {
    pub(crate) fn new(state: AppState, who: SignedIn, scope: Scope, whole: Arc<SiteTree>) -> Self {
        let seen = match &scope {
            Scope::Province => Arc::clone(&whole),
            Scope::Sites(_) => Arc::new(whole.within(&scope)),
        };
        Self {
            state,
            who,
            scope,
            whole,
            seen,
        }
    }

    /// The part of the organisation that the caller sees; the highest sites of it are its roots.
    pub(crate) fn tree(&self) -> &SiteTree {
        &self.seen
    }

    /// The whole organisation, for what is inherited from above. Nothing of it is listed.
    pub(crate) fn whole(&self) -> &SiteTree {
        &self.whole
    }

    /// What another permission of the same caller reaches.
    pub(crate) fn scope_of(&self, permission: Permission) -> Option<Scope> {
        self.who.account.grants.scope(permission, &self.whole)
    }

    /// The same view of one site and what is below it.
    pub(crate) fn below(&self, site: i64) -> Result<Self, Problem> {
        let sites = self.seen.subtree(self.site(site)?.id);
        let scope = self.scope.and(&Scope::Sites(Arc::new(sites)));
        let (state, who) = (self.state.clone(), self.who.clone());
        Ok(Self::new(state, who, scope, Arc::clone(&self.whole)))
    }

    /// One site.
    pub(crate) fn site(&self, id: i64) -> Result<&Site, Problem> {
        let site = self.seen.get(SiteId(id));
        site.ok_or_else(|| Problem::not_found("site"))
    }

    /// One site at which something new may begin.
    pub(crate) fn site_in_use(&self, id: i64) -> Result<&Site, Problem> {
        let site = self.site(id)?;
        if site.is_in_use() {
            return Ok(site);
        }
        let detail = "this site is retired: restore it first, or choose another";
        let status = axum::http::StatusCode::CONFLICT;
        Err(Problem::new(status, "retired", detail))
    }

    /// All hosts, those that were revoked too.
    pub(crate) fn hosts(&self) -> Vec<HostView> {
        self.hosts_in(&self.scope)
    }

    /// The hosts of a scope of this caller.
    pub(crate) fn hosts_in(&self, scope: &Scope) -> Vec<HostView> {
        let mut hosts = self.state.inner.fleet.snapshot();
        hosts.retain(|host| scope.sees(host.site));
        hosts
    }

    /// One host.
    pub(crate) async fn host(&self, id: i64) -> Result<HostView, Problem> {
        let id = HostId(id);
        let fleet = &self.state.inner.fleet;
        if fleet.get(id).is_none()
            && let Some(record) = self.state.inner.store.host(id).await?
        {
            // Enrolled by another process a moment ago.
            fleet.refresh(&record);
        }
        let found = fleet.get(id).filter(|host| self.scope.sees(host.site));
        found.ok_or_else(|| Problem::not_found("host"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for View {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let view = parts.extensions.get::<Self>().cloned();
        view.ok_or_else(Problem::signed_out)
    }
}
