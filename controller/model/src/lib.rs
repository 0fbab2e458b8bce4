//! The nouns of the controller: what a site, a host, an event or an audit entry *is*.
//!
//! Every other controller crate speaks these types, so that a word means one thing everywhere.
//! Nothing here reads a clock, a file or a socket: times come in as Unix milliseconds (`_ms`) or
//! seconds (`_s`), and judgements ([`presence::judge`]) are functions of their arguments.
//! Wire types (`xiezhi-protocol`), stored rows (`xiezhi-store`) and public API types are other
//! types and are converted explicitly.

pub mod account_change;
pub mod api_token;
pub mod audit;
pub mod byte_size;
pub mod certificate;
pub mod device;
pub mod event;
pub mod grant;
pub mod host;
pub mod presence;
pub mod register;
pub mod role;
pub mod setting;
pub mod site;
pub mod token;
pub mod user;

pub use account_change::{
    ACT_DAYS, AccountChange, Act, ActState, Needs, NotIndependent, TIE_DAYS, Tie, independent,
    pair_for, reaches,
};
pub use api_token::{ApiRight, ApiToken, OnBehalf};
pub use audit::{Actor, AuditEntry, AuditRecord};
pub use byte_size::ByteSize;
pub use certificate::{CertificateRecord, Revocation};
pub use device::{Device, DeviceId, DeviceState};
pub use event::{EventStream, Gap, Severity, Signature, StoredEvent};
pub use grant::{Grant, GrantRefusal, Grants, MAX_GRANTS, Scope};
pub use host::{Host, HostId, MAX_REVOCATION_REASON, revocation_reason};
pub use presence::{Presence, PresenceReason, PresenceView};
pub use register::{
    Field, FieldChange, FieldProblem, Item, ItemChange, RegisterKind, RowProblem, Values,
    differences,
};
pub use role::{Duty, Permission, Role};
pub use setting::Setting;
pub use site::{
    MAX_SITE_TEXT, NewSite, PlannedSite, Site, SiteChange, SiteField, SiteId, SitePlan,
    SiteProblem, SiteRow, SiteTree, Tier, plan_sites,
};
pub use token::{Approval, ApprovalState, EnrolmentToken, MAX_TOKEN_DAYS, MAX_TOKEN_USES};
pub use user::{
    Account, LONGEST_ACCOUNT_NAME, PASSWORD_ONCE_HOURS, User, WebSession, account_name,
};
