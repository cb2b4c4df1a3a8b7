//! Everything that needs no Docker Engine.
