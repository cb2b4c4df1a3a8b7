//! The Docker Engine behind the port, through bollard: the only room that names it.
