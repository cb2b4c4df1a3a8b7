//! nginx: how a reload is seen to be complete, what a configuration says about the services behind it, and what its
//! access log says of the requests.

mod access_log;
mod configuration;
mod page;
mod workers;

pub use access_log::{LogFormat, LogFormatError, Logged};
pub use configuration::{Configuration, Listener, Upstream};
pub use page::{assets_of, is_asset, page};
pub use workers::Workers;
