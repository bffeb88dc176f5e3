//! The names of methods, and what their arguments have to be.

#[path = "../suite/backends.rs"]
#[allow(dead_code)] // As much as these tests need.
mod backends;

mod arguments;
mod names;
