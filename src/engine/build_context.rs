//! What of a folder is sent to the builder: `.dockerignore` semantics and the tar stream.
