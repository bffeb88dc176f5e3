//! All of CI and every developer command.

fn main() {}
