//! YAML: against serde_yaml on what scalars and structures mean, and what we refuse where it guesses.

mod oracle;
mod tree;
