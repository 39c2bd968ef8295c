//! The client that programs hold: one session, in this process or over TCP, with typed verbs.
//!
//! [`Client`] waits for replies, [`AsyncClient`] has the same verbs as futures. Both stand on a [`ClientSession`], which is a
//! handle ([`crate::client::handle`]) and those who hear of its state. Verbs are values ([`call`]): how they are sent is the
//! clients' business.

mod alarm;
mod blocking;
mod call;
mod connect;
mod ensuring;
mod futures;
pub mod handle;
mod multi;
mod options;
mod pending;
mod session;
mod submit;
mod types;
mod watch;

pub(crate) use alarm::Alarm;
pub use blocking::Client;
pub(crate) use connect::AnyClient;
pub use connect::Near;
pub use futures::AsyncClient;
pub use multi::{Multi, MultiRead, ReadResult, WriteResult};
pub use options::ClientOptions;
pub use pending::Pending;
pub(crate) use session::{ClientSession, ListenerGuard};
pub use types::{Acl, CreateOptions, Created, Permissions, Reconfig};
pub use watch::{AsyncWatch, Watch, WatchEnd, WatchGuard};
