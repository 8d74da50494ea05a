//! What must hold whatever bytes come in, on stable Rust: for what the fuzzers kept, and for random
//! environments. The fuzzers themselves are a package of their own, beside this.

mod checks;
mod random_environment;
mod replay;
