//! The same contracts, and whole stories, on a real Docker Engine.
