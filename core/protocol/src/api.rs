//! The HTTP API under `/v1`: what the broker and its clients say to each other.

mod catalogue;
mod node;
mod session;
mod watch;
mod who;

pub use crate::attach::{CreateTicket, IceServer, Ticket};
pub use catalogue::{App, AppList, Recipe, RecipeList};
pub use node::{CreateJoinToken, DrainNode, NewJoinToken, Node, NodeGpu, NodeList, NodeStatus};
pub use session::{
    ClusterMember, CreateSession, EndReason, SavesWish, Session, SessionKind, SessionList,
    SessionState, StartProgress, WaitsFor,
};
pub use watch::{CreateWatchLink, NewWatchLink, WatchLink, WatchLinkList, Watched};
pub use who::{Role, UnknownRole, WhoAmI};
