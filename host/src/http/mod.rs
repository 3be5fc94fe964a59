//! The doors: what comes in over HTTP, who may ask for it, and how every answer is worded. A door is an
//! [`axum::Router`]; `listen`, `transport` and `serve` bring connections to it and know nothing of what it answers.
//!
//! ```text
//!  request ─► request id ─► the door's route table ─► authorize(who, action) ─► body within limits ─► pipeline or store ─► answer
//!                                   │ 404, 405               │ 401, 403             │ 413, 415, 400         │
//!                                   └──────────────────► problem: every error, one wording for each door ◄──┘
//! ```
//!
//! | door | routes | for |
//! |---|---|---|
//! | events | `events` | producers |
//! | admin | `admin` | operators; compatible with Kong's Admin API |
//! | status | `admin::status` | probes and scrapers, no token |

pub mod listen;
pub mod serve;
pub mod transport;

mod admin;
mod auth;
mod body;
mod counts;
mod door;
mod events;
mod linger;
mod path;
mod problem;
mod reply;
mod request_id;
mod settings;
mod violations;

pub use admin::{Figure, FigureKind, Labels};
pub use auth::{Action, Auth, Denied, EventsToken};
pub use door::{FigureSource, State};
pub use settings::Settings;

use axum::Router;
use listen::Door;

/// The door for producers.
pub fn events_router(state: &State) -> Router {
    door::router(state, Door::Events)
}

/// The door for operators.
pub fn admin_router(state: &State) -> Router {
    door::router(state, Door::Admin)
}

/// The door for probes and scrapers: health, metrics and node information without a token.
pub fn status_router(state: &State) -> Router {
    door::router(state, Door::Status)
}
