//! The contract suite on a real Docker Engine.

crate::contract::contract_tests!(crate::support::on_docker);
