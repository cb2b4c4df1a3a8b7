//! The app over HTTP, through reqwest: the only file that names it.
